"""How this process's C allocator treats memory that comes and goes in buffers of some MiB."""

from __future__ import annotations

import os
from ctypes import CDLL

# mallopt(3), glibc. A backup's buffers of some MiB live for milliseconds; each would be mapped,
# cleared page by page and unmapped again, in the kernel's time. A limit that is set
# is no longer raised by the allocator itself, and one arena keeps less than one a thread.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_KEPT_BYTES = 32 << 20
KEPT_BYTES = 128 << 20


def keep_freed_buffers() -> None:
    """Lets freed buffers be used again; nothing where the C library has no such switch.

    For a process of its own only: who embeds the engine decides for himself, and so does who
    has set `MALLOC_...` in the environment.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES),
        (M_TRIM_THRESHOLD, KEPT_BYTES),
        (M_ARENA_MAX, 1),
    ):
        mallopt(parameter, value)
