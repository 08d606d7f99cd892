"""How fast a disk takes and gives bytes, measured on a file that has no name."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from typing import Self

from kluis.storage import explain

PIECE_BYTES = 1 << 20
_NO_SUCH_CALL = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}


class TrialFile:
    """A file in a folder that is gone when it is closed, however the process ends."""

    def __init__(self, folder: bytes) -> None:
        self._location = explain.shown(os.fsdecode(folder))
        try:
            self._fd = _nameless(folder)
        except OSError as error:
            raise explain.explain(error, "write", "a trial file", self._location) from error

    def write(self, data: bytes, size: int, between: Callable[[], None]) -> None:
        """Writes `size` bytes, `data` again and again, and waits until they are durable."""
        try:
            left = size
            while left > 0:
                between()
                left -= os.write(self._fd, memoryview(data)[: min(left, len(data))])
            os.fsync(self._fd)
        except OSError as error:
            raise explain.explain(error, "write", "a trial file", self._location) from error

    def read(self, between: Callable[[], None]) -> int:
        """Reads it back, past what the system keeps in memory where it lets go; the bytes read."""
        try:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            done = 0
            while piece := os.pread(self._fd, PIECE_BYTES, done):
                between()
                done += len(piece)
        except OSError as error:
            raise explain.explain(error, "read", "a trial file", self._location) from error
        return done

    def close(self) -> None:
        """The file is gone."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _nameless(folder: bytes) -> int:
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL or not os.path.isdir(folder):
            raise
    fd, name = tempfile.mkstemp(prefix=b"kluis-bench-", dir=folder)
    os.unlink(name)
    return fd
