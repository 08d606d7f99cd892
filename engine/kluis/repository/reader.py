"""Frames read back: found, opened, expanded, and rebuilt from parity where they are damaged."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from kluis.errors import DamageError, FormatError, NotFoundError
from kluis.format import crypt, frame
from kluis.format.ledger import PackName
from kluis.repository import rebuild
from kluis.repository.index import Index, Location
from kluis.repository.keys import Session
from kluis.repository.packs import OpenPack, PackDirectories
from kluis.repository.run import open_run_key
from kluis.repository.state import LedgerState
from kluis.storage.base import Storage

KEPT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class OpenFrame:
    """A frame's bytes, and its chunks with the offset at which each begins."""

    plain: bytes
    chunks: list[tuple[bytes, int]]
    starts: dict[int, int]  # offset of a chunk -> its place in `chunks`


@dataclass
class FrameReader:
    """Opens frames of a repository; keeps the last few MiB."""

    storage: Storage
    session: Session
    state: LedgerState
    index: Index
    # Told of each pack that was found damaged and of what was done about it.
    damaged: Callable[[str, str], None] = lambda _name, _what: None
    directories: PackDirectories = field(init=False)
    bytes_read: int = 0
    _kept: OrderedDict[tuple[bytes, int], OpenFrame] = field(default_factory=OrderedDict)
    _kept_bytes: int = 0
    _run_keys: dict[bytes, bytes] = field(default_factory=dict)
    _rebuilt: tuple[str, bytes] | None = None
    _hopeless: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directories = PackDirectories(self.storage, self.session, self.state)

    def chunks(self, run: bytes, n: int) -> list[tuple[bytes, int]]:
        """The chunk list of a frame, without reading the frame."""
        kept = self._kept.get((run, n))
        if kept is not None:
            return kept.chunks
        problem: Exception | None = None
        for place in self.places(run, n):
            name, size = self.index.pack_name(place.pack), self.index.packs[place.pack].size
            try:
                return self.directories.chunks(name, size, (run, n))
            except (DamageError, NotFoundError) as error:
                problem = error
                self._rebuild(place, str(error))
                if self._rebuilt is not None and self._rebuilt[0] == name:
                    return self.directories.chunks(name, size, (run, n))
        raise self._lost(run, n, problem)

    def open(self, run: bytes, n: int) -> OpenFrame:
        """The frame, from whichever of its places is whole, or rebuilt in memory.

        Raises `DamageError` if every way failed.
        """
        kept = self._kept.get((run, n))
        if kept is not None:
            self._kept.move_to_end((run, n))
            return kept
        problem: Exception | None = None
        for place in self.places(run, n):
            try:
                return self._keep(run, n, self._open_at(run, n, place))
            except (DamageError, NotFoundError) as error:
                problem = error
        for place in self.places(run, n):
            data = self._rebuild(place, str(problem))
            if data is not None:
                return self._keep(run, n, self._open_in(run, n, place, data))
        raise self._lost(run, n, problem)

    def places(self, run: bytes, n: int) -> list[Location]:
        """Every place of a frame, those in doomed packs last."""
        found = self.index.locate(run, n)
        return sorted(found, key=lambda place: self.pack_of(place) in self.state.doomed)

    def pack_of(self, place: Location) -> PackName:
        pack = self.index.packs[place.pack]
        return PackName(pack.shelf, pack.digest)

    def prefetch(self, places: list[tuple[bytes, int, Location]]) -> None:
        """Reads several frames of one pack in one go and keeps them; damage is left to `open`."""
        if not places:
            return
        name = self.index.pack_name(places[0][2].pack)
        ranges = [(place.offset, place.stored_bytes) for _, _, place in places]
        try:
            parts = self.storage.ranges(name, ranges)
        except (DamageError, NotFoundError):
            return
        for (run, n, place), stored in zip(places, parts, strict=True):
            self.bytes_read += len(stored)
            if (run, n) in self._kept:
                continue
            try:
                self._keep(run, n, self._open_stored(run, n, place, stored))
            except (DamageError, NotFoundError):
                continue

    def expand_at(self, opened: OpenPack, place: int, stored: bytes) -> OpenFrame:
        """The frame at a place of a pack's directory, from its stored bytes."""
        entry = opened.entries[place]
        number = (entry.run, entry.n)
        chunks = self.directories.chunks(opened.name, opened.size, number)
        return self._expand(opened, number, stored, chunks)

    def _open_at(self, run: bytes, n: int, place: Location) -> OpenFrame:
        stored = self.storage.read(
            self.index.pack_name(place.pack), place.offset, place.stored_bytes
        )
        self.bytes_read += len(stored)
        return self._open_stored(run, n, place, stored)

    def _open_stored(self, run: bytes, n: int, place: Location, stored: bytes) -> OpenFrame:
        name, size = self.index.pack_name(place.pack), self.index.packs[place.pack].size
        opened = self.directories.get(name, size)
        chunks = self.directories.chunks(name, size, (run, n))
        return self._expand(opened, (run, n), stored, chunks)

    def _open_in(self, run: bytes, n: int, place: Location, data: bytes) -> OpenFrame:
        name = self.index.pack_name(place.pack)
        opened = self.directories.offer(name, data)
        stored = data[place.offset : place.offset + place.stored_bytes]
        chunks = self.directories.chunks(name, len(data), (run, n))
        return self._expand(opened, (run, n), stored, chunks)

    def _expand(
        self,
        opened: OpenPack,
        number: tuple[bytes, int],
        stored: bytes,
        chunks: list[tuple[bytes, int]],
    ) -> OpenFrame:
        entry = opened.entries[opened.places[number]]
        key = self._run_key(opened, entry.run)
        place = frame.context(self.session.vault, number, (entry.kind, entry.compression))
        payload = crypt.unseal(key, stored, place, f"a frame in {opened.name}")
        plain = frame.expand_frame(payload, entry.compression, entry.plain_bytes)
        starts, position = {}, 0
        for i, (_, length) in enumerate(chunks):
            starts[position] = i
            position += length
        return OpenFrame(plain, chunks, starts)

    def _run_key(self, opened: OpenPack, run: bytes) -> bytes:
        key = self._run_keys.get(run)
        if key is None:
            _, body = opened.certificates[run]
            key = self._run_keys[run] = open_run_key(body, opened.domain)
        return key

    def _keep(self, run: bytes, n: int, opened: OpenFrame) -> OpenFrame:
        self._kept[run, n] = opened
        self._kept_bytes += len(opened.plain)
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped.plain)
        return opened

    def _rebuild(self, place: Location, reason: str) -> bytes | None:
        """The whole pack from parity, or None; tells of the damage once a pack."""
        name = self.index.pack_name(place.pack)
        if self._rebuilt is not None and self._rebuilt[0] == name:
            return self._rebuilt[1]
        if name in self._hopeless:
            return None
        pack = self.pack_of(place)
        try:
            data = rebuild.rebuild_pack(self.storage, self.index.set_of_pack.get(pack), pack)
            self.directories.offer(name, data)
        except (DamageError, FormatError, NotFoundError) as error:
            self._hopeless[name] = str(error)
            self.damaged(name, f"{reason}; not to be rebuilt: {error}")
            return None
        self._rebuilt = name, data
        self.damaged(name, f"{reason}; rebuilt from parity in memory")
        return data

    def _lost(self, run: bytes, n: int, problem: Exception | None) -> DamageError:
        if problem is None:
            return DamageError("a frame is in no pack that any segment lists")
        return DamageError(str(problem))
