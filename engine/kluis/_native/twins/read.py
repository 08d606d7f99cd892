"""kluis._native.read in plain Python; inode flags are unknown to it."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

from kluis._native.twins import scan

if TYPE_CHECKING:
    from typing_extensions import Buffer

RESULT_FORMAT = "=iII4x"
RESULT_SIZE = struct.calcsize(RESULT_FORMAT)
CHANGED = 1
GREW = 2
XATTRS = 4
LIMIT_MAX = 0x7FFFFFFF
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KNOWS_NO_HOLES = (errno.EINVAL, errno.EOPNOTSUPP)


def _open(fd: int, name: bytes, entry: scan.Entry) -> int:
    if not stat.S_ISREG(entry.mode) or not name or b"/" in name or b"\0" in name:
        raise OSError(errno.EINVAL, "no regular file in a directory")
    try:
        return os.open(name, OPEN_FLAGS | os.O_NOATIME, dir_fd=fd)
    except PermissionError:
        return os.open(name, OPEN_FLAGS, dir_fd=fd)


def _read_open(fd: int, entry: scan.Entry, limit: int) -> tuple[bytes, int]:
    """The content and the flags of an open file; OSError if it can give none."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.ESTALE, "not a regular file any more")
    data = bytearray(limit + 1)
    del data[read_at(fd, data, 0) :]
    now = os.fstat(fd)
    flags = XATTRS if os.listxattr(fd) else 0
    recorded = (
        entry.ino,
        entry.size,
        entry.mtime_s * scan.NS_PER_S + entry.mtime_ns,
        entry.ctime_s * scan.NS_PER_S + entry.ctime_ns,
    )
    all_read = len(data) > limit or len(data) == now.st_size
    if not all_read or recorded != (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns):
        flags |= CHANGED
    if len(data) > limit:
        return b"", flags | GREW
    return bytes(data), flags


def read_small(
    fd: int, records: bytes, names: bytes, wanted: Buffer, limit: int
) -> tuple[bytearray, bytes]:
    """(data, results) of the wanted entries of a listing in the directory `fd`."""
    listing = list(scan.entries(records, names))
    numbers = [number for (number,) in struct.iter_unpack("=I", bytes(wanted))]
    if limit > LIMIT_MAX or any(number >= len(listing) for number in numbers):
        raise ValueError("names, records, wanted numbers and limit do not fit together")
    data, results = bytearray(), bytearray()
    for number in numbers:
        name, entry = listing[number]
        flags = 0
        try:
            opened = _open(fd, name, entry)
            try:
                content, flags = _read_open(opened, entry, limit)
            finally:
                os.close(opened)
        except OSError as error:
            length = -(error.errno or 0)
        else:
            length = len(content)
            data += content
        results += struct.pack(RESULT_FORMAT, length, flags, 0)
    return data, bytes(results)


def read_at(fd: int, buffer: Buffer, offset: int) -> int:
    """How many bytes from `offset` on are now in the buffer: all it holds, or to the end."""
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        more = os.pread(fd, len(view) - done, offset + done)
        if not more:
            break
        view[done : done + len(more)] = more
        done += len(more)
    return done


def data_ranges(fd: int, size: int) -> list[tuple[int, int]]:
    """(start, end) of what is no hole in the first `size` bytes, in ascending order."""
    ranges: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            if error.errno not in KNOWS_NO_HOLES:
                raise
            start, end = at, size
        if start >= size:
            break
        at = min(end, size)
        ranges.append((start, at))
    return ranges
