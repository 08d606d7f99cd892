"""Regular files that are being written, the last used ones open, each known by its identity."""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

from kluis.frozen import frozen
from kluis.source.folders import Folders, Mark, checked_name, mark_at, stale
from kluis.source.openat import PATH_FLAGS

OPEN_FILES = 64
"""Files that stay open: a frame of 2 MiB seldom has parts of more large files."""

_WRITE_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
OWNER_ONLY = 0o600


@frozen
class Placed:
    """An object in the target that was made or found there: a name, and what has to stand there.

    `fresh`: it was made by this restore, and inherited nothing.
    """

    folder: bytes
    name: bytes
    mark: Mark
    fresh: bool

    @property
    def path(self) -> bytes:
        """Its path, relative to the target."""
        return self.folder + b"/" + self.name if self.folder else self.name


class OpenFiles:
    """The files of one target."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._open: OrderedDict[Mark, int] = OrderedDict()

    def close(self) -> None:
        """Closes every file, without asking whether that succeeded: after a failure."""
        while self._open:
            _, descriptor = self._open.popitem()
            os.close(descriptor)

    def keep(self, folder: bytes, name: bytes, descriptor: int, fresh: bool) -> Placed:
        """Takes over the descriptor of a file that has just been opened."""
        try:
            placed = Placed(folder, name, mark_at(descriptor), fresh)
            if placed.mark in self._open:
                raise stale()
            self._open[placed.mark] = descriptor
        except BaseException:
            os.close(descriptor)
            raise
        if len(self._open) > OPEN_FILES:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest)
        return placed

    def get(self, placed: Placed) -> int:
        """The descriptor, opened again if need be; OSError(ESTALE) if it is another file now."""
        descriptor = self._open.get(placed.mark)
        if descriptor is None:
            folder = self._folders.get(placed.folder).descriptor
            descriptor = os.open(checked_name(placed.name), _WRITE_FLAGS, dir_fd=folder)
            self.keep_again(placed, descriptor)
        self._open.move_to_end(placed.mark)
        return descriptor

    def keep_again(self, placed: Placed, descriptor: int) -> None:
        """Takes over a descriptor that has to be of the file that was placed."""
        found = self.keep(placed.folder, placed.name, descriptor, placed.fresh)
        if found.mark != placed.mark:
            os.close(self._open.pop(found.mark))
            raise stale()

    def reuse(self, folder: bytes, name: bytes) -> Placed:
        """A regular file with this one name, open for writing, from now on for its owner alone."""
        place = os.open(name, PATH_FLAGS, dir_fd=self._folders.get(folder).descriptor)
        try:
            status = os.fstat(place)
            if not stat.S_ISREG(status.st_mode):
                raise stale()
            if status.st_nlink != 1:
                raise OSError(errno.EMLINK, "it has other names, which may lie elsewhere")
            address = b"/proc/self/fd/%d" % place
            if status.st_uid == os.geteuid() or os.geteuid() == 0:
                os.chmod(address, OWNER_ONLY)
            descriptor = os.open(address, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        finally:
            os.close(place)
        return self.keep(folder, name, descriptor, fresh=False)

    def taken(self, placed: Placed) -> int | None:
        """Its descriptor, if it is open, which the caller now has to close."""
        return self._open.pop(placed.mark, None)
