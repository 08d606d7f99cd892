"""kluis._native.parts in plain Python."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kluis._native.twins import fill, read, scan

if TYPE_CHECKING:
    from typing_extensions import Buffer

ONE = 0
NONE = 1
MORE = 2
EXTRAS = 3
AGAIN = 4
MERGED_FORMAT = "<IIIII"
CHUNK_FORMAT = "<16sQ"
CHUNK_BYTES = struct.calcsize(CHUNK_FORMAT)
RECORD_FORMAT = "<BBHIIIIIQqqIIQQ32s"
EXTENT_FORMAT = "<16sIII"
TREE_FILE = 1
PERMISSIONS = 0o7777
LENGTH_MAX = 0xFFFFFFFF

Place = tuple[bytes, int, int, int, int]  # hash16, run, frame, offset, length


def _items(item_format: str, data: Buffer) -> list[tuple[int, ...]]:
    view = memoryview(data)
    if len(view) % struct.calcsize(item_format):
        raise ValueError(f"{len(view)} bytes are no whole items")
    return list(struct.iter_unpack(item_format, view))


def _places(data: bytes) -> list[Place]:
    _items(fill.PLACE_FORMAT, data)
    return list(struct.iter_unpack(fill.PLACE_FORMAT, data))


def merge(places: bytes) -> tuple[bytes, bytes]:
    """(merged, chunks): extents of one content, and what its digest takes in."""
    merged: list[tuple[int, int, int, int, int]] = []
    chunks = []
    for hash16, run, frame, offset, length in _places(places):
        chunks.append(struct.pack(CHUNK_FORMAT, hash16, length))
        if merged and run != fill.HOLE:
            last_run, last_frame, begin, size, count = merged[-1]
            follows = (last_run, last_frame, begin + size) == (run, frame, offset)
            if follows and size + length <= LENGTH_MAX:
                merged[-1] = (run, frame, begin, size + length, count + 1)
                continue
        merged.append((run, frame, offset, length, 1))
    return b"".join(struct.pack(MERGED_FORMAT, *m) for m in merged), b"".join(chunks)


def _record(entry: scan.Entry, place: Place | None) -> bytes:
    """The record of a file with one name and nothing besides its content."""
    hash16, length = (place[0], place[-1]) if place else (b"", 0)
    return struct.pack(
        RECORD_FORMAT,
        TREE_FILE,
        0,
        entry.name_length,
        entry.mode & PERMISSIONS,
        entry.uid,
        entry.gid,
        1 if place else 0,
        0,
        length,
        entry.mtime_s,
        entry.btime_s,
        entry.mtime_ns,
        entry.btime_ns,
        0,
        0,
        hash16,
    )


def _state(entry: scan.Entry, result: tuple[int, ...], chunks: list[Place], kept: int) -> int:
    length, flags, inode_flags = result
    if length < 0 or flags & (read.CHANGED | read.GREW):
        return AGAIN
    if flags & read.XATTRS or inode_flags & kept:
        return EXTRAS
    if entry.nlink > 1 or len(chunks) > 1 or any(run == fill.HOLE for _, run, _, _, _ in chunks):
        return MORE
    return ONE if chunks else NONE


def _split(places: list[Place], bounds: list[tuple[int, ...]]) -> Iterator[list[Place]]:
    first = 0
    for (end,) in bounds:
        if not first <= end <= len(places):
            raise ValueError("bounds and places do not fit together")
        yield places[first:end]
        first = end


def small(
    records: bytes,
    read: tuple[bytes, bytes],
    stored: tuple[bytes, bytes, bytes],
    inode_flags: int,
) -> tuple[bytes, bytes, bytes]:
    """(states, records, extents) for trees, of small files that were read and stored."""
    wanted, results = _items("=I", read[0]), _items("=iII4x", read[1])
    bounds, places = _items("=I", stored[0]), _places(stored[1])
    listing, runs = _items(scan.RECORD_FORMAT, records), _items("16s", stored[2])
    if not len(wanted) == len(results) == len(bounds):
        raise ValueError("wanted numbers, results and bounds are of as many files")
    states, made, extents = bytearray(), [], []
    for (number,), result, chunks in zip(wanted, results, _split(places, bounds), strict=True):
        if number >= len(listing):
            raise ValueError("wanted numbers and records do not fit together")
        entry = scan.Entry._make(listing[number])
        state = _state(entry, result, chunks, inode_flags)
        states.append(state)
        if state == ONE:
            _, run, frame, offset, length = chunks[0]
            if run >= len(runs):
                raise ValueError("places and runs do not fit together")
            extents.append(struct.pack(EXTENT_FORMAT, runs[run][0], frame, offset, length))
        if state in (ONE, NONE):
            made.append(_record(entry, chunks[0] if chunks else None))
    return bytes(states), b"".join(made), b"".join(extents)
