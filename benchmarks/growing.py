"""Data that grows: more bytes, more files, more files in one folder.

Made from numbers alone, so the smaller is always a part of the larger, and every machine makes
the same. Half of the bytes are text that compresses, half are not, and nothing repeats over
the length of a chunk.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.datasets import prose

SEED = 20260131
MB = 10**6
# An eighth of the bytes lies in files of this size: one in 1,250, the others have 180 KB each.
LARGE_BYTES = 32 * MB
LARGE_EVERY = 1250
_BLOCK_BYTES = 1 << 20
_TEXT_BYTES = 4 << 20
_PIECE_BYTES = 1200
FILES_A_FOLDER = 500


@dataclass(frozen=True)
class Growing:
    """A folder that can be filled up to a size, from any smaller one on."""

    name: str
    unit: str
    fill: Callable[[Path, int, int], None]
    """(folder, size that it has, size that it gets)"""


@cache
def _text() -> bytes:
    return prose(_TEXT_BYTES, SEED).encode()


def block(name: str, size: int, *, text: bool) -> bytes:
    """Bytes that follow from the name alone: text, or what no compressor makes smaller."""
    source = random.Random(f"{SEED} {name}")
    if not text:
        return source.randbytes(size)
    whole, parts, have = _text(), [], 0
    while have < size:
        start = source.randrange(_TEXT_BYTES - _PIECE_BYTES)
        parts.append(whole[start : start + source.randint(200, _PIECE_BYTES)])
        have += len(parts[-1])
    return b"".join(parts)[:size]


def file_bytes(number: int) -> int:
    """How long the file of this number is: 4 KB to 1 MB, or a large one."""
    if number % LARGE_EVERY == LARGE_EVERY // 2:
        return LARGE_BYTES
    return int(4000 * 250 ** random.Random(f"size {SEED} {number}").random())


def _bytes(folder: Path, have_mb: int, want_mb: int) -> None:
    """Files numbered on until they have so many bytes; the last is cut there."""
    number, made = 0, 0
    while made + file_bytes(number) < have_mb * MB:  # the last one of before is written anew
        number, made = number + 1, made + file_bytes(number)
    while made < want_mb * MB:
        size = min(file_bytes(number), want_mb * MB - made)
        inside = folder / f"{number // FILES_A_FOLDER:05}"
        inside.mkdir(parents=True, exist_ok=True)
        with (inside / f"{number:07}.bin").open("wb") as out:
            for start in range(0, size, _BLOCK_BYTES):
                length = min(_BLOCK_BYTES, size - start)
                out.write(block(f"{number} {start}", length, text=number % 2 == 0))
        number, made = number + 1, made + size


def _files(folder: Path, have: int, want: int) -> None:
    """Files of some 10 bytes, 500 a folder."""
    for number in range(have, want):
        inside = f"{folder}/{number // FILES_A_FOLDER:05}"
        if number % FILES_A_FOLDER == 0:
            os.makedirs(inside, exist_ok=True)
        descriptor = os.open(f"{inside}/{number:07}.txt", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(descriptor, b"file %d\n" % number)
        os.close(descriptor)


def _one_folder(folder: Path, have: int, want: int) -> None:
    """Empty files, all in one folder."""
    inside = folder / "all"
    inside.mkdir(exist_ok=True)
    for number in range(have, want):
        os.close(os.open(f"{inside}/{number:07}.txt", os.O_WRONLY | os.O_CREAT, 0o644))


SERIES = {
    item.name: item
    for item in (
        Growing("data", "MB", _bytes),
        Growing("files", "files", _files),
        Growing("files of one folder", "files", _one_folder),
    )
}
