"""A folder for what a client keeps while it works, where its own takes nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress

# /dev/shm is memory, and there where nothing else on the machine can be written.
PLACES = ("/tmp", "/var/tmp", "/dev/shm")
# A folder that everybody can open and in which the kernel lets nobody make a file.
UNWRITABLE = "/proc/self/fdinfo"


class SpareFolder:
    """Made in the first place that takes it, removed by `close`; else `path` is UNWRITABLE."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        wanted = (os.environ if environment is None else environment).get("TMPDIR", "")
        self.path = UNWRITABLE
        for place in (wanted, *PLACES):
            with suppress(OSError):
                if os.path.isabs(place):
                    self.path = tempfile.mkdtemp(prefix="kluis-", dir=place)
                    break

    def identity(self) -> tuple[int, int] | None:
        """(device, inode) of the folder; None if there is none."""
        if self.path == UNWRITABLE:
            return None
        status = os.stat(self.path)
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Removes the folder and all that lies in it."""
        if self.path != UNWRITABLE:
            shutil.rmtree(self.path, ignore_errors=True)
