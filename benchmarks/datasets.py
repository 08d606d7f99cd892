"""What the benchmarks back up, and how it changes by the next day.

A data set lies in a folder of its own with a manifest beside it (path, size, SHA-256 of every
file), whose digest stands in every result: two results with the same digest are about the
same bytes.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import datasets as made

SEED = 20260131
CHANGED_SHARE = 0.01
_LARGEST_BYTES = 64 << 20  # one library of 500 MB would be half of the data set

# Where real files come from, with the share of the whole that each may give.
_SOURCES = (
    ("/usr/share", 0.35),
    ("/usr/lib", 0.30),
    ("/usr/include", 0.10),
    ("/usr/bin", 0.10),
    ("/usr/local", 0.10),
    ("/etc", 0.05),
    ("/usr/lib", 1.0),  # what is still missing
    ("/usr/local", 1.0),
)


@dataclass(frozen=True)
class Dataset:
    """How a folder is filled up to a size, and how one day changes it."""

    name: str
    make: Callable[[Path, int], None]
    changed: Callable[[Path, int], list[Path]]
    """(folder, seed) -> the files that `change` will touch."""
    change: Callable[[list[Path], int], None]


def system_files(folder: Path, size_bytes: int) -> None:
    """Copies of this machine's files in sorted order, up to the size: the same on each call."""
    left = size_bytes
    for source, share in _SOURCES:
        quota = min(left, int(size_bytes * share))
        for path in _walk(Path(source)):
            target = folder / path.relative_to("/")
            if os.path.lexists(target):
                continue
            entry = path.lstat()
            if path.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path.readlink())
            elif entry.st_size <= min(quota, _LARGEST_BYTES):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                quota -= entry.st_size
                left -= entry.st_size
            if quota < 4096:
                break


def _walk(source: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            entry = Path(path, name)
            if entry.is_symlink() or (entry.is_file() and os.access(entry, os.R_OK)):
                yield entry


def _share_of_files(folder: Path, seed: int) -> list[Path]:
    """One file in a hundred, at least one."""
    regular = [path for path in _walk(folder) if not path.is_symlink()]
    count = max(1, int(len(regular) * CHANGED_SHARE))
    return sorted(random.Random(seed).sample(regular, count))


def _edit(paths: list[Path], seed: int) -> None:
    """Some bytes in the middle of each file differ, and some are added."""
    source = random.Random(seed)
    for path in paths:
        with path.open("r+b") as content:
            content.seek(path.stat().st_size // 2)
            content.write(source.randbytes(64))
            content.seek(0, os.SEEK_END)
            content.write(source.randbytes(100))


def _first_file(folder: Path, seed: int) -> list[Path]:
    return [next(_walk(folder))]


def _tiny(folder: Path, size_bytes: int) -> None:
    """300,000 files at 1 GB: the size counts them, not their bytes."""
    made.tiny_files(folder, size_bytes * 300_000 // 10**9, SEED)


def _incompressible(folder: Path, size_bytes: int) -> None:
    for number in range(max(1, size_bytes // 4_000_000)):
        made.incompressible(folder / f"IMG_{number:05}.jpg", 4_000_000, SEED + number)


def _office(folder: Path, size_bytes: int) -> None:
    made.office(folder, SEED, size_bytes / 64_000_000)


_DUMP_ROW_BYTES = 140
_DATABASE_ROW_BYTES = 170

ALL: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset("system", system_files, _share_of_files, _edit),
        Dataset("tiny", _tiny, _share_of_files, _edit),
        Dataset("incompressible", _incompressible, _share_of_files, _edit),
        Dataset("office", _office, _share_of_files, _edit),
        Dataset(
            "sqldump",
            lambda folder, size: made.sql_dump(folder / "dump.sql", size // _DUMP_ROW_BYTES, SEED),
            _first_file,
            lambda paths, seed: made.change_sql_dump(
                paths[0], 1500, paths[0].stat().st_size // _DUMP_ROW_BYTES // 100, seed
            ),
        ),
        Dataset(
            "sqlite",
            lambda folder, size: made.database(
                folder / "ledger.sqlite", size // _DATABASE_ROW_BYTES, SEED
            ),
            _first_file,
            lambda paths, seed: made.change_database(
                paths[0], 1500, paths[0].stat().st_size // _DATABASE_ROW_BYTES // 100, seed
            ),
        ),
        Dataset(
            "image",
            lambda folder, size: made.disk_image(folder / "machine.img", size, 0.17, SEED),
            _first_file,
            _edit,
        ),
    )
}


@dataclass(frozen=True)
class Prepared:
    """A data set on disk."""

    dataset: Dataset
    folder: Path
    files: int
    size_bytes: int
    digest: str

    def one_day(self, seed: int, aside: Path) -> None:
        """Changes it, having put the touched files aside."""
        paths = self.dataset.changed(self.folder, seed)
        for path in paths:
            kept = aside / path.relative_to(self.folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)
        self.dataset.change(paths, seed)

    def back_again(self, aside: Path) -> None:
        """Undoes `one_day`."""
        for path in _walk(aside):
            shutil.copy2(path, self.folder / path.relative_to(aside))
        shutil.rmtree(aside)


def prepare(name: str, size_bytes: int, work: Path) -> Prepared:
    """The data set below `work`, made unless its manifest shows that it is there whole."""
    dataset = ALL[name]
    folder = work / "data" / f"{name}-{size_bytes}"
    manifest = folder.with_suffix(".manifest")
    if not manifest.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        dataset.make(folder, size_bytes)
        manifest.write_text("".join(_manifest(folder)), encoding="utf-8", errors="surrogateescape")
    lines = manifest.read_bytes().splitlines()
    if len(lines) != sum(1 for _ in _walk(folder)):
        manifest.unlink()
        return prepare(name, size_bytes, work)
    total = sum(int(line.rsplit(b"\t", 2)[1]) for line in lines)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]
    return Prepared(dataset, folder, len(lines), total, digest)


def _manifest(folder: Path) -> Iterator[str]:
    for path in _walk(folder):
        if path.is_symlink():
            size, digest = 0, str(path.readlink())
        else:
            size = path.stat().st_size
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        yield f"{path.relative_to(folder)}\t{size}\t{digest}\n".replace("\r", "?")
