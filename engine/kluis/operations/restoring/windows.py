"""A tree gone through in stretches: its small files at once, every other entry by itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from kluis._native import plan
from kluis.format import tree
from kluis.format.extent import unpack_extents
from kluis.format.tree import EXTENT_BYTES, HEADER_BYTES, RECORD_BYTES, Entry, ReadAt
from kluis.format.tree_entry import checked_entry, unpack_records
from kluis.frozen import frozen
from kluis.operations.restoring.spans import Files

# With all that belongs to the records; a single one may take more.
WINDOW_BYTES = 1 << 20
WINDOW_RECORDS = 4096
_OTHER = struct.Struct(plan.OTHER_FORMAT)
_NAME_BYTES = struct.Struct("<2xH100x")

assert _NAME_BYTES.size == RECORD_BYTES


@frozen
class Rules:
    """Which files of a tree are small, and how `plan.window` writes them down."""

    owners: tuple[bytes, bytes]
    """Users and groups whose numbers are others here, as it takes them."""
    limits: tuple[int, int, int]
    """The largest size, the mode bits that one may have, flags of `scatter`."""


class _Window(NamedTuple):
    """Records that lie side by side, with their extents and names, and where their extras begin."""

    records: bytes
    extents: bytes
    names: bytes
    extras_at: int
    extras_bytes: int

    @property
    def first_name(self) -> bytes:
        return self.names[: _NAME_BYTES.unpack_from(self.records)[0]]

    @property
    def last_name(self) -> bytes:
        at = len(self.records) - RECORD_BYTES
        return self.names[len(self.names) - _NAME_BYTES.unpack_from(self.records, at)[0] :]

    def entry(self, read: ReadAt, place: tuple[int, int, int, int]) -> Entry:
        """An entry that is no small file, checked."""
        number, extent, name_at, extras_at = place
        at = RECORD_BYTES * number
        (record,) = unpack_records(self.records[at : at + RECORD_BYTES])
        end = extent + record.extent_count
        extents = self.extents[EXTENT_BYTES * extent : EXTENT_BYTES * end]
        extra = b""
        if record.extras_bytes:
            extra = read(self.extras_at + extras_at, record.extras_bytes)
        name = self.names[name_at : name_at + record.name_bytes]
        return checked_entry(record, name, tuple(unpack_extents(extents)), extra)


def planned(read: ReadAt, size: int, rules: Rules) -> Iterator[Entry | Files]:
    """The small files of each stretch of a tree of `size` bytes, then its other entries.

    What is wrong with it is found and told as by `tree.entries`.
    """
    parts = tree.layout(read(0, HEADER_BYTES), size)
    done, last_name = 0, b""
    at = parts.extents_at(), parts.names_at(), parts.extras_at()
    ends = at[1], at[2], parts.owners_at()
    while done < parts.records:
        window = _window(read, (done, parts.records), at, ends)
        found = None
        if window is not None and window.first_name > last_name:
            found = plan.window(window[:3], rules.owners, rules.limits)
        if window is None or found is None:
            break
        files, digests, names, spans, others = found
        if files:
            yield Files(files, digests, names, spans)
        for place in _OTHER.iter_unpack(others):
            yield window.entry(read, place)
        done += len(window.records) // RECORD_BYTES
        last_name = window.last_name
        at = at[0] + len(window.extents), at[1] + len(window.names), at[2] + window.extras_bytes
    if done < parts.records or at != ends:
        yield from islice(tree.entries(read, size), done, None)


_Places = tuple[int, int, int]
"""In a tree: of extents, names and extras."""


def _window(read: ReadAt, done: tuple[int, int], at: _Places, ends: _Places) -> _Window | None:
    """The next records after so many of all, and what is theirs; None if that is not all there."""
    left = min(WINDOW_RECORDS, done[1] - done[0])
    records = read(HEADER_BYTES + RECORD_BYTES * done[0], RECORD_BYTES * left)
    if len(records) != RECORD_BYTES * left:
        return None
    count, extents_bytes, names_bytes, extras_bytes = plan.fitting(records, WINDOW_BYTES)
    if not count or at[0] + extents_bytes > ends[0]:
        return None
    if at[1] + names_bytes > ends[1] or at[2] + extras_bytes > ends[2]:
        return None
    extents, names = read(at[0], extents_bytes), read(at[1], names_bytes)
    if (len(extents), len(names)) != (extents_bytes, names_bytes):
        return None
    if count < left:
        records = records[: RECORD_BYTES * count]
    return _Window(records, extents, names, at[2], extras_bytes)
