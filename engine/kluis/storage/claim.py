"""Who is first: giving a whole file its name, so that one of many succeeds.

A ladder, since media differ: a rename that refuses to replace; a hard link; on exfat-fuse,
which has neither, looking and renaming under a lock that every kluis takes there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

from kluis.errors import BusyError
from kluis.storage.base import LOCK
from kluis.storage.calls import Calls
from kluis.surroundings import Surroundings

LOCK_WAIT_SECONDS = 60.0
LOCK_RETRY_SECONDS = 0.01

# What kernels and FUSE drivers say for "I have no such call". EPERM is vfat's for links.
_NO_CALL = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_LINKS = _NO_CALL | {errno.EPERM, errno.EMLINK}

# File systems that lose no name and share no cluster after a power cut, and that know
# RENAME_EXCHANGE. On any other, what relies on that is not done.
SOUND_FILE_SYSTEMS = frozenset({"ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"})


class Claim:
    """Gives names below one root, whose descriptor is only borrowed."""

    def __init__(self, calls: Calls, surroundings: Surroundings, root: int) -> None:
        self._calls = calls
        self._surroundings = surroundings
        self._root = root
        self._can_refuse = True
        self._can_link = True

    @cached_property
    def sound(self) -> bool:
        """Whether the root lies on one of SOUND_FILE_SYSTEMS."""
        return file_system(os.fstat(self._root).st_dev) in SOUND_FILE_SYSTEMS

    def first(self, temporary: str, name: str, at: int, fd: int) -> None:
        """Turns the temporary name into `name`; FileExistsError if that is taken.

        `fd` is the file itself: a link whose reply was lost on the way is told by its count.
        """
        if self._can_refuse:
            try:
                return self._calls.rename_noreplace(temporary, name, at)
            except OSError as error:
                if error.errno not in _NO_CALL:
                    raise
                self._can_refuse = False
        if self._can_link:
            try:
                self._link(temporary, name, at, fd)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self._can_link = False
            else:
                # The object has its name; what is left over is only a second one.
                with suppress(OSError):
                    self._calls.unlink(temporary, at)
                return None
        with self.locked():
            try:
                self._calls.stat(name, at)
            except FileNotFoundError:
                return self._calls.rename(temporary, name, at)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def instead(self, temporary: str, name: str, at: int) -> bool:
        """Gives `name` to the temporary file; FileNotFoundError if nothing has that name.

        Whether the temporary name is left over, for the old object. Where names cannot be
        exchanged, `remove` takes the same lock.
        """
        if self.sound:
            self._calls.exchange(temporary, name, at)
            return True
        with self.locked():
            self._calls.stat(name, at)
            self._calls.rename(temporary, name, at)
        return False

    def remove(self, name: str, at: int) -> None:
        """Unlinks an object; FileNotFoundError if there is none."""
        if self.sound:
            return self._calls.unlink(name, at)
        try:
            with self.locked():
                return self._calls.unlink(name, at)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        # No room for the lock: then nobody has room for a file to put in this one's place either.
        return self._calls.unlink(name, at)

    def _link(self, temporary: str, name: str, at: int, fd: int) -> None:
        try:
            self._calls.link(temporary, name, at)
        except FileExistsError:
            if self._calls.fstat(fd).st_nlink != 2:
                raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The storage's one lock, held while the block runs; it goes with its process."""
        fd = self._calls.open_lock(LOCK, self._root)
        try:
            until = self._surroundings.monotonic() + LOCK_WAIT_SECONDS
            while not self._calls.lock(fd):
                if self._surroundings.monotonic() > until:
                    raise BusyError(
                        f"another process has held the lock of the repository for"
                        f" {LOCK_WAIT_SECONDS:.0f} s; end it if it hangs, then repeat the command"
                    )
                self._surroundings.sleep(LOCK_RETRY_SECONDS)
            yield
        finally:
            self._calls.close(fd)


def file_system(device: int) -> str:
    """The type of the mounted file system with this st_dev, "" if that cannot be known."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                own, _, kind = line.partition(" - ")
                if own.split(" ")[2] == wanted:
                    return kind.split(" ")[0]
    except (OSError, IndexError):
        pass
    return ""
