"""What lies above a directory: the place where its file system begins, folders to stay out of."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection

from kluis.source.descent import Identity
from kluis.source.openat import PATH_FLAGS
from kluis.source.paths import absolute


def mount_point(descriptor: int, path: bytes) -> bytes:
    """The topmost directory at or above `path` (open as `descriptor`) on the same file system.

    The kernel gives a file system another number after a restart; it is found in this place.
    Where a directory above cannot be opened, the one below it counts.
    """
    device = os.fstat(descriptor).st_dev
    at = os.dup(descriptor)
    try:
        while path != b"/":
            try:
                above = os.open(b"..", PATH_FLAGS | os.O_DIRECTORY, dir_fd=at)
            except OSError:
                break
            os.close(at)
            at = above
            if os.fstat(at).st_dev != device:
                break
            path = posixpath.dirname(path)
    finally:
        os.close(at)
    return path


def lies_within(path: bytes, folders: Collection[Identity]) -> bool:
    """True if the path names one of these folders or something in one of them."""
    path = absolute(path)
    while True:
        try:
            status = os.lstat(path)
        except OSError:
            pass  # the walk says so
        else:
            if (status.st_dev, status.st_ino) in folders:
                return True
        if path == b"/":
            return False
        path = posixpath.dirname(path)
