"""Data sets made from a seed: the same bytes on every machine."""

from __future__ import annotations

import os
import random
from pathlib import Path

from benchmarks.datasets import mail
from benchmarks.datasets.kept import SEED, Dataset, edit, first_file, share_of_files, walk
from tests import datasets as made

_MB = 10**6
_MIB = 1 << 20
_DUMP_ROW_BYTES = 140
_DATABASE_ROW_BYTES = 170
_DUMP_EDITS_A_GB = 8_000  # 1,500 in a dump of 180 MB
_DATABASE_EDITS_A_GB = 16_000  # and in a file of 90 MB
_LARGEST_FILM_BYTES = 500 * _MB
_PHOTO_BYTES = 4 * _MB


def tiny(folder: Path, size_bytes: int) -> None:
    """300,000 files of 1 to 4 KB at 1 GB, each with a text of its own: the size counts files."""
    source = random.Random(SEED)
    for number in range(size_bytes * 300_000 // 10**9):
        inside = folder / f"{number // 500:05}"
        if number % 500 == 0:
            inside.mkdir(parents=True, exist_ok=True)
        content = made.prose(source.randint(1024, 4096), SEED + number).encode()
        descriptor = os.open(inside / f"{number:07}.txt", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(descriptor, content)
        os.close(descriptor)


def video(folder: Path, size_bytes: int) -> None:
    """Half of it few large files, half of it photographs; nothing that compresses."""
    number, left = 0, size_bytes // 2
    while left >= _PHOTO_BYTES:
        size = min(left, _LARGEST_FILM_BYTES)
        made.incompressible(folder / f"film {number:02}.mp4", size, SEED - number - 1)
        number, left = number + 1, left - size
    for photo in range(max(1, size_bytes // 2 // _PHOTO_BYTES)):
        made.incompressible(folder / f"IMG_{photo:05}.jpg", _PHOTO_BYTES, SEED + photo)


def _office(folder: Path, size_bytes: int) -> None:
    made.office(folder, SEED, size_bytes / 64_000_000)


def _dump(folder: Path, size_bytes: int) -> None:
    made.sql_dump(folder / "dump.sql", size_bytes // _DUMP_ROW_BYTES, SEED)


def _next_dump(paths: list[Path], seed: int) -> None:
    size = paths[0].stat().st_size
    edits = max(1, size * _DUMP_EDITS_A_GB // 10**9)
    made.change_sql_dump(paths[0], edits, size // _DUMP_ROW_BYTES // 100, seed)


def _database(folder: Path, size_bytes: int) -> None:
    made.database(folder / "ledger.sqlite", size_bytes // _DATABASE_ROW_BYTES, SEED)


def _next_database(paths: list[Path], seed: int) -> None:
    size = paths[0].stat().st_size
    edits = max(1, size * _DATABASE_EDITS_A_GB // 10**9)
    made.change_database(paths[0], edits, size // _DATABASE_ROW_BYTES // 100, seed)


def _image(folder: Path, size_bytes: int) -> None:
    used = max(0.17, 2 * _MIB / size_bytes)  # two islands at least
    made.disk_image(folder / "machine.img", size_bytes, used, SEED)


def _next_image(paths: list[Path], seed: int) -> None:
    """Blocks here and there within what was used, and new files where all was empty."""
    source = random.Random(seed)
    size = paths[0].stat().st_size
    with paths[0].open("r+b") as content:
        # Not by SEEK_DATA: file systems differ in where they say that a hole begins.
        starts = range(0, size - _MIB + 1, _MIB)
        used = [start for start in starts if any(os.pread(content.fileno(), 4096, start))]
        for _ in range(max(4, size // _MB)):  # a journal, inodes, logs: 4 KiB a megabyte of disk
            content.seek(source.choice(used) + source.randrange(256) * 4096)
            content.write(source.randbytes(2048) + _text(2048, source))
        for _ in range(max(1, size // _MB // 300)):
            content.seek(source.choice(starts))
            content.write(source.randbytes(512 << 10) + _text(512 << 10, source))


def _text(size_bytes: int, source: random.Random) -> bytes:
    return made.prose(size_bytes, source.randrange(1 << 60)).encode()


def varied(folder: Path, size_bytes: int) -> None:
    """Files of 1 KB to 400 KB, texts and photographs alike: what `replaced_share` works on."""
    source, number, left = random.Random(SEED), 0, size_bytes
    while left > 0:
        size = min(left, int(1000 * 400 ** source.random()))
        inside = folder / f"{number // 200:04}"
        inside.mkdir(parents=True, exist_ok=True)
        write_varied(inside / f"{number:06}.{'txt' if number % 2 else 'jpg'}", size, SEED + number)
        number, left = number + 1, left - size


def write_varied(path: Path, size_bytes: int, seed: int) -> None:
    """A file of one of the two kinds, chosen by its name."""
    if path.suffix == ".txt":
        path.write_bytes(made.prose(size_bytes, seed).encode())
    else:
        made.incompressible(path, size_bytes, seed)


REPLACED_SHARE = 0.02


def two_percent(folder: Path, seed: int) -> list[Path]:
    """One file in fifty: what a day of churn replaces."""
    files = list(walk(folder))
    count = max(1, int(len(files) * REPLACED_SHARE))
    return sorted(random.Random(seed).sample(files, count))


def replace(paths: list[Path], seed: int) -> None:
    """The files have wholly new content of about the old size."""
    source = random.Random(seed)
    for path in paths:
        size = int(path.stat().st_size * source.uniform(0.8, 1.25))
        write_varied(path, size, source.randrange(1 << 60))


MADE = (
    Dataset("tiny", tiny, share_of_files, edit),
    Dataset("incompressible", video, share_of_files, edit),
    Dataset("office", _office, share_of_files, edit),
    Dataset("sqldump", _dump, first_file, _next_dump),
    Dataset("sqlite", _database, first_file, _next_database),
    Dataset("mailbox", mail.mailbox, mail.touched, mail.next_day),
    Dataset("image", _image, first_file, _next_image),
    Dataset("churn", varied, two_percent, replace),
)
