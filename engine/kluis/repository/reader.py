"""Frames read back: found, opened, expanded, and rebuilt from parity where they are damaged.

A medium that refuses to give the bytes of a pack has damaged it: what helps is the same. One
that is gone has not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from kluis.errors import DamageError, MediumGoneError, NotFoundError, StorageError
from kluis.events import Context, Warning_
from kluis.format import crypt, frame, names
from kluis.format.ledger import PackName
from kluis.frozen import frozen
from kluis.repository import rebuild
from kluis.repository.index import Index, Location, load_index
from kluis.repository.keys import Session
from kluis.repository.packs import OpenPack, PackDirectories, RunKeys
from kluis.repository.state import LedgerState
from kluis.storage.base import Storage

T = TypeVar("T")

KEPT_BYTES = 16 << 20
# A damaged pack of data and one of trees: each takes its 8 MiB, and a second to rebuild.
REBUILT_KEPT = 2
REBUILT = "rebuilt from parity in memory"
# What a pack that cannot be had raises; `MediumGoneError` among them means all packs.
UNUSABLE = (DamageError, NotFoundError, StorageError)


def warn_of_rebuilt(context: Context, name: str, what: str) -> None:
    """Tells of a pack that is whole again, in memory; one that is not shows as what it costs."""
    if what.endswith(REBUILT):
        told = f"{name}: {what}; nothing of it is lost. Next: kluis repair"
        context.events(Warning_("rebuilt", told))


def _unlisted(index: Index) -> str:
    """Why a frame is nowhere: probably a segment that cannot be read lists it."""
    what = "a frame is in no pack that any segment lists"
    if not index.problems:
        return what
    name, reason = next(iter(index.problems.items()))
    more = len(index.problems) - 1
    others = f" and {more} more" if more else ""
    return f"{what} that can be read: {name}{others}: {reason}. kluis repair lists packs anew"


@frozen
class OpenFrame:
    """A frame's bytes, and its chunks with the offset at which each begins."""

    plain: bytes
    chunks: list[tuple[bytes, int]]
    starts: dict[int, int]  # offset of a chunk -> its place in `chunks`


