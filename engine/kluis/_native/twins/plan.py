"""kluis._native.plan in plain Python."""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import groupby
from typing import NamedTuple

from kluis._native.twins import scatter
from kluis._native.twins.digests import Record

RECORD_FORMAT = "<BBHIIIIIQqqIIQQ32s"
RECORD_BYTES = struct.calcsize(RECORD_FORMAT)
EXTENT_FORMAT = "<16sIII"
EXTENT_BYTES = struct.calcsize(EXTENT_FORMAT)
DIGEST_BYTES = 32
CHUNK_FORMAT = "<16sQ"
CHUNK_BYTES = struct.calcsize(CHUNK_FORMAT)
SPAN_FORMAT = "=16sIIIII4xQ"
OTHER_FORMAT = "=IIII"
BOUND_FORMAT = "=II"
RIGHT = 0
UNALIGNED = 1
WRONG = 2
DIFFERENT = 3
SEVERAL = 4

FILE = 1
EXTRAS_MAX = 1 << 24
EXTENTS_MAX = 1 << 20
FRAME_MAX = 1 << 24
FRAME_NUMBER_MAX = 2**32 - 2
NAME_MAX = 255
MODE_MAX = 0o7777
NS_PER_S = 10**9
NO_BIRTH = 2**32 - 1
NO_RUN = bytes(16)
NO_HASH = bytes(16)

Extent = tuple[bytes, int, int, int]


class Item(NamedTuple):
    record: Record
    name: bytes
    extent: Extent | None

    def frame(self) -> tuple[bytes, int]:
        """Its frame; zeros, so before all others, for an empty file."""
        return self.extent[:2] if self.extent else (NO_RUN, 0)


def _records(data: bytes) -> list[Record]:
    if len(data) % RECORD_BYTES:
        raise ValueError(f"{len(data)} bytes are no whole items")
    return list(map(Record._make, struct.iter_unpack(RECORD_FORMAT, data)))


def fitting(records: bytes, limit: int) -> tuple[int, int, int, int]:
    """(count, bytes of extents, of names, of extras) of records up to `limit` bytes."""
    total, count, sizes = 0, 0, [0, 0, 0]
    for record in _records(records):
        if record.extras_bytes > EXTRAS_MAX or record.extent_count > EXTENTS_MAX:
            break
        parts = (record.extent_count * EXTENT_BYTES, record.name_bytes, record.extras_bytes)
        total += RECORD_BYTES + sum(parts)
        if count and total > limit:
            break
        sizes = [size + part for size, part in zip(sizes, parts, strict=True)]
        count += 1
    return count, sizes[0], sizes[1], sizes[2]


def _is_name(name: bytes) -> bool:
    return (
        0 < len(name) <= NAME_MAX
        and name not in (b".", b"..")
        and name.isascii()
        and not {0, ord("/")} & set(name)
    )


def _is_small(item: Item, rules: tuple[int, int, int]) -> bool:
    record, name, extent = item
    size_limit, modes, _ = rules
    no_birth = record.birth_ns == NO_BIRTH and not record.birth_s
    if extent is None:
        content = not record.extent_count and not record.size and not any(record.digest)
    else:
        run, n, start, length = extent
        content = (
            run != NO_RUN
            and length > 0
            and length == record.size
            and start + length <= FRAME_MAX
            and n <= FRAME_NUMBER_MAX
        )
    return (
        record.kind == FILE
        and not (record.flags or record.extras_bytes or record.inode or record.device)
        and record.extent_count <= 1
        and record.size <= size_limit
        and record.mode <= MODE_MAX
        and not record.mode & ~modes
        and record.mtime_ns < NS_PER_S
        and (record.birth_ns < NS_PER_S or no_birth)
        and _is_name(name)
        and content
    )


def _pairs(data: bytes) -> dict[int, int]:
    return dict(struct.iter_unpack("=II", data))


