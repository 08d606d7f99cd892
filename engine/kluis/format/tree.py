"""A tree: the listing of one directory. Stored as chunks, in frames of its own kind.

header | records | extents | names | extras | owners. Records have a fixed size and are
sorted by name; they tell how many extents and how many bytes of name and extras are theirs.
The header tells how long each part is, so that a tree of any size is read in windows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import NamedTuple

from kluis.errors import FormatError, NewerFormatError
from kluis.format.codec import Reader, Writer
from kluis.format.extent import (
    EXTENT_BYTES,
    HOLE_RUN,
    INLINE_EXTENTS,
    LIST_BLOCK_EXTENTS,
    Extent,
    checked_extent,
    decode_list,
    encode_list,
    extent_length,
    frames_of,
    hole,
    pack_extent,
    read_extent,
    read_list_pieces,
    unpack_extents,
    write_extent,
)
from kluis.format.tree_entry import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DEVICES,
    DIRECTORY,
    EXTRAS_LIMIT_BYTES,
    FIFO,
    FILE,
    FLAGS,
    INCOMPLETE,
    KINDS,
    LINKED,
    LISTED,
    NAME_LIMIT_BYTES,
    NO_BIRTH,
    NO_DIGEST,
    RECORD_BYTES,
    SOCKET,
    SYMLINK,
    Entry,
    Record,
    check_name,
    checked_entry,
    extras_of,
    pack_record,
    unpack_records,
)
from kluis.frozen import frozen

__all__ = [
    "BLOCK_DEVICE",
    "CHARACTER_DEVICE",
    "DEVICES",
    "DIRECTORY",
    "EXTENT_BYTES",
    "EXTRAS_LIMIT_BYTES",
    "FIFO",
    "FILE",
    "FLAGS",
    "HOLE_RUN",
    "INCOMPLETE",
    "INLINE_EXTENTS",
    "KINDS",
    "LINKED",
    "LISTED",
    "LIST_BLOCK_EXTENTS",
    "MAGIC",
    "NAME_LIMIT_BYTES",
    "NO_BIRTH",
    "NO_DIGEST",
    "RECORD_BYTES",
    "SOCKET",
    "SYMLINK",
    "TREE_VERSION",
    "Entry",
    "Extent",
    "Layout",
    "Part",
    "Tree",
    "check_name",
    "checked_extent",
    "decode",
    "decode_list",
    "decode_owners",
    "encode",
    "encode_list",
    "encode_owners",
    "encode_parts",
    "entries",
    "extent_length",
    "extras_of",
    "frames_of",
    "hole",
    "is_listed",
    "layout",
    "owners",
    "pack_extent",
    "pack_record",
    "read_extent",
    "read_list_pieces",
    "split",
    "write_extent",
]

_HEADER = struct.Struct("<4sHHIIQQ")
HEADER_BYTES = _HEADER.size
MAGIC = b"tree"
TREE_VERSION = 1

# Of a record only how much of the other parts is its: bytes of name, extents, bytes of extras.
SIZES = struct.Struct("<2xH12xII80x")

assert HEADER_BYTES == 32
assert SIZES.size == RECORD_BYTES
# The list of a stream of 38 TB is as long as this many frames.
EXTENTS_LIMIT = 1 << 20
# A reader holds about this much of a tree, or one entry if that is larger.
WINDOW_BYTES = 1 << 20

ReadAt = Callable[[int, int], bytes]  # (offset, size) of a tree's stream -> just those bytes


@frozen
class Tree:
    """A directory's entries, sorted by name, and the names of the owners that they mention."""

    entries: tuple[Entry, ...]
    users: dict[int, str] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)


def _write_owners(writer: Writer, named: dict[int, str]) -> None:
    writer.u32(len(named))
    for number in sorted(named):
        writer.u32(number)
        writer.text(named[number])


