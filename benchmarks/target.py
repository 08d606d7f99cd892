"""Where a tool restores to: a fresh file system for each, so that none pays for another's files.

ext4 passes over inodes that were deleted within the last minutes, one by one: whoever makes many
files where many were removed pays several times the CPU (seen: `cp -a` of 4,500 files 5.1 s
instead of 0.4), and whoever comes first does not. It needs root; anyone else gets a folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FRESH = "a fresh ext4 for each tool"
FOLDER = "a folder, for want of root: the order of the tools shows in their CPU"
_PATH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")
_PROGRAMS = ("mkfs.ext4", "mount", "umount")
_LEAST_BYTES = 1 << 30
_BYTES_A_FILE = 8192  # with its block, its inode and its share of a folder
_BYTES_AN_INODE = 4096


def kind() -> str:
    """What `fresh_target` gives on this machine."""
    there = all(shutil.which(name, path=_PATH) for name in _PROGRAMS)
    return FRESH if os.geteuid() == 0 and there else FOLDER


@contextmanager
def fresh_target(place: Path, size_bytes: int, files: int) -> Iterator[Path]:
    """An empty folder at `place` with room for the files; it is gone at the end."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if kind() != FRESH:
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return
    image = place.with_name(place.name + ".img")
    with image.open("wb") as out:
        out.truncate(_LEAST_BYTES + size_bytes * 5 // 4 + files * _BYTES_A_FILE)
    try:
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
        image.unlink()
        place.rmdir()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PATH": _PATH})
