"""Marks of running processes: a locked file tells others that its maker still lives.

For a client's cache on a local file system only: the kernel drops the lock when the
process ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from types import TracebackType
from typing import Self


class AliveMark:
    """Held while the process works; others see it through `is_alive`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    @classmethod
    def unseen(cls) -> Self:
        """One that nobody sees, for where no file can be made."""
        mark = cls.__new__(cls)
        mark._path, mark._descriptor = "", -1
        return mark

    def close(self) -> None:
        """Takes the mark away; where it has to stay, it is that of a process that is gone."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.unlink(self._path)
            os.close(self._descriptor)
            self._descriptor = -1

    def abandon(self) -> None:
        """Lets go of the lock but leaves the file: its maker did not finish."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_alive(path: str) -> bool:
    """True if the process that made the mark still runs, or if nobody can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        raise
    finally:
        os.close(descriptor)
    return False


class Exclusive:
    """A lock that one process at a time holds; `held` tells whether this one does."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.held = True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(self._descriptor)
                raise
            self.held = False

    def close(self) -> None:
        """Lets the next one in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
