"""A data set on disk: made once, known by its manifest, changed for a day and changed back."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SEED = 20260131
CHANGED_SHARE = 0.01


@dataclass(frozen=True)
class Dataset:
    """How a folder is filled up to a size, and how one day changes it."""

    name: str
    make: Callable[[Path, int], None]
    changed: Callable[[Path, int], list[Path]]
    """(folder, seed) -> the files that `change` will touch, rename or remove."""
    change: Callable[[list[Path], int], None]
    """(those files, seed); it may add files beside them."""


@dataclass(frozen=True)
class Prepared:
    """A data set on disk."""

    dataset: Dataset
    folder: Path
    files: int
    size_bytes: int
    digest: str
    _names: set[Path] = field(default_factory=set, repr=False)

    def one_day(self, seed: int, aside: Path) -> None:
        """Changes it, having put the touched files aside."""
        self._names.clear()
        self._names.update(walk(self.folder))
        paths = self.dataset.changed(self.folder, seed)
        for path in paths:
            kept = aside / path.relative_to(self.folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)
        self.dataset.change(paths, seed)

    def back_again(self, aside: Path) -> None:
        """Undoes `one_day`."""
        for path in list(walk(self.folder)):
            if path not in self._names:
                path.unlink()
        for path in walk(aside):
            shutil.copy2(path, self.folder / path.relative_to(aside))
        shutil.rmtree(aside)


def walk(source: Path) -> Iterator[Path]:
    """All files that can be read and all symbolic links, in the same order on each call."""
    for path, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            entry = Path(path, name)
            if entry.is_symlink() or (entry.is_file() and os.access(entry, os.R_OK)):
                yield entry


def share_of_files(folder: Path, seed: int) -> list[Path]:
    """One file in a hundred, at least one."""
    regular = [path for path in walk(folder) if not path.is_symlink()]
    count = max(1, int(len(regular) * CHANGED_SHARE))
    return sorted(random.Random(seed).sample(regular, count))


def edit(paths: list[Path], seed: int) -> None:
    """Some bytes in the middle of each file differ, and some are added."""
    source = random.Random(seed)
    for path in paths:
        with path.open("r+b") as content:
            content.seek(path.stat().st_size // 2)
            content.write(source.randbytes(64))
            content.seek(0, os.SEEK_END)
            content.write(source.randbytes(100))


def first_file(folder: Path, seed: int) -> list[Path]:
    """The only one, where a data set is one large file."""
    return [next(walk(folder))]


def prepared(dataset: Dataset, size_bytes: int, work: Path) -> Prepared:
    """The data set below `work`, made unless its manifest shows that it is there whole."""
    folder = work / "data" / f"{dataset.name}-{size_bytes}"
    listed = folder.with_suffix(".manifest")
    if not listed.exists() or not _whole(folder, listed):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        dataset.make(folder, size_bytes)
        written = "".join(manifest(folder))
        listed.write_text(written, encoding="utf-8", errors="surrogateescape")
    lines = listed.read_bytes().splitlines()
    total = sum(int(line.rsplit(b"\t", 2)[1]) for line in lines)
    digest = hashlib.sha256(listed.read_bytes()).hexdigest()[:16]
    return Prepared(dataset, folder, len(lines), total, digest)


def _whole(folder: Path, listed: Path) -> bool:
    """Whether names and sizes are still those of the manifest: a run may have been killed."""
    found = []
    for path in walk(folder):
        size = 0 if path.is_symlink() else path.stat().st_size
        found.append(os.fsencode(f"{path.relative_to(folder)}\t{size}".replace("\r", "?")))
    return found == [line.rsplit(b"\t", 1)[0] for line in listed.read_bytes().splitlines()]


def manifest(folder: Path) -> Iterator[str]:
    """A line for each file: path, size, SHA-256, or where a link leads."""
    for path in walk(folder):
        if path.is_symlink():
            size, digest = 0, str(path.readlink())
        else:
            size = path.stat().st_size
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        yield f"{path.relative_to(folder)}\t{size}\t{digest}\n".replace("\r", "?")
