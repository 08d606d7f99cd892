"""Where the file system begins that a directory lies on: a name that outlives device numbers."""

from __future__ import annotations

import os
import posixpath

from kluis.source.openat import PATH_FLAGS


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
