"""Tables with known contents, and what a new process finds in them."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from kluis._native.table import Table
from kluis._native.twins import table as twin

ALL_USABLE = b"\xff" * 8


def record(hash16: bytes, run: int, frame: int, offset: int = 7, length: int = 100) -> bytes:
    return hash16 + struct.pack("<4I", run, frame, offset, length)


def hash_of(n: int) -> bytes:
    return hashlib.sha256(b"%d" % n).digest()[:16]


def place(run: int, frame: int, offset: int = 7, length: int = 100) -> bytes:
    return struct.pack("<4I", run, frame, offset, length)


def filled(folder: Path, numbers: range, memory_entries: int = 1 << 18) -> Table:
    """A table in which hash n lies in run 0, frame n % 64, at offset n, and all is flushed."""
    table = Table(str(folder), memory_entries)
    table.set_usable(0, ALL_USABLE)
    table.add_pending(b"".join(record(hash_of(n), 0, n % 64, n) for n in numbers))
    table.settle(0, 64)
    table.flush()
    return table


def known(folder: Path, numbers: range) -> int:
    """How many of them a new process finds; each answer is checked, others must be unknown."""
    table = Table(str(folder))
    table.set_usable(0, ALL_USABLE)
    found = 0
    answers = twin.split(table.lookup(b"".join(hash_of(n) for n in numbers)), 16)
    for n, answer in zip(numbers, answers, strict=True):
        if answer != twin.UNKNOWN:
            assert answer == place(0, n % 64, n)
            found += 1
    table.close()
    return found


def table_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.table"))
