"""Data sets of this machine's own files, copied in sorted order: the same on each call."""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.datasets.kept import Dataset, edit, first_file, share_of_files, walk

_LARGEST_BYTES = 64 << 20  # one library of 500 MB would be half of the data set

# Where system files come from, with the share of the whole that each may give.
_SYSTEM = (
    ("/usr/share", 0.35),
    ("/usr/lib", 0.30),
    ("/usr/include", 0.10),
    ("/usr/bin", 0.10),
    ("/usr/local", 0.10),
    ("/etc", 0.05),
    ("/usr/lib", 1.0),  # what is still missing
    ("/usr/local", 1.0),
)

# Where texts and sources come from: those that exist, Debian's first, then tools' own.
_TEXTS = (
    "/usr/share/doc",
    "/usr/include",
    "/usr/lib/python3",
    "/usr/share/perl",
    "/usr/share/perl5",
    "/usr/src",
    sysconfig.get_path("stdlib"),
    "/usr/local/go/src",
    "/usr/local/share",
    "/usr/lib/node_modules",
    "/usr/share/man",
    "/usr/share/help",
)
_DOCUMENTS = frozenset((".pdf", ".odt", ".docx", ".html", ".gz", ".svg", ".png"))
_LARGEST_TEXT_BYTES = 4 << 20
_LOOKED_AT_BYTES = 4096
_SOURCE_SUFFIXES = frozenset((".py", ".h", ".c", ".hpp", ".go", ".rs", ".pl", ".pm", ".js", ".s"))


def system_files(folder: Path, size_bytes: int) -> None:
    """Copies of this machine's files, links included, up to the size."""
    left = size_bytes
    for source, share in _SYSTEM:
        quota = min(left, int(size_bytes * share))
        for path in walk(Path(source)):
            used = _copied(path, folder, min(quota, _LARGEST_BYTES))
            quota -= used
            left -= used
            if quota < 4096:
                break


def texts(folder: Path, size_bytes: int) -> None:
    """Manuals, headers and sources up to the size, or as many as there are."""
    left = size_bytes
    for source in _text_roots():
        for path in walk(source):
            if left < 4096:
                return
            if not path.is_symlink() and is_text(path):
                left -= _copied(path, folder, min(left, _LARGEST_TEXT_BYTES))


def _text_roots() -> Iterator[Path]:
    """Those of `_TEXTS`, then the libraries of other Pythons beside the one that runs this."""
    seen: set[Path] = set()
    stdlib = Path(sysconfig.get_path("stdlib"))
    others = sorted(stdlib.parents[2].glob(f"*/lib/python{sys.version_info.major}*"))
    for root in (*map(Path, _TEXTS), *others):
        whole = root.resolve()
        if whole.is_dir() and whole not in seen:
            seen.add(whole)
            yield whole


def is_text(path: Path) -> bool:
    """Whether it is a document by its name, or begins without a zero byte."""
    if path.suffix in _DOCUMENTS:
        return True
    with path.open("rb") as content:
        return b"\0" not in content.read(_LOOKED_AT_BYTES)


def _copied(path: Path, folder: Path, most_bytes: int) -> int:
    """Copies one entry to its place below the folder; the bytes that it took."""
    target = folder / path.relative_to("/")
    entry = path.lstat()
    if os.path.lexists(target) or entry.st_size > most_bytes:
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return 0
    shutil.copy2(path, target)
    return entry.st_size


def source_tar(folder: Path, size_bytes: int) -> None:
    """One uncompressed tar of source files in sorted order, up to the size."""
    found: list[tuple[str, Path]] = []
    left = size_bytes
    for root in _text_roots():
        for path in walk(root):
            if path.suffix in _SOURCE_SUFFIXES and not path.is_symlink():
                size = path.stat().st_size
                if size < min(left, _LARGEST_TEXT_BYTES):
                    found.append((str(path.relative_to("/")), path))
                    left -= size + 1024
    write_tar(folder / "sources.tar", ((name, path.read_bytes) for name, path in found))


def write_tar(place: Path, members: Iterator[tuple[str, Callable[[], bytes]]]) -> None:
    """A tar in the given order whose headers tell nothing of the machine or the time."""
    with tarfile.open(place, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            data = content()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), 1_700_000_000, 0o644
            archive.addfile(entry, io.BytesIO(data))


_NEW_VERSIONS_SHARE = 0.05
_LINES_SHARE = 0.02


def new_versions(paths: list[Path], seed: int) -> None:
    """The tar of the next release: one file in twenty edited here and there, order kept."""
    source = random.Random(seed)
    tar = paths[0]
    later = tar.with_suffix(".later")

    def members(archive: tarfile.TarFile) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for entry in archive:
            stream = archive.extractfile(entry)
            data = stream.read() if stream else b""
            if source.random() < _NEW_VERSIONS_SHARE:
                data = _edited_lines(data, source)
            yield entry.name, lambda data=data: data  # type: ignore[misc]

    with tarfile.open(tar) as archive:
        write_tar(later, members(archive))
    later.replace(tar)


def _edited_lines(data: bytes, source: random.Random) -> bytes:
    """Some lines swapped for others, some added, some gone, as a patch does."""
    lines = data.splitlines(keepends=True)
    for _ in range(max(1, int(len(lines) * _LINES_SHARE))):
        at = source.randrange(len(lines) + 1)
        new = b"    value_%d = compute(%d)\n" % (source.randrange(10**6), source.randrange(10**9))
        lines[at : at + source.randint(0, 2)] = [new] * source.randint(0, 2)
    return b"".join(lines)


REAL = (
    Dataset("system", system_files, share_of_files, edit),
    Dataset("docs", texts, share_of_files, edit),
    Dataset("sourcetar", source_tar, first_file, new_versions),
)
