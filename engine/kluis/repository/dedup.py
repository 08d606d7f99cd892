"""Which chunks are already stored, as this client remembers: a cache that can always be rebuilt."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from kluis._native.table import Table
from kluis.format.frame import DATA
from kluis.format.ledger import PackName
from kluis.format.segment import Segment
from kluis.format.tree import Extent
from kluis.format.usemap import FrameSet
from kluis.repository.cache import ClientCache
from kluis.repository.index import NOWHERE, Index
from kluis.repository.state import LedgerState
from kluis.storage.alive import Exclusive
from kluis.storage.spare import UNWRITABLE

UNKNOWN = 0xFFFFFFFF
LEARNED = "learned"
# Names of tables that die with this process, which may open several one after the other.
_unkept_numbers = itertools.count()
_RECORD = struct.Struct("<16sIIII")
_LEARNED = struct.Struct("<16sI")


@dataclass
class DedupCache:
    """The table of known chunks, with the runs that its local numbers mean."""

    table: Table
    cache: ClientCache
    runs: list[bytes]
    lock: Exclusive | None
    temporary: bool = False
    # A run's number could not be kept: what the table learns dies with this process.
    unkept: bool = False
    # Of each run all frames below this number are in the table, as far as they were listed.
    learned: dict[bytes, int] = field(default_factory=dict)
    numbers: dict[bytes, int] = field(default_factory=dict)
    packed: bytes = b""  # `runs`, back to back
    lost_table: Table | None = None  # the one that was there before, if it may not be used
    # False: new runs are not remembered, as after a dry run nobody asks for them.
    keeps_runs: bool = True

    def __post_init__(self) -> None:
        self.numbers = {run: number for number, run in enumerate(self.runs)}
        self.packed = b"".join(self.runs)

    def number(self, run: bytes) -> int:
        """The local number of a run; a new one is kept before it is used."""
        known = self.numbers.get(run)
        if known is None:
            known = self.numbers[run] = len(self.runs)
            self.runs.append(run)
            self.packed += run
            if self.keeps_runs and not self.temporary and not self.unkept:
                self._keep_runs()
        return known

    def _keep_runs(self) -> None:
        """Keeps the numbers, or makes sure that the next process begins with an empty table."""
        if self.cache.keep_runs(self.runs):
            return
        self.unkept = True
        if not self.cache.drop(LEARNED):
            # Its files could outlive the numbers that they mean, so nothing is added to it.
            self.lost_table, self.table = self.table, _unkept_table(self.cache)

    def record(self, hash16: bytes, extent: Extent) -> bytes:
        """A table entry for a chunk at a place."""
        return _RECORD.pack(hash16, self.number(extent.run), extent.n, extent.offset, extent.length)

    def close(self) -> None:
        """Forgets what is not durable, and lets the next process in."""
        self.table.discard_pending()
        if self.temporary or self.unkept:
            with suppress(OSError):  # where LEARNED is gone, it is cleared before it is used
                self.table.clear()
        self.table.close()
        if self.lost_table is not None:
            self.lost_table.close()
        if self.lock is not None:
            self.lock.close()

    def allow(self, usable: dict[bytes, bytes]) -> None:
        """From now on only these frames (run -> bitmap by number) may be reused."""
        for run, number in self.numbers.items():
            self.table.set_usable(number, usable.get(run, b""))

    def learn(self, run: bytes, listed: Segment) -> None:
        """The run's frames in a durable segment are known for good."""
        last = -1
        for parity_set in listed.sets:
            for place in parity_set.packs:
                for group in place.groups:
                    if group.run == run:
                        last = max(last, group.first_n + len(group.stored) // 4 - 1)
        if last >= 0:
            number, count = self.number(run), last + 1
            # The run itself goes on: what it has stored already it need not store again.
            self.table.set_usable(number, ((1 << count) - 1).to_bytes(-(-count // 8), "little"))
            self.table.settle(number, count)
            self.keep({run: count})

    def keep(self, learned: dict[bytes, int]) -> None:
        """Keeps what was learned; a run whose number is not kept is read again by the next one."""
        self.learned.update(learned)
        if self.temporary or self.unkept:
            return
        parts = [_LEARNED.pack(run, count) for run, count in sorted(self.learned.items())]
        try:
            self.table.flush()
            self.cache.write(LEARNED, b"".join(parts))
        except OSError as error:  # a full disk, say: the next run reads it all again
            self.cache.lose(error)


def open_dedup(cache: ClientCache) -> DedupCache:
    """The cache as the last run left it; empty if it is gone.

    While another process of this client uses it, this one works with an empty one of its
    own: local numbers of runs must never mean two things. So it does where nothing can be kept.
    """
    if not cache.takes_files():
        return DedupCache(_unkept_table(cache), cache, [], None, True)
    try:
        lock = cache.lock_table()
        return _kept_dedup(cache, lock) if lock.held else _spare_dedup(cache, lock)
    except OSError as error:
        cache.lose(error)
        return DedupCache(_unkept_table(cache), cache, [], None, True)


def _kept_dedup(cache: ClientCache, lock: Exclusive) -> DedupCache:
    try:
        runs, learned = cache.runs(), _read_learned(cache)
        table = Table(cache.table_folder())
        if not runs or not learned or not len(table):
            table.clear()
            runs, learned = [], {}
    except OSError:
        lock.close()
        raise
    return DedupCache(table, cache, runs, lock, learned=learned)


def _spare_dedup(cache: ClientCache, taken: Exclusive) -> DedupCache:
    """An empty one in the first place that no living process has taken."""
    taken.close()
    for place in itertools.count():
        lock = Exclusive(f"{cache.folder}/spare-{place}.lock")
        if lock.held:
            table = Table(f"{cache.folder}/spare-{place}")
            table.clear()
            return DedupCache(table, cache, [], lock, True)
        lock.close()
    raise AssertionError("numbers do not end")


def _unkept_table(cache: ClientCache) -> Table:
    """An empty one that lasts as long as this process; in memory where nothing can be written."""
    with suppress(OSError):
        return Table(f"{cache.spare.path}/{next(_unkept_numbers)}")
    return Table(UNWRITABLE)


def _read_learned(cache: ClientCache) -> dict[bytes, int]:
    data = cache.read(LEARNED) or b""
    return dict(_LEARNED.iter_unpack(data)) if len(data) % _LEARNED.size == 0 else {}


def usable_frames(
    index: Index, state: LedgerState, listed: dict[PackName, int]
) -> dict[bytes, bytes]:
    """For each run the frames that may be reused, as a bitmap by number.

    A frame may be reused from a pack that was listed after the ledger was read, whole, not
    doomed, and not `lost`.
    """
    good = [
        listed.get(PackName(place.shelf, place.digest)) == place.size
        and PackName(place.shelf, place.digest) not in state.doomed
        for place in index.packs
    ]
    copied: dict[bytes, list[int]] = {}
    for (run, n), places in index.copies.items():
        if any(good[place.pack] for place in places):
            copied.setdefault(run, []).append(n)
    usable: dict[bytes, bytes] = {}
    for run, frames in index.runs.items():
        bitmap = bytearray(-(-len(frames.packs) // 8))
        for n, pack in enumerate(frames.packs):
            if pack != NOWHERE and good[pack]:
                bitmap[n >> 3] |= 1 << (n & 7)
        for n in copied.get(run, ()):
            bitmap[n >> 3] |= 1 << (n & 7)
        for first, end in state.lost.get(run, ()):
            for n in range(first, min(end, len(frames.packs))):
                bitmap[n >> 3] &= ~(1 << (n & 7)) & 0xFF
        usable[run] = bytes(bitmap)
    return usable


def is_usable(usable: dict[bytes, bytes], run: bytes, n: int) -> bool:
    """True if the bitmaps of `usable_frames` allow this frame."""
    bitmap = usable.get(run, b"")
    return n >> 3 < len(bitmap) and bool(bitmap[n >> 3] >> (n & 7) & 1)


def are_usable(usable: dict[bytes, bytes], frames: Iterable[tuple[bytes, int]]) -> bool:
    """True if the bitmaps allow every one of these frames."""
    return all(is_usable(usable, run, n) for run, n in frames)


def can_use(usable: dict[bytes, bytes], frames: FrameSet) -> bool:
    """True if the bitmaps allow the whole set."""
    return all(
        is_usable(usable, run, n)
        for run, ranges in frames.items()
        for first, end in ranges
        for n in range(first, end)
    )


def has_data(index: Index) -> bool:
    """True if any data frame is listed."""
    return any(DATA in frames.kinds for frames in index.runs.values())
