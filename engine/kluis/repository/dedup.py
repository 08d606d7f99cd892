"""Which chunks are already stored, as this client remembers: a cache that can always be rebuilt."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field

from kluis._native.table import Table
from kluis.format.frame import DATA
from kluis.format.ledger import PackName
from kluis.format.segment import Segment
from kluis.format.tree import Extent
from kluis.repository.cache import ClientCache
from kluis.repository.index import NOWHERE, Index
from kluis.repository.state import LedgerState
from kluis.storage.alive import Exclusive

UNKNOWN = 0xFFFFFFFF
_RECORD = struct.Struct("<16sIIII")


@dataclass
class DedupCache:
    """The table of known chunks, with the runs that its local numbers mean."""

    table: Table
    cache: ClientCache
    runs: list[bytes]
    lock: Exclusive
    temporary: bool = False
    numbers: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = {run: number for number, run in enumerate(self.runs)}

    def number(self, run: bytes) -> int:
        """The local number of a run; a new one is kept before it is used."""
        known = self.numbers.get(run)
        if known is None:
            known = self.numbers[run] = len(self.runs)
            self.runs.append(run)
            if not self.temporary:
                self.cache.keep_runs(self.runs)
        return known

    def record(self, hash16: bytes, extent: Extent) -> bytes:
        """A table entry for a chunk at a place."""
        return _RECORD.pack(hash16, self.number(extent.run), extent.n, extent.offset, extent.length)

    def close(self) -> None:
        """Forgets what is not durable, and lets the next process in."""
        self.table.discard_pending()
        if self.temporary:
            self.table.clear()
        self.table.close()
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
            number = self.number(run)
            # Settled entries count only where the run's frames are allowed.
            self.table.set_usable(number, b"\xff" * (last // 8 + 1))
            self.table.settle(number, last + 1)
            self.table.flush()


def open_dedup(cache: ClientCache) -> DedupCache:
    """The cache as the last run left it; empty if it is gone.

    While another process of this client uses it, this one works with an empty one of its
    own: local numbers of runs must never mean two things.
    """
    lock = cache.lock_table()
    if not lock.held:
        return DedupCache(Table(f"{cache.folder}/table-{os.getpid()}"), cache, [], lock, True)
    runs = cache.runs()
    table = Table(cache.table_folder())
    if not runs and len(table):
        table.clear()
    return DedupCache(table, cache, runs, lock)


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
    usable: dict[bytes, bytes] = {}
    for run, frames in index.runs.items():
        bitmap = bytearray(-(-len(frames.packs) // 8))
        for n, pack in enumerate(frames.packs):
            if pack != NOWHERE and good[pack]:
                bitmap[n >> 3] |= 1 << (n & 7)
        for (other, n), places in index.copies.items():
            if other == run and any(good[place.pack] for place in places):
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


def has_data(index: Index) -> bool:
    """True if any data frame is listed."""
    return any(DATA in frames.kinds for frames in index.runs.values())
