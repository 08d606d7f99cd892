"""The folders of a local storage: found component by component, made durable at a barrier."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from kluis.storage.calls import Calls


def parent(path: str) -> str:
    """The folder that holds `path`; "" is the storage's own."""
    return path.rpartition("/")[0]


def ancestors(folder: str) -> Iterator[str]:
    """The folder and those above it, the storage's own left out."""
    while folder:
        yield folder
        folder = parent(folder)


class BarrierError(OSError):
    """A folder could not be made durable; `filename` names it."""


class Folders:
    """Descriptors of folders below `root`, which it owns, and the memory of what needs an fsync.

    A touched folder's descriptor is held until its fsync, so that an error which the kernel
    notes in between is reported here even if another process has been told of it.
    """

    def __init__(self, root: int, calls: Calls, *, durable: bool) -> None:
        self.root = root
        self._calls = calls
        self._durable = durable
        # Folders whose entry in the folder above is durable, or touched and so will be.
        self._settled: set[str] = set()
        self._touched: dict[str, int] = {}
        self._failed: str | None = None
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._barrier = threading.Lock()

    @contextmanager
    def opened(self, folder: str) -> Iterator[int]:
        """A descriptor of a folder that is there; FileNotFoundError if it is not."""
        fd = self._open(folder)
        try:
            yield fd
        finally:
            self._calls.close(fd)

    @contextmanager
    def touching(self, folder: str, *, make: bool = True) -> Iterator[int]:
        """A descriptor of a folder, made if it is missing; the next barrier syncs it.

        It is touched when the block has succeeded: a barrier before that would forget it.
        """
        fd = self._made(folder) if make else self._open(folder)
        with self._closed_at_failure(fd):
            yield fd
        self._touch(folder, fd)

    def make(self, folder: str) -> None:
        """Makes the folder and those above it; the next barrier makes them durable."""
        self._calls.close(self._made(folder))

    def trust(self, folders: Iterable[str]) -> None:
        for folder in folders:
            self._settled.update(ancestors(folder))

    def barrier(self) -> None:
        """Syncs each folder that was touched before the call.

        One barrier at a time: who finds nothing left to sync has to wait until it is synced.
        """
        with self._barrier:
            if self._failed is not None:
                raise BarrierError(errno.EIO, os.strerror(errno.EIO), self._failed)
            with self._lock:
                touched = sorted(self._touched)
            for folder in touched:
                with self._lock:
                    fd = self._touched.pop(folder)
                try:
                    self._sync(fd)
                except OSError as error:
                    self._failed = folder
                    raise BarrierError(error.errno, error.strerror, folder) from error
                finally:
                    self._calls.close(fd)

    def close(self) -> None:
        """Closes every descriptor that is held; what was touched stays unsynced."""
        with self._lock:
            held = [*self._touched.values(), self.root]
            self._touched.clear()
            self.root = -1
        for fd in held:
            with suppress(OSError):  # what is durable was made so before
                if fd >= 0:
                    self._calls.close(fd)

    def _sync(self, fd: int) -> None:
        try:
            self._calls.fsync(fd)
        except OSError as error:
            # The file system has no such call for folders and offers no other.
            if error.errno != errno.EINVAL:
                raise

    def _touch(self, folder: str, fd: int) -> None:
        """Takes the descriptor over."""
        with self._lock:
            if self._durable and folder not in self._touched:
                self._touched[folder] = fd
                return
        self._calls.close(fd)

    def _open(self, folder: str) -> int:
        first, *rest = folder.split("/") if folder else ["."]
        fd = self._calls.folder(first, self.root)
        for part in rest:
            fd = self._step(fd, part)
        return fd

    def _step(self, fd: int, part: str) -> int:
        with self._closed_at_failure(fd):
            deeper = self._calls.folder(part, fd)
        with self._closed_at_failure(deeper):
            self._calls.close(fd)
        return deeper

    @contextmanager
    def _closed_at_failure(self, fd: int) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._calls.close(fd)
            raise

    def _made(self, folder: str) -> int:
        if folder in self._settled or not folder:
            try:
                return self._open(folder)
            except FileNotFoundError:
                pass  # somebody removed it: make it anew
        with self._making:
            path, fd = "", self._calls.folder(".", self.root)
            for part in folder.split("/") if folder else ():
                fd = self._make_step(path, fd, part)
                path = f"{path}/{part}" if path else part
        return fd

    def _make_step(self, path: str, fd: int, part: str) -> int:
        """Goes one folder down from `path`; touches that if the entry may not be durable."""
        below = f"{path}/{part}" if path else part
        with self._closed_at_failure(fd):
            made = False
            try:
                deeper = self._calls.folder(part, fd)
            except FileNotFoundError:
                made = True
                with suppress(FileExistsError):  # another process was quicker
                    self._calls.mkdir(part, fd)
                deeper = self._calls.folder(part, fd)
        with self._closed_at_failure(deeper):
            if made or below not in self._settled:
                self._touch(path, fd)
                self._settled.add(below)
            else:
                self._calls.close(fd)
        return deeper


def make_path(path: str, *, durable: bool) -> None:
    """Makes a folder, and those above it, 0700, as far as they are missing."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if not os.path.isdir(folder):  # else another process made it just now
                raise
        if durable:
            above = os.open(os.path.dirname(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(above)
            finally:
                os.close(above)
