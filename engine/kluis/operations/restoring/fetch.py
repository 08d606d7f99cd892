"""Frames read pack by pack, in order, and opened by a few threads ahead of the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from kluis.errors import DamageError, MediumGoneError, NotFoundError, StorageError
from kluis.format import names
from kluis.format.frame import DATA
from kluis.frozen import frozen
from kluis.operations.restoring.chunks import FrameProof, Stretch
from kluis.operations.restoring.spans import Frame, Span
from kluis.repository.index import Index, Location
from kluis.repository.packs import OpenPack
from kluis.repository.reader import OpenFrame
from kluis.repository.trees import TreeReader

THREADS = 2
# Groups in flight: one being written, one for each thread, one waiting.
GROUPS_AHEAD = 3
GROUP_STORED_BYTES = 1 << 20
GROUP_PLAIN_BYTES = 4 << 20
# Reading on over this much is cheaper than another read, on disks that turn as well.
GAP_BYTES = 64 << 10


class Wanted(NamedTuple):
    """What is asked for of one frame."""

    stretches: Sequence[Stretch]
    spans: Sequence[Span] = ()


@frozen
class Opened:
    """A frame's bytes and, for each stretch asked for, its chunks' records or why it is wrong.

    `where` is the object that holds it; `states` are those of the files of each span.
    """

    frame: Frame
    where: str
    plain: bytes
    results: Sequence[bytes | str]
    states: Sequence[bytes]


@frozen
class Lost:
    """A frame that cannot be had: which object should hold it, and why it does not."""

    frame: Frame
    where: str
    reason: str


@dataclass(slots=True)
class _Group:
    """Frames that lie side by side in one pack and are read in one go."""

    pack: int
    frames: list[tuple[Frame, Location]] = field(default_factory=list)
    stored: int = 0
    plain: int = 0

    def takes(self, place: Location) -> bool:
        if not self.frames:
            return True
        last = self.frames[-1][1]
        gap = place.offset - (last.offset + last.stored_bytes)
        return (
            place.pack == self.pack
            and 0 <= gap <= GAP_BYTES
            and self.stored + place.stored_bytes <= GROUP_STORED_BYTES
            and self.plain + place.plain_bytes <= GROUP_PLAIN_BYTES
        )

    def add(self, frame: Frame, place: Location) -> None:
        self.frames.append((frame, place))
        self.stored += place.stored_bytes
        self.plain += place.plain_bytes


_Opening = Future[list[Opened | None]]


class Fetcher:
    """Opens frames for one restore; every byte that is asked for is hashed."""

    def __init__(self, trees: TreeReader, check: Callable[[], None]) -> None:
        self._frames = trees.frames
        self._keys = trees.keys
        self._check = check
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kluis-open")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def fetch(self, wanted: Mapping[Frame, Wanted]) -> Iterator[Opened | Lost]:
        """Each frame that is wanted, with what is asked for of it, in the order of the packs.

        At most some MiB are expanded ahead of who takes them.
        """
        ahead: deque[tuple[_Group, _Opening | None]] = deque()
        index = self._frames.index  # numbers of packs are its own; it may be renewed meanwhile
        for group in self._groups(wanted):
            ahead.append((group, self._submit(index, group, wanted)))
            if len(ahead) > GROUPS_AHEAD:
                yield from self._take(*ahead.popleft(), wanted)
        while ahead:
            yield from self._take(*ahead.popleft(), wanted)

    def fetch_one(self, frame: Frame, wanted: Wanted) -> Opened | Lost:
        """One frame, from whichever place has it whole, or rebuilt from parity."""
        self._check()
        try:
            opened = self._frames.open(*frame)
        except MediumGoneError:
            raise
        except (DamageError, NotFoundError, StorageError) as error:
            return Lost(frame, self.where(frame), str(error))
        return self._checked(frame, self.where(frame), opened, wanted)

    def _checked(self, frame: Frame, where: str, opened: OpenFrame, wanted: Wanted) -> Opened:
        proof = FrameProof(opened, self._keys, wanted.stretches, wanted.spans)
        return Opened(frame, where, opened.plain, proof.stretches(), proof.spans())

    def _groups(self, wanted: Mapping[Frame, Wanted]) -> list[_Group]:
        """Packs in the order in which they are needed first, each read forwards."""
        by_pack: dict[int, list[tuple[Frame, Location]]] = {}
        groups = []
        for frame in wanted:
            places = self._frames.places(*frame)
            if places:
                by_pack.setdefault(places[0].pack, []).append((frame, places[0]))
            else:
                groups.append(_Group(-1, [(frame, _NOWHERE)]))
        for pack, found in by_pack.items():
            found.sort(key=lambda item: item[1].offset)
            groups.append(_Group(pack))
            for frame, place in found:
                if not groups[-1].takes(place):
                    groups.append(_Group(pack))
                groups[-1].add(frame, place)
        return groups

    def _submit(
        self, index: Index, group: _Group, wanted: Mapping[Frame, Wanted]
    ) -> _Opening | None:
        """Begins to open a group; None if its pack's directory cannot be had.

        Directories are read by this thread alone. The threads of the pool find those of the
        packs in flight among the ones that are kept: there are far more of these.
        """
        if group.pack < 0:
            return None
        try:
            pack = self._frames.directories.get(
                index.pack_name(group.pack), index.packs[group.pack].size
            )
        except MediumGoneError:
            raise
        except (DamageError, NotFoundError, StorageError):
            return None
        return self._pool.submit(self._open, pack, group, wanted)

    def _open(
        self, pack: OpenPack, group: _Group, wanted: Mapping[Frame, Wanted]
    ) -> list[Opened | None]:
        """In a thread of the pool: each frame of the group, None where something is wrong."""
        first, last = group.frames[0][1], group.frames[-1][1]
        end = last.offset + last.stored_bytes
        results: list[Opened | None] = []
        try:
            data = self._frames.storage.read(pack.name, first.offset, end - first.offset)
        except (DamageError, NotFoundError, StorageError):
            return [None] * len(group.frames)
        for frame, place in group.frames:
            start = place.offset - first.offset
            results.append(
                self._open_one(pack, frame, data[start : start + place.stored_bytes], wanted[frame])
            )
        return results

    def _open_one(
        self, pack: OpenPack, frame: Frame, stored: bytes, wanted: Wanted
    ) -> Opened | None:
        number = pack.places.get(frame)
        if number is None:
            return None
        try:
            opened = self._frames.expand_at(pack, number, stored)
        except (DamageError, NotFoundError, StorageError):
            return None
        return self._checked(frame, pack.name, opened, wanted)

    def _take(
        self,
        group: _Group,
        opening: _Opening | None,
        wanted: Mapping[Frame, Wanted],
    ) -> Iterator[Opened | Lost]:
        """The frames of a group as they are ready; those that failed are tried by themselves."""
        results = opening.result() if opening is not None else [None] * len(group.frames)
        for (frame, _), opened in zip(group.frames, results, strict=True):
            self._check()
            yield opened or self.fetch_one(frame, wanted[frame])

    def where(self, frame: Frame) -> str:
        """The object that should hold the frame."""
        places = self._frames.places(*frame)
        if places:
            return self._frames.index.pack_name(places[0].pack)
        return f"{names.INDEX}/{names.base32(frame[0])}"


_NOWHERE = Location(-1, 0, 0, 0, DATA)
