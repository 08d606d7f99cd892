"""The content of the machine's files: many small ones in one call, large ones in windows."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from kluis._native import read as native
from kluis._native import scan
from kluis.source import records as listing
from kluis.source.openat import open_regular
from kluis.source.records import Record
from kluis.source.walk import Directory

SECTOR_BYTES = 512
"""The unit of `blocks` in a record, whatever the file system's own block is."""

_RESULT = struct.Struct(native.RESULT_FORMAT)


class Change(Enum):
    """What became of a file while it was read, as a word for a message."""

    NONE = "unchanged"
    CONTENT = "changed"
    GREW = "grew"
    SHRANK = "shrank"


class SmallFile(NamedTuple):
    """What `read_small` says of one file."""

    length: int
    """Bytes of its content; 0 if it could not be read."""
    errno: int
    changed: bool
    """It is no longer as the directory's listing says, or changed while it was read: open it
    with `open_file`, which takes a new record and can tell the two apart."""
    grew: bool
    """Larger than the limit by now; its content is not there."""
    has_xattrs: bool
    attributes: int
    """Inode flags, as chattr(1) shows them."""


def small_files(directory: Directory, indexes: bytes, limit: int) -> tuple[bytearray, bytes]:
    """(contents back to back, results) of the files with these u32 numbers in the listing.

    `each_small` reads the results. A file of more than `limit` bytes is not read.
    """
    return native.read_small(
        directory.descriptor, directory.records, directory.names, indexes, limit
    )


def each_small(results: bytes) -> Iterator[SmallFile]:
    """The results of `small_files`, one by one."""
    for length, flags, attributes in _RESULT.iter_unpack(results):
        yield SmallFile(
            max(length, 0),
            max(-length, 0),
            bool(flags & native.CHANGED),
            bool(flags & native.GREW),
            bool(flags & native.XATTRS),
            attributes,
        )


class Stream(Protocol):
    """Bytes that come once, in order, and whose number nobody knows before."""

    def read_into(self, buffer: memoryview) -> int:
        """How many bytes are now in the buffer; fewer than it holds only at the end."""

    def close(self) -> None:
        """Gives up what is left."""


@dataclass(slots=True)
class File:
    """A regular file that is open; `record` is as fresh as its descriptor."""

    descriptor: int
    record: bytes
    """Its stat record when it was opened, with the name length of its listing."""
    fields: Record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Its length in bytes when it was opened; what it grew by since then is not read."""
        return self.fields.size

    def data_ranges(self) -> list[tuple[int, int]]:
        """(start, end) of what is stored of it, ascending; the rest is holes, that is zeros."""
        if self.fields.blocks * SECTOR_BYTES >= self.size:
            return [(0, self.size)] if self.size else []
        return native.data_ranges(self.descriptor, self.size)

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """How many bytes from `offset` on are now in the buffer.

        Fewer than it holds, or than there are up to `size`, if the file ends there by now.
        """
        left = self.size - offset
        if left <= 0:
            return 0
        return native.read_at(self.descriptor, buffer[:left], offset)

    def change(self) -> Change:
        """What happened to the content since the file was opened.

        Ownership, permissions and links may change: the content is as it was.
        """
        now = os.fstat(self.descriptor)
        then = self.fields
        if now.st_size != then.size:
            return Change.GREW if now.st_size > then.size else Change.SHRANK
        if now.st_mtime_ns != then.mtime_s * 1_000_000_000 + then.mtime_ns:
            return Change.CONTENT
        return Change.NONE

    def close(self) -> None:
        """Closes the descriptor; twice does no harm."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_file(descriptor: int, name: bytes) -> File:
    """The regular file `name` in the directory `descriptor`.

    OSError: ENOENT if it vanished, ESTALE if something else stands there; never waits on a
    fifo, follows no link.
    """
    opened = open_regular(name, descriptor)
    try:
        record = listing.with_name_length(scan.stat_entry(opened, b""), len(name))
        return File(opened, record, listing.unpack(record))
    except BaseException:
        os.close(opened)
        raise


def read_link(descriptor: int, name: bytes) -> bytes:
    """Where the symlink `name` points; OSError(ESTALE) if it is no link any more."""
    try:
        return os.readlink(name, dir_fd=descriptor)
    except OSError as failure:
        if failure.errno == errno.EINVAL:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        raise
