"""kluis._native.sum in plain Python."""

from __future__ import annotations

import struct
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

SUM_BYTES = 8
ENTRY = struct.Struct("<16sI")
LANES = tuple(range(1, 16, 2))
BLOCK = struct.Struct("<8Q")
FACTOR = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def _mixed(lane: int, word: int) -> int:
    lane ^= word
    return ((lane << 29 | lane >> 35) * FACTOR) & MASK


def _sum(chunk: bytes) -> int:
    lanes = list(LANES)
    padded = chunk.ljust(-(-len(chunk) // BLOCK.size) * BLOCK.size, b"\0")
    for words in BLOCK.iter_unpack(padded):
        lanes = [_mixed(lane, word) for lane, word in zip(lanes, words, strict=True)]
    total = len(chunk)
    for lane in lanes:
        total = _mixed(total, lane)
    return total


def _packed(number: int) -> bytes:
    return number.to_bytes(SUM_BYTES, sys.byteorder)


def bound(sum_: bytes, hash16: bytes) -> bytes:
    """The sum, bound to the chunk's hash, as a frame keeps it."""
    low, high = struct.unpack("<QQ", hash16)
    return _packed(int.from_bytes(sum_, sys.byteorder) ^ low ^ (high * FACTOR & MASK))


def each(data: Buffer, ends: Buffer) -> bytes:
    """A sum of `SUM_BYTES` for each chunk; `ends`, native u32, cut `data` from 0.

    ValueError if they do not ascend or leave the data.
    """
    whole, packed = memoryview(data).tobytes(), memoryview(ends).tobytes()
    if len(packed) % 4:
        raise ValueError("the ends of chunks are of four bytes each")
    bounds = [0, *struct.unpack(f"={len(packed) // 4}I", packed)]
    if bounds != sorted(set(bounds)) or bounds[-1] > len(whole):
        raise ValueError("the ends of chunks do not ascend, or leave the data")
    return b"".join(_packed(_sum(whole[start:end])) for start, end in pairwise(bounds))


def wrong(data: Buffer, entries: Buffer, sums: Buffer) -> int | None:
    """The number of the first chunk that is not as it was summed, in bytes or hash; or None.

    `entries` is the frame's chunk list. ValueError if it does not fill `data`, or if there are
    not as many bound sums.
    """
    whole, listed = memoryview(data).tobytes(), memoryview(entries).tobytes()
    expected = memoryview(sums).tobytes()
    count, odd = divmod(len(listed), ENTRY.size)
    if odd or len(expected) != count * SUM_BYTES:
        raise ValueError("a chunk list and its sums are of as many chunks")
    start = 0
    for number, (hash16, length) in enumerate(ENTRY.iter_unpack(listed)):
        if length > len(whole) - start:
            raise ValueError("the chunk list does not fill the frame")
        place = slice(number * SUM_BYTES, (number + 1) * SUM_BYTES)
        if bound(_packed(_sum(whole[start : start + length])), hash16) != expected[place]:
            return number
        start += length
    if start != len(whole):
        raise ValueError("the chunk list does not fill the frame")
    return None
