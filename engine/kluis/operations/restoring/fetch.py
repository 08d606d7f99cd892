"""Frames read pack by pack, in order, and opened by a few threads ahead of the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from kluis.errors import DamageError, MediumGoneError, NotFoundError, StorageError
from kluis.format import names
from kluis.format.frame import DATA
from kluis.operations.restoring.chunks import Stretch, check_stretches
from kluis.repository.index import Location
from kluis.repository.packs import OpenPack
from kluis.repository.reader import OpenFrame
from kluis.repository.trees import TreeReader

Frame = tuple[bytes, int]

THREADS = 2
# Groups in flight: one being written, one for each thread, one waiting.
GROUPS_AHEAD = 3
GROUP_STORED_BYTES = 1 << 20
GROUP_PLAIN_BYTES = 4 << 20
# Reading on over this much is cheaper than another read, on disks that turn as well.
GAP_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Opened:
    """A frame's bytes and, for each stretch asked for, its chunks' records or why it is wrong."""

    frame: Frame
    plain: bytes
    results: Sequence[bytes | str]


@dataclass(frozen=True, slots=True)
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


class Fetcher:
    """Opens frames for one restore; every byte that is asked for is hashed."""

    def __init__(self, trees: TreeReader, check: Callable[[], None]) -> None:
        self._trees = trees
        self._frames = trees.frames
        self._key = trees.keys.hash_key(DATA)
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

    def fetch(self, wanted: Mapping[Frame, Sequence[Stretch]]) -> Iterator[Opened | Lost]:
        """Each frame that is wanted, with the stretches of it, in the order of the packs.

        At most some MiB are expanded ahead of who takes them.
        """
        ahead: deque[tuple[_Group, Future[list[OpenFrame | None]] | None]] = deque()
        for group in self._groups(wanted):
            ahead.append((group, self._submit(group)))
            if len(ahead) > GROUPS_AHEAD:
                yield from self._take(*ahead.popleft(), wanted)
        while ahead:
            yield from self._take(*ahead.popleft(), wanted)

    def fetch_one(self, frame: Frame, stretches: Sequence[Stretch]) -> Opened | Lost:
        """One frame, from whichever place has it whole, or rebuilt from parity."""
        try:
            opened = self._frames.open(*frame)
        except MediumGoneError:
            raise
        except (DamageError, NotFoundError, StorageError) as error:
            return Lost(frame, self._where(frame), str(error))
        return Opened(frame, opened.plain, check_stretches(opened, self._key, stretches))
