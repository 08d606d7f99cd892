"""Which frames are worn: less than half of what they hold is still in use.

What lies in a frame dies file by file, and prune can only drop it whole. So the files whose chunks
lie in worn frames are read again by the next run and stored anew, and the frames die at last.
It takes no key that reads, and to all others it is a backup like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kluis.format import tree
from kluis.format.extent import HOLE_RUN, unpack_extents
from kluis.format.tree import Extent
from kluis.format.usemap import FrameSet, numbers, ranges_of
from kluis.operations.archiving.entries import Frame
from kluis.repository.index import Index
from kluis.repository.scancache import CacheHead, Listing

# What is used is counted in steps of the smallest chunk that is cut; half used steps count whole.
STEP_BYTES = 4 << 10
WORN_SHARE = 0.5
# Use is counted once so much of everything was stored anew: it takes a look at every listing.
COUNTED_SHARE = 0.05
# At most so much of what was stored anew since then is stored once more.
REWRITTEN_SHARE = 0.5


@dataclass
class Wear:
    """What a snapshot uses of each frame, gathered directory by directory."""

    _used: dict[Frame, int] = field(default_factory=dict)  # a bit for each step
    _whole: set[Frame] = field(default_factory=set)
    _complete: bool = True

    def add(self, data: bytes, extents: Iterable[Extent], listed: Iterable[FrameSet]) -> None:
        """Counts a directory: its tree, where that lies, and the frames of long files in it.

        The use of the latter is not known in parts, so they count as used whole.
        """
        parts = tree.layout(data[: tree.HEADER_BYTES], len(data))
        used = self._used
        inner = unpack_extents(data[parts.extents_at() : parts.names_at()])
        for places in (inner, extents):
            for run, n, offset, length in places:
                if run == HOLE_RUN:
                    continue
                first = offset // STEP_BYTES
                steps = (offset + length - 1) // STEP_BYTES + 1 - first
                frame = run, n
                used[frame] = used.get(frame, 0) | ((1 << steps) - 1) << first
        for frames in listed:
            self._whole.update((run, n) for run, ranges in frames.items() for n in numbers(ranges))

    def kept(self, listing: Listing | None, extents: Iterable[Extent]) -> None:
        """Counts a directory that did not change; None if nobody knows what it holds."""
        if listing is None:
            self._complete = False
        else:
            self.add(listing.tree, extents, listing.listed.values())

    def worn(self, index: Index, limit_bytes: int) -> tuple[FrameSet, int]:
        """The frames to be left, emptiest first, with how many bytes are to be stored anew."""
        if not self._complete:
            return {}, 0
        shares = []
        for (run, n), steps in self._used.items():
            known = index.runs.get(run)
            if known is None or n >= len(known.plain) or (run, n) in self._whole:
                continue  # one of this run's own, that is as full as it gets; or a long file's
            used, size = steps.bit_count() * STEP_BYTES, known.plain[n]
            if used < size * WORN_SHARE:
                shares.append((used / size, used, (run, n)))
        chosen: dict[bytes, list[int]] = {}
        total = 0
        for _, used, (run, n) in sorted(shares):
            if total + used > limit_bytes:
                break
            total += used
            chosen.setdefault(run, []).append(n)
        return {run: ranges_of(found) for run, found in chosen.items()}, total


def is_due(head: CacheHead | None) -> bool:
    """True if so much was stored anew since use was counted that it is worth a look."""
    return head is not None and 0 < head.size * COUNTED_SHARE <= head.new_bytes


def without(usable: dict[bytes, bytes], worn: FrameSet) -> dict[bytes, bytes]:
    """The bitmaps of frames that may be used, less those that are to be left."""
    left = dict(usable)
    for run, ranges in worn.items():
        bitmap = bytearray(left.get(run, b""))
        for n in numbers(ranges):
            if n >> 3 < len(bitmap):
                bitmap[n >> 3] &= ~(1 << (n & 7)) & 0xFF
        if run in left:
            left[run] = bytes(bitmap)
    return left
