"""Room for what is large: pages of its own, that go back to the system as soon as nobody uses them.

The allocator keeps what is freed between what is not, which here would be tens of MiB.
"""

from __future__ import annotations

import mmap


def make_room(size: int) -> memoryview:
    """So many zero bytes; only what is written to takes memory."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
