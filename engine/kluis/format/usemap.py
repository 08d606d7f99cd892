"""Sets of frames as ranges per run: use maps, losses. A few KB whatever is backed up."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from kluis.errors import FormatError
from kluis.format.codec import Reader, Writer
from kluis.format.crypt import RUN_BYTES

_RANGE = struct.Struct("<II")

Ranges = tuple[tuple[int, int], ...]  # (first n, one past the last n), sorted, apart
FrameSet = dict[bytes, Ranges]  # run -> ranges


def ranges_of(numbers: Iterable[int]) -> Ranges:
    """The numbers as sorted ranges (first, one past the last)."""
    result: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if result and result[-1][1] == number:
            result[-1] = (result[-1][0], number + 1)
        else:
            result.append((number, number + 1))
    return tuple(result)


def merge_ranges(*parts: Ranges) -> Ranges:
    """The union of several sorted range lists."""
    result: list[tuple[int, int]] = []
    for first, end in sorted(piece for part in parts for piece in part):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((first, end))
    return tuple(result)


def merge(sets: Iterable[FrameSet]) -> FrameSet:
    """The union of several frame sets."""
    gathered: dict[bytes, list[Ranges]] = {}
    for frames in sets:
        for run, ranges in frames.items():
            gathered.setdefault(run, []).append(ranges)
    return {run: merge_ranges(*parts) for run, parts in gathered.items()}


def numbers(ranges: Ranges) -> Iterator[int]:
    """Each number that the ranges hold."""
    for first, end in ranges:
        yield from range(first, end)


def contains(ranges: Ranges, number: int) -> bool:
    """True if one of the sorted ranges holds the number."""
    low, high = 0, len(ranges)
    while low < high:
        middle = (low + high) // 2
        if ranges[middle][1] <= number:
            low = middle + 1
        else:
            high = middle
    return low < len(ranges) and ranges[low][0] <= number


def count(frames: FrameSet) -> int:
    """How many frames the set holds."""
    return sum(end - first for ranges in frames.values() for first, end in ranges)


def write_frames(writer: Writer, frames: FrameSet) -> None:
    """u32 runs; each: run, u32 ranges, each first u32 and end u32. Sorted by run.

    The ranges of a run are sorted and apart, as `ranges_of` and `merge_ranges` give them.
    """
    runs = sorted(run for run, ranges in frames.items() if ranges)
    writer.u32(len(runs))
    for run in runs:
        writer.raw(run, RUN_BYTES)
        writer.u32(len(frames[run]))
        for first, end in frames[run]:
            writer.u32(first)
            writer.u32(end)


def read_frames(reader: Reader) -> FrameSet:
    """What `write_frames` wrote; runs ascend, ranges ascend, are not empty and do not touch."""
    frames: FrameSet = {}
    last_run = b""
    for _ in range(reader.count(RUN_BYTES + 4)):
        run = reader.raw(RUN_BYTES)
        data = reader.raw(_RANGE.size * reader.count(_RANGE.size))
        ranges = tuple(_RANGE.iter_unpack(data))
        if run <= last_run or not ranges or not any(run):
            raise FormatError("not a valid frame set: its runs do not ascend")
        end = -1
        for first, stop in ranges:
            if first <= end or stop <= first:
                raise FormatError("not a valid frame set: its ranges do not ascend")
            end = stop
        frames[run] = ranges
        last_run = run
    return frames
