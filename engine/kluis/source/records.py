"""Directory listings as flat arrays: what can be asked of them without an object per entry."""

from __future__ import annotations

import stat
import struct
import sys
from collections.abc import Iterable
from typing import NamedTuple

from kluis._native import scan

RECORD_SIZE = scan.RECORD_SIZE
BTIME_UNKNOWN_NS = scan.BTIME_UNKNOWN_NS

ATTRIBUTE_NODUMP = 0x40
"""STATX_ATTR_NODUMP: `chattr +d`."""
ATTRIBUTE_MOUNT_ROOT = 0x2000
"""STATX_ATTR_MOUNT_ROOT: something is mounted here (Linux 5.8)."""

_STRUCT = struct.Struct(scan.RECORD_FORMAT)
_LENGTH = struct.Struct("=H")
_MODE_AT = 76
_ATTRIBUTES_AT = 92
_LENGTH_AT = 96
_SIZE_U64 = 2
_BLOCKS_U64 = 3
_NLINK_U32 = 22
_LITTLE = sys.byteorder == "little"
# The type is in bits 12 to 15 of the mode: the upper half of its second lowest byte.
_KIND_AT = _MODE_AT + (1 if _LITTLE else 2)
_DIRECTORY_MARKS = bytes(byte >> 4 == stat.S_IFDIR >> 12 for byte in range(256))
_FILE_MARKS = bytes(byte >> 4 == stat.S_IFREG >> 12 for byte in range(256))


class Record(NamedTuple):
    """The stat record of one entry, as `scan.RECORD_FORMAT` lays it out."""

    ino: int
    dev: int
    size: int
    blocks: int
    rdev: int
    mtime_s: int
    ctime_s: int
    btime_s: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    mode: int
    uid: int
    gid: int
    nlink: int
    attributes: int
    name_length: int

    @property
    def identity(self) -> tuple[int, int]:
        """(dev, ino): which object it is, whatever its name."""
        return self.dev, self.ino


def unpack(record: bytes) -> Record:
    """One record as named fields."""
    return Record._make(_STRUCT.unpack(record))


def identity_of(record: bytes) -> tuple[int, int]:
    """(dev, ino) of one record."""
    fields = _STRUCT.unpack(record)
    return fields[1], fields[0]


def with_name_length(record: bytes, length: int) -> bytes:
    """The record, as it stands in a listing under a name of `length` bytes."""
    return record[:_LENGTH_AT] + _LENGTH.pack(length) + record[_LENGTH_AT + _LENGTH.size :]


def without_times(records: bytes, which: Iterable[int]) -> bytes:
    """The records, those of these numbers without what changes as entries come and go.

    Size, blocks, links and times of a folder: what matters there is who it is and whose.
    """
    changed = bytearray(records)
    for index in which:
        fields = unpack(record_at(records, index))
        changed[index * RECORD_SIZE : (index + 1) * RECORD_SIZE] = _STRUCT.pack(
            *fields._replace(
                size=0, blocks=0, mtime_s=0, mtime_ns=0, ctime_s=0, ctime_ns=0, nlink=0
            )
        )
    return bytes(changed)


def entry_count(records: bytes) -> int:
    """How many entries the listing has."""
    return len(records) // RECORD_SIZE


def directory_marks(records: bytes) -> bytes:
    """One byte an entry: 1 for a directory, else 0."""
    return records[_KIND_AT::RECORD_SIZE].translate(_DIRECTORY_MARKS)


def file_marks(records: bytes) -> bytes:
    """One byte an entry: 1 for a regular file, else 0."""
    return records[_KIND_AT::RECORD_SIZE].translate(_FILE_MARKS)


def attribute_marks(records: bytes, attribute: int) -> bytes:
    """One byte an entry: 1 where the single bit `attribute` of the attributes is set, else 0."""
    byte = (attribute.bit_length() - 1) // 8
    bit = attribute >> 8 * byte
    at = _ATTRIBUTES_AT + (byte if _LITTLE else 3 - byte)
    table = bytes(bool(value & bit) for value in range(256))
    return records[at::RECORD_SIZE].translate(table)


def sizes(records: bytes) -> list[int]:
    """The size of each entry in bytes."""
    return memoryview(records).cast("Q")[_SIZE_U64 :: RECORD_SIZE // 8].tolist()


def blocks(records: bytes) -> list[int]:
    """How many blocks of 512 bytes each entry takes."""
    return memoryview(records).cast("Q")[_BLOCKS_U64 :: RECORD_SIZE // 8].tolist()


def link_counts(records: bytes) -> list[int]:
    """How many names each entry has."""
    return memoryview(records).cast("I")[_NLINK_U32 :: RECORD_SIZE // 4].tolist()


def split_names(records: bytes, names: bytes) -> list[bytes]:
    """The name of each entry."""
    lengths = memoryview(records).cast("H")[_LENGTH_AT // 2 :: RECORD_SIZE // 2].tolist()
    found = []
    at = 0
    for length in lengths:
        found.append(names[at : at + length])
        at += length
    return found


def record_at(records: bytes, index: int) -> bytes:
    """The bytes of the record number `index`."""
    return records[index * RECORD_SIZE : (index + 1) * RECORD_SIZE]
