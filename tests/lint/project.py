"""The project's own files: those that git tracks or would, without the ignored ones."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def all_files() -> tuple[Path, ...]:
    """Every file that git would keep, relative to the project's root, sorted.

    Unpacked from an sdist there is no git: then those that the archive brought.
    """
    if not (ROOT / ".git").exists():
        brought = (ROOT / "kluis.egg-info/SOURCES.txt").read_text().splitlines()
        return tuple(Path(name) for name in sorted(brought) if (ROOT / name).is_file())
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    names = {name for name in listed.split("\0") if name}
    return tuple(Path(name) for name in sorted(names) if (ROOT / name).is_file())


def files(*suffixes: str, below: str = "") -> list[Path]:
    """Those of `all_files` with one of the suffixes, in the folder `below`."""
    return [
        path
        for path in all_files()
        if path.suffix in suffixes and (not below or path.is_relative_to(below))
    ]


@functools.cache
def text(path: Path) -> str:
    """The content of a project file."""
    return (ROOT / path).read_text(encoding="utf-8")