def encode_parts(
    records: list[bytes], extents: list[bytes], names: list[bytes], extras: list[bytes]
) -> bytes:
    """A tree without its owners, from parts that already are in its order."""
    counts = sum(map(len, records)) // RECORD_BYTES, sum(map(len, extents)) // EXTENT_BYTES
    sizes = sum(map(len, names)), sum(map(len, extras))
    head = _HEADER.pack(MAGIC, TREE_VERSION, 0, *counts, *sizes)
    return b"".join((head, *records, *extents, *names, *extras))


def encode_owners(users: dict[int, str], groups: dict[int, str]) -> bytes:
    """The end of a tree: the names of users and groups."""
    writer = Writer()
    _write_owners(writer, users)
    _write_owners(writer, groups)
    return writer.bytes()


def encode(tree: Tree) -> bytes:
    """The tree as it is cut into chunks."""
    extras = [extras_of(entry) for entry in tree.entries]
    return encode_parts(
        [
            pack_record(entry, len(entry.extents), len(extra))
            for entry, extra in zip(tree.entries, extras, strict=True)
        ],
        [pack_extent(extent) for entry in tree.entries for extent in entry.extents],
        [entry.name for entry in tree.entries],
        extras,
    ) + encode_owners(tree.users, tree.groups)


class Layout(NamedTuple):
    """How many records and extents a tree has, and how many bytes of names and extras."""

    records: int
    extents: int
    names_bytes: int
    extras_bytes: int

    def extents_at(self) -> int:
        return HEADER_BYTES + self.records * RECORD_BYTES

    def names_at(self) -> int:
        return self.extents_at() + self.extents * EXTENT_BYTES

    def extras_at(self) -> int:
        return self.names_at() + self.names_bytes

    def owners_at(self) -> int:
        return self.extras_at() + self.extras_bytes


def layout(head: bytes, total_bytes: int) -> Layout:
    """Where the parts of a tree of `total_bytes` lie, from its first `HEADER_BYTES`."""
    if len(head) < HEADER_BYTES:
        raise FormatError("not a valid tree: it ends early")
    magic, version, zero, *numbers = _HEADER.unpack_from(head)
    if magic != MAGIC or not version or zero:
        raise FormatError("not a valid tree: its header is wrong")
    if version > TREE_VERSION:
        raise NewerFormatError(
            f"a directory was written in tree version {version}; this kluis knows up to "
            f"{TREE_VERSION}. Nothing was changed. Install a newer kluis."
        )
    found = Layout(*numbers)
    if found.owners_at() > total_bytes:
        raise FormatError("not a valid tree: it ends early")
    return found


def decode(data: bytes) -> Tree:
    """The tree; every record, name and extent is checked."""

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    users, groups = owners(read, len(data))
    return Tree(tuple(entries(read, len(data))), users, groups)


def owners(read: ReadAt, total_bytes: int) -> tuple[dict[int, str], dict[int, str]]:
    """The names of users and groups, from the end of a tree."""
    start = layout(read_whole(read, 0, HEADER_BYTES), total_bytes).owners_at()
    return decode_owners(read_whole(read, start, total_bytes - start))


def decode_owners(data: bytes) -> tuple[dict[int, str], dict[int, str]]:
    """The same from just that end."""
    reader = Reader(data, "tree")
    users, groups = _read_owners(reader), _read_owners(reader)
    reader.finish()
    return users, groups


def entries(read: ReadAt, total_bytes: int) -> Iterator[Entry]:
    """The entries in order, a window at a time, each checked: bounded memory at any size."""
    parts = layout(read_whole(read, 0, HEADER_BYTES), total_bytes)
    extents_at, names_at, extras_at = parts.extents_at(), parts.names_at(), parts.extras_at()
    last_name = b""
    for records in _windows(read, parts.records):
        sizes = _sizes(records)
        own = read_whole(read, extents_at, sizes[0])
        names, extras = read_whole(read, names_at, sizes[1]), read_whole(read, extras_at, sizes[2])
        extents_at += sizes[0]
        names_at += sizes[1]
        extras_at += sizes[2]
        if extents_at > parts.names_at() or names_at > parts.extras_at():
            raise FormatError("not a valid tree: its parts overlap")
        for entry in _window(records, unpack_extents(own), names, extras):
            if entry.name <= last_name:
                raise FormatError("not a valid tree: its names do not ascend")
            last_name = entry.name
            yield entry
    ends = parts.names_at(), parts.extras_at(), parts.owners_at()
    if (extents_at, names_at, extras_at) != ends:
        raise FormatError("not a valid tree: its records do not account for all of it")