@dataclass
class FrameReader:
    """Opens frames of a repository, also while others prune; keeps the last few MiB.

    Its `index` may be another one after each call: a collector may have moved what it names.
    """

    storage: Storage
    session: Session
    state: LedgerState
    index: Index
    # Told once of each pack that was found damaged and of what was done about it.
    damaged: Callable[[str, str], None] = lambda _name, _what: None
    directories: PackDirectories = field(init=False)
    bytes_read: int = 0
    _kept: OrderedDict[tuple[bytes, int], OpenFrame] = field(default_factory=OrderedDict)
    _kept_bytes: int = 0
    _run_keys: RunKeys = field(default_factory=RunKeys)
    _rebuilt: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _hopeless: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _listed: frozenset[str] | None = None

    def __post_init__(self) -> None:
        self.directories = PackDirectories(self.storage, self.session, self.state)

    def chunks(self, run: bytes, n: int) -> list[tuple[bytes, int]]:
        """The chunk list of a frame, without reading the frame.

        Like `open` it looks in every place of the frame, then rebuilds.
        """
        kept = self._kept.get((run, n))
        if kept is not None:
            return kept.chunks
        return self._first_whole(run, n, self._chunks_at, self._chunks_in)

    def open(self, run: bytes, n: int) -> OpenFrame:
        """The frame, from whichever of its places is whole, or rebuilt in memory.

        Raises `DamageError` if every way failed, `MediumGoneError` if the medium is.
        """
        kept = self._kept.get((run, n))
        if kept is not None:
            self._kept.move_to_end((run, n))
            return kept
        return self._keep(run, n, self._first_whole(run, n, self._open_at, self._open_in))

    def _first_whole(
        self,
        run: bytes,
        n: int,
        there: Callable[[bytes, int, Location], T],
        rebuilt: Callable[[bytes, int, Location, bytes], T],
    ) -> T:
        """What `there` makes of the first place that is whole, else `rebuilt` of what parity gives.

        If no pack of the frame is there the index is read anew, once for each that is written.
        """
        places = self.places(run, n)
        found, problems = self._try_each((run, n), places, there)
        if found is None and not any(map(self._is_there, places)) and self._look_again():
            places = self.places(run, n)
            found, problems = self._try_each((run, n), places, there)
        if found is not None:
            return found
        for place, problem in zip(places, problems, strict=True):
            data = self._rebuild(place, str(problem))
            if data is not None:
                return rebuilt(run, n, place, data)
        if not problems:
            raise DamageError(_unlisted(self.index))
        raise DamageError(str(problems[-1]))

    def _try_each(
        self,
        frame: tuple[bytes, int],
        places: list[Location],
        there: Callable[[bytes, int, Location], T],
    ) -> tuple[T | None, list[Exception]]:
        problems: list[Exception] = []
        for place in places:
            try:
                return there(*frame, place), problems
            except MediumGoneError:
                raise
            except UNUSABLE as error:
                problems.append(error)
        return None, problems

    def _is_there(self, place: Location) -> bool:
        """Whether the pack is, whole or not; also if that cannot be told."""
        try:
            return self.storage.exists(self.index.pack_name(place.pack))
        except MediumGoneError:
            raise
        except UNUSABLE:
            return True

    def _look_again(self) -> bool:
        """Whether the index was read anew: only if segments came or went since it was last."""
        try:
            listed = frozenset(name for name, _ in self.storage.list(names.INDEX))
            if listed == self._listed:
                return False
            self.index = load_index(self.storage, self.session, self.state)
        except MediumGoneError:
            raise
        except UNUSABLE:
            return False
        self._listed = listed
        return True

    def places(self, run: bytes, n: int) -> list[Location]:
        """Every place of a frame, those in doomed packs last."""
        found = self.index.locate(run, n)
        return sorted(found, key=lambda place: self.pack_of(place) in self.state.doomed)

    def pack_of(self, place: Location) -> PackName:
        pack = self.index.packs[place.pack]
        return PackName(pack.shelf, pack.digest)

    def expand_at(self, opened: OpenPack, place: int, stored: bytes) -> OpenFrame:
        """The frame at a place of a pack's directory, from its stored bytes."""
        entry = opened.entries[place]
        number = (entry.run, entry.n)
        chunks = self.directories.chunks(opened.name, opened.size, number)
        return self._expand(opened, number, stored, chunks)

    def _chunks_at(self, run: bytes, n: int, place: Location) -> list[tuple[bytes, int]]:
        name, size = self.index.pack_name(place.pack), self.index.packs[place.pack].size
        return self.directories.chunks(name, size, (run, n))

    def _chunks_in(
        self, run: bytes, n: int, place: Location, data: bytes
    ) -> list[tuple[bytes, int]]:
        name = self.index.pack_name(place.pack)
        self.directories.offer(name, data)
        return self.directories.chunks(name, len(data), (run, n))

    def _open_at(self, run: bytes, n: int, place: Location) -> OpenFrame:
        name, size = self.index.pack_name(place.pack), self.index.packs[place.pack].size
        stored = self.storage.read(name, place.offset, place.stored_bytes)
        self.bytes_read += len(stored)
        opened = self.directories.get(name, size)
        chunks = self.directories.chunks(name, size, (run, n))
        return self._expand(opened, (run, n), stored, chunks)

    def _open_in(self, run: bytes, n: int, place: Location, data: bytes) -> OpenFrame:
        chunks = self._chunks_in(run, n, place, data)
        opened = self.directories.get(self.index.pack_name(place.pack), len(data))
        stored = data[place.offset : place.offset + place.stored_bytes]
        return self._expand(opened, (run, n), stored, chunks)

    def _expand(
        self,
        opened: OpenPack,
        number: tuple[bytes, int],
        stored: bytes,
        chunks: list[tuple[bytes, int]],
    ) -> OpenFrame:
        entry = opened.entries[opened.places[number]]
        key = self._run_keys.of(opened, entry.run)
        place = frame.context(self.session.vault, number, (entry.kind, entry.compression))
        payload = crypt.unseal_large(key, stored, place, f"a frame in {opened.name}")
        plain = frame.expand_frame(payload, entry.compression, entry.plain_bytes)
        starts, position = {}, 0
        for i, (_, length) in enumerate(chunks):
            starts[position] = i
            position += length
        return OpenFrame(plain, chunks, starts)

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
        if name in self._rebuilt:
            self._rebuilt.move_to_end(name)
            return self._rebuilt[name]
        if name in self._hopeless:
            return None
        pack = self.pack_of(place)
        try:
            data = rebuild.rebuild_pack(self.storage, self.index.set_of_pack.get(pack), pack)
            self.directories.offer(name, data)
        except MediumGoneError:
            raise
        except UNUSABLE as error:
            self._hopeless.add(name)
            self._tell(name, f"{reason}; not to be rebuilt: {error}")
            return None
        self._rebuilt[name] = data
        if len(self._rebuilt) > REBUILT_KEPT:
            self._rebuilt.popitem(last=False)
        self._tell(name, f"{reason}; {REBUILT}")
        return data

    def _tell(self, name: str, what: str) -> None:
        if name not in self._told:
            self._told.add(name)
            self.damaged(name, what)
