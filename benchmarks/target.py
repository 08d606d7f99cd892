"""Where a tool restores to: a fresh file system for each, so that none pays for another's files.

ext4 passes over inodes that were deleted within the last minutes, one by one: whoever makes many
files where many were removed pays several times the CPU (seen: `cp -a` of 4,500 files 5.1 s
instead of 0.4), and whoever comes first does not. It needs root; anyone else gets a folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

FRESH = "a fresh ext4 for each tool"
FOLDER = "a folder, since nothing can be mounted: the order of the tools shows in their CPU"
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")
_LEAST_BYTES = 1 << 30
_TRIAL_BYTES = 4 << 20
_BYTES_A_FILE = 8192  # with its block, its inode and its share of a folder
_BYTES_AN_INODE = 4096


@cache
def kind() -> str:
    """What `fresh_target` gives on this machine, tried once."""
    with tempfile.TemporaryDirectory() as place:
        try:
            with _mounted(Path(place, "trial"), _TRIAL_BYTES):
                return FRESH
        except (OSError, subprocess.CalledProcessError):
            return FOLDER


@contextmanager
def fresh_target(place: Path, size_bytes: int, files: int) -> Iterator[Path]:
    """An empty folder at or below `place`, with room for the files; it is gone at the end."""
    shutil.rmtree(place, ignore_errors=True)
    if kind() == FRESH:
        with _mounted(place, _LEAST_BYTES + size_bytes * 5 // 4 + files * _BYTES_A_FILE) as inside:
            yield inside
        return
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _mounted(place: Path, size_bytes: int) -> Iterator[Path]:
    place.mkdir(parents=True)
    image = place.with_name(place.name + ".img")
    try:
        with image.open("wb") as out:
            out.truncate(size_bytes)
        # Inode tables are neither written now nor by the kernel while it is measured.
        _run("mkfs.ext4", "-q", "-F", "-i", str(_BYTES_AN_INODE), str(image))
        _run("mount", "-o", "loop,noatime,noinit_itable", str(image), str(place))
        try:
            inside = place / "target"
            inside.mkdir()
            yield inside
        finally:
            _run("umount", str(place))
    finally:
        image.unlink(missing_ok=True)
        place.rmdir()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PATH": _PATH})