def read_whole(read: ReadAt, offset: int, size: int) -> bytes:
    """So many bytes of a tree; `FormatError` if it ends before."""
    data = read(offset, size)
    if len(data) != size:
        raise FormatError("not a valid tree: it ends early")
    return data


def _sizes(records: list[Record]) -> tuple[int, int, int]:
    """Bytes of extents, names and extras of these records."""
    return (
        EXTENT_BYTES * sum(record.extent_count for record in records),
        sum(record.name_bytes for record in records),
        sum(record.extras_bytes for record in records),
    )


def _windows(read: ReadAt, count: int) -> Iterator[list[Record]]:
    """Records in groups that, with all that is theirs, take about `WINDOW_BYTES`."""
    batch = WINDOW_BYTES // RECORD_BYTES
    for first in range(0, count, batch):
        size = RECORD_BYTES * min(batch, count - first)
        window: list[Record] = []
        window_bytes = 0
        data = read_whole(read, HEADER_BYTES + first * RECORD_BYTES, size)
        for record in unpack_records(data):
            if record.extras_bytes > EXTRAS_LIMIT_BYTES or record.extent_count > EXTENTS_LIMIT:
                raise FormatError("not a valid tree: a record larger than any that kluis writes")
            window.append(record)
            window_bytes += record.extent_count * EXTENT_BYTES
            window_bytes += record.name_bytes + record.extras_bytes
            if window_bytes >= WINDOW_BYTES:
                yield window
                window, window_bytes = [], 0
        if window:
            yield window


def _window(
    records: list[Record], extents: Iterator[Extent], names: bytes, extras: bytes
) -> Iterator[Entry]:
    name_at = extra_at = 0
    for record in records:
        name = names[name_at : name_at + record.name_bytes]
        extra = extras[extra_at : extra_at + record.extras_bytes]
        own = tuple(next(extents) for _ in range(record.extent_count))
        name_at += record.name_bytes
        extra_at += record.extras_bytes
        yield checked_entry(record, name, own, extra)


class Part(NamedTuple):
    """One entry as its encoded pieces, for who copies it unread into another tree."""

    record: bytes
    extents: bytes
    name: bytes
    extras: bytes


def split(data: bytes) -> list[Part]:
    """The entries of a tree that this machine encoded, as they are; nothing is checked."""
    _, _, _, count, *_ = _HEADER.unpack_from(data)
    record_at, extents_at = HEADER_BYTES, HEADER_BYTES + count * RECORD_BYTES
    sizes = list(SIZES.iter_unpack(data[record_at:extents_at]))
    names_at = extents_at + EXTENT_BYTES * sum([extents for _, extents, _ in sizes])
    extras_at = names_at + sum([names for names, _, _ in sizes])
    parts = []
    for name_bytes, extent_count, extras_bytes in sizes:
        record_end, extents_end = record_at + RECORD_BYTES, extents_at + EXTENT_BYTES * extent_count
        names_end, extras_end = names_at + name_bytes, extras_at + extras_bytes
        parts.append(
            Part(
                data[record_at:record_end],
                data[extents_at:extents_end],
                data[names_at:names_end],
                data[extras_at:extras_end],
            )
        )
        record_at = record_end
        extents_at, names_at, extras_at = extents_end, names_end, extras_end
    return parts


def is_listed(part: Part) -> bool:
    """True if the entry keeps its extents in a list of their own."""
    return bool(part.record[1] & LISTED)


def _read_owners(reader: Reader) -> dict[int, str]:
    named: dict[int, str] = {}
    last = -1
    for _ in range(reader.count(6)):
        number = reader.u32()
        if number <= last:
            raise reader.fail("its owners are out of order")
        named[number] = reader.text()
        last = number
    return named