def window(
    parts: tuple[bytes, bytes, bytes],
    owners: tuple[bytes, bytes],
    rules: tuple[int, int, int],
) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
    """(files, digests, names, spans, others) of a stretch of a tree; None if it is not right."""
    records, (_, extents, names) = _records(parts[0]), parts
    users, groups = map(_pairs, owners)
    count, extents_bytes, names_bytes, _ = fitting(parts[0], 2**64 - 1)
    if (count, extents_bytes, names_bytes) != (len(records), len(extents), len(names)):
        return None
    all_extents: list[Extent] = list(struct.iter_unpack(EXTENT_FORMAT, extents))
    found, others, last_name = [], [], None
    extent_at = name_at = extras_at = 0
    for number, record in enumerate(records):
        name = names[name_at : name_at + record.name_bytes]
        if last_name is not None and name <= last_name:
            return None
        last_name = name
        item = Item(record, name, all_extents[extent_at] if record.extent_count else None)
        if _is_small(item, rules):
            found.append(item)
        else:
            others.append(struct.pack(OTHER_FORMAT, number, extent_at, name_at, extras_at))
        extent_at += record.extent_count
        name_at += record.name_bytes
        extras_at += record.extras_bytes
    found.sort(key=Item.frame)
    files = []
    for record, name, extent in found:
        start, length = extent[2:] if extent else (0, 0)
        fields = len(name), 0, record.mode, start, length, record.mtime_s, record.mtime_ns
        owner = users.get(record.uid, record.uid), groups.get(record.gid, record.gid)
        files.append(struct.pack(scatter.SMALL_FORMAT, *fields, *owner, rules[2]))
    return (
        b"".join(files),
        b"".join(item.record.digest for item in found),
        b"".join(item.name for item in found),
        _spans(found),
        b"".join(others),
    )


def _spans(found: list[Item]) -> bytes:
    spans, first, names_start = [], 0, 0
    for (run, n), grouped in groupby(found, key=Item.frame):
        items = list(grouped)
        names_size = sum(len(item.name) for item in items)
        content = sum(item.record.size for item in items)
        spans.append(
            struct.pack(SPAN_FORMAT, run, n, first, len(items), names_start, names_size, content)
        )
        first += len(items)
        names_start += names_size
    return b"".join(spans)


def locate(starts: bytes, stretches: bytes, step: int, at: int) -> tuple[bytes, bytes]:
    """(bounds, marks): of which chunks the stretches of a frame are made, and which are in one."""
    places = [start for (start,) in struct.iter_unpack("=I", starts)]
    if not places or at + 8 > step or len(stretches) % step:
        raise ValueError("a frame has an end, and stretches lie inside of their items")
    marks, bounds = bytearray(len(places) - 1), []
    for item in range(0, len(stretches), step):
        start, length = struct.unpack_from("=II", stretches, item + at)
        first, end = bisect_left(places, start), bisect_left(places, start + length)
        aligned = places[first : first + 1] == [start] and places[end : end + 1] == [start + length]
        if not aligned or first >= end:
            first = end = 0
        marks[first:end] = b"\1" * (end - first)
        bounds.append(struct.pack(BOUND_FORMAT, first, end))
    return b"".join(bounds), bytes(marks)


def check(bounds: bytes, digests: bytes, chunks: bytes, right: bytes) -> bytes:
    """A state for each file."""
    hashes = [hash16 for hash16, _ in struct.iter_unpack(CHUNK_FORMAT, chunks)]
    pairs = list(struct.iter_unpack(BOUND_FORMAT, bounds))
    if len(pairs) * DIGEST_BYTES != len(digests) or len(hashes) != len(right):
        raise ValueError("there is a digest for each file and a byte for each chunk")
    states = bytearray()
    for number, (first, end) in enumerate(pairs):
        if first > end or end > len(hashes):
            raise ValueError("a bound lies outside of the chunks")
        digest = digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        states.append(_state(digest, hashes[first:end], right[first:end]))
    return bytes(states)


def _state(digest: bytes, hashes: list[bytes], right: bytes) -> int:
    if not hashes:
        return UNALIGNED
    if 0 in right:
        return WRONG
    if len(hashes) > 1 or hashes[0] == NO_HASH:
        return SEVERAL
    return RIGHT if digest == hashes[0] + bytes(DIGEST_BYTES - len(hashes[0])) else DIFFERENT
