"""Opening files and directories by descriptor and name, without following links or waiting."""

from __future__ import annotations

import errno
import os
import stat

_BASE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
DIRECTORY_FLAGS = _BASE | os.O_DIRECTORY | os.O_NOFOLLOW
# A fifo without a writer would block the open, a terminal could take over the process.
FILE_FLAGS = _BASE | os.O_NOFOLLOW | os.O_NONBLOCK
PATH_FLAGS = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW


def open_quietly(name: bytes, flags: int, directory: int | None = None) -> int:
    """A descriptor that leaves the time of last access alone where the system allows it."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        # O_NOATIME is for the owner and root alone; and who may not read fails again.
        return os.open(name, flags, dir_fd=directory)


def open_directory(name: bytes, directory: int | None = None) -> int:
    """A descriptor of a directory that is no link."""
    return open_quietly(name, DIRECTORY_FLAGS, directory)


def open_regular(name: bytes, directory: int | None = None) -> int:
    """A descriptor of a regular file that is no link; never waits on a fifo or a device.

    OSError(ESTALE) if something else stands there.
    """
    try:
        descriptor = open_quietly(name, FILE_FLAGS, directory)
    except BlockingIOError:
        return _open_leased(name, directory)
    except OSError as failure:
        if failure.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        raise
    try:
        _require_regular(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def _open_leased(name: bytes, directory: int | None) -> int:
    """Opens a file on which a file server holds a lease: waits until it is given back."""
    place = os.open(name, PATH_FLAGS, dir_fd=directory)
    try:
        _require_regular(place)
        return os.open(b"/proc/self/fd/%d" % place, _BASE)
    finally:
        os.close(place)


def _read_all(descriptor: int, limit: int) -> bytes:
    parts = []
    while limit > 0 and (part := os.read(descriptor, min(limit, 1 << 20))):
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def read_file_at(directory: int, name: bytes, limit: int) -> bytes:
    """The first `limit` bytes of a regular file that is no link."""
    descriptor = open_regular(name, directory)
    try:
        return _read_all(descriptor, limit)
    finally:
        os.close(descriptor)
