"""A small disk that becomes full or read-only: a tmpfs, or a folder without permissions.

Who may not mount has no rights to write to such a folder either, so one of the two is real.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILLER = "filler"


class SmallDisk:
    """Lies at `folder`; nothing in it can be written after `fill` or `protect`, until `free`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir()
        self.mounted = os.geteuid() == 0 and self._mount(f"size={size}")

    def _mount(self, options: str) -> bool:
        words = ["mount", "-t", "tmpfs", "-o", options, "kluis", str(self.folder)]
        return subprocess.run(words, check=False, capture_output=True).returncode == 0

    def fill(self) -> None:
        """No room is left."""
        if not self.mounted:
            return self.protect()
        with (self.folder / FILLER).open("wb", 0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
        return None

    def protect(self) -> None:
        """Nothing can be written."""
        if self.mounted:
            assert self._mount("remount,ro")
        else:
            self._permit(0o500)

    def free(self) -> None:
        """All can be written again, with room for a lot."""
        if self.mounted:
            assert self._mount("remount,rw,size=100m")
        else:
            self._permit(0o700)
        (self.folder / FILLER).unlink(missing_ok=True)

    def _permit(self, mode: int) -> None:
        self.folder.chmod(mode)
        for path in self.folder.rglob("*"):
            path.chmod(mode)

    def remove(self) -> None:
        """Takes the disk away."""
        self.free()
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, size: int = 1 << 20) -> Iterator[SmallDisk]:
    """A disk of its own, taken away in the end."""
    disk = SmallDisk(folder, size)
    try:
        yield disk
    finally:
        disk.remove()
