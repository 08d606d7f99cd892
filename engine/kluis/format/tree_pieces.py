"""Trees of any size as smaller ones, for who looks at many entries at a time."""

from __future__ import annotations

from collections.abc import Iterator

from kluis.errors import FormatError
from kluis.format.extent import EXTENT_BYTES
from kluis.format.tree import (
    EXTENTS_LIMIT,
    HEADER_BYTES,
    SIZES,
    WINDOW_BYTES,
    ReadAt,
    encode_owners,
    encode_parts,
    layout,
    read_whole,
)
from kluis.format.tree_entry import EXTRAS_LIMIT_BYTES, RECORD_BYTES


def pieces(read: ReadAt, total_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """A tree as smaller ones, each of about `WINDOW_BYTES`, with the name before its first one.

    One that is no larger comes whole; else the owners are left out. Nothing is checked but that
    the pieces account for all of the rest.
    """
    if total_bytes <= WINDOW_BYTES:
        yield read_whole(read, 0, total_bytes), b""
        return
    parts = layout(read_whole(read, 0, HEADER_BYTES), total_bytes)
    extents_at, names_at, extras_at = parts.extents_at(), parts.names_at(), parts.extras_at()
    before, no_owners = b"", encode_owners({}, {})
    for records, last_bytes, sizes in _piece_records(read, parts.records):
        own = read_whole(read, extents_at, sizes[0])
        names, extras = read_whole(read, names_at, sizes[1]), read_whole(read, extras_at, sizes[2])
        extents_at += sizes[0]
        names_at += sizes[1]
        extras_at += sizes[2]
        yield encode_parts([records], [own], [names], [extras]) + no_owners, before
        before = names[len(names) - last_bytes :]
    ends = parts.names_at(), parts.extras_at(), parts.owners_at()
    if (extents_at, names_at, extras_at) != ends:
        raise FormatError("not a valid tree: its records do not account for all of it")


def _piece_records(read: ReadAt, count: int) -> Iterator[tuple[bytes, int, tuple[int, int, int]]]:
    """(records, bytes of the last name, bytes of all extents, names and extras) of each piece."""
    batch = WINDOW_BYTES // RECORD_BYTES
    for first in range(0, count, batch):
        last = min(count, first + batch)
        data = read_whole(read, HEADER_BYTES + first * RECORD_BYTES, (last - first) * RECORD_BYTES)
        start = end = extents = names = extras = 0
        for name_bytes, extent_count, extras_bytes in SIZES.iter_unpack(data):
            if extras_bytes > EXTRAS_LIMIT_BYTES or extent_count > EXTENTS_LIMIT:
                raise FormatError("not a valid tree: a record larger than any that kluis writes")
            end += RECORD_BYTES
            extents += extent_count * EXTENT_BYTES
            names += name_bytes
            extras += extras_bytes
            if extents + names + extras >= WINDOW_BYTES or end == len(data):
                yield data[start:end], name_bytes, (extents, names, extras)
                start, extents, names, extras = end, 0, 0, 0
