"""Trial files in a folder of somebody else's: what they tell of its medium, and then they go.

All of them lie in one folder of ours, which has a lock while its process lives, so that the next
trial there recognises what a killed one left, by name and by the lock, and removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self

from kluis.errors import KluisError
from kluis.frozen import frozen
from kluis.storage import explain
from kluis.storage.calls import Calls
from kluis.storage.presence import REFUSED
from kluis.surroundings import Surroundings

NAME = b"kluis-bench-"
# In a repository the folder looks like one of the system's, which verify passes over.
NAME_IN_REPOSITORY = b".Trash-kluis-bench-"
_OURS = re.compile(rb"(?:kluis-bench|\.Trash-kluis-bench)-[0-9a-f]{16}")
_AVAILABLE = re.compile(rb"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
_DEVICE_NAME = re.compile(rb"^DEVNAME=(.+)$", re.MULTILINE)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What says that the file system has no files without a name.
_NO_SUCH_CALL = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
_ATTEMPTS = 8


@frozen
class Space:
    """Bytes of a file system: in all, taken, and free for this user."""

    total: int
    used: int
    free: int


def held_back_bytes() -> int:
    """How much the kernel keeps in memory, written, before it begins to write it to a disk.

    Linux, Documentation/admin-guide/sysctl/vm.rst: dirty_background_bytes, or the ratio of what
    memory is available.
    """
    try:
        fixed = int(_text("/proc/sys/vm/dirty_background_bytes"))
        if fixed:
            return fixed
        percent = int(_text("/proc/sys/vm/dirty_background_ratio"))
        available = _AVAILABLE.search(_text("/proc/meminfo"))
        return int(available[1]) * 1024 * percent // 100 if available else 0
    except (OSError, ValueError):
        return 0


class TrialFolder:
    """Our folder in `place`, empty; gone with all in it when it is closed, whatever happened.

    Raises `NotFoundError`, `NoSpaceError`, `MediumGoneError` or `StorageError`.
    """

    def __init__(self, place: bytes, surroundings: Surroundings) -> None:
        self._place = place
        self._location = explain.shown(os.fsdecode(place))
        self._calls = Calls()
        self._undo = ExitStack()
        self._numbers = 0
        self.path = b""
        try:
            self._above = os.open(place, _FOLDER)
        except OSError as error:
            raise explain.explain_root(error, self._location) from error
        self._undo.callback(os.close, self._above)
        try:
            with self.doing("write"):
                self.in_repository = _is_repository(self._above)
                self._sweep()
                self._name, self.fd = self._make(surroundings)
        except BaseException:
            self._undo.close()
            raise
        self.path = os.path.join(place, self._name)
        self._caches = _caches_below(self.fd)
        for fd in self._caches:
            self._undo.callback(os.close, fd)

    @property
    def is_direct(self) -> bool:
        """Whether a read past the cache of a file asks the medium itself, as far as can be told."""
        return bool(self._caches) or self._calls.is_direct(self.fd)

    @property
    def device(self) -> int:
        """The number of the file system that it lies on."""
        return os.fstat(self.fd).st_dev

    def space(self) -> Space:
        """How full the file system is."""
        with self.doing("look at"):
            found = os.fstatvfs(self.fd)
        unit = found.f_frsize
        used = (found.f_blocks - found.f_bfree) * unit
        return Space(found.f_blocks * unit, used, found.f_bavail * unit)

    def system(self) -> str:
        """The type of the file system, as the kernel calls it; "" if it does not say."""
        device = self.device
        number = b"%d:%d" % (os.major(device), os.minor(device))
        with suppress(OSError, IndexError), open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                mount, _, system = line.partition(b" - ")
                if mount.split(b" ", 3)[2] == number:
                    return explain.shown(os.fsdecode(system.split(b" ")[0]))
        return ""

    def large(self) -> TrialFile:
        """A new file, without a name where the file system has such."""
        with self.doing("write"):
            try:
                flags = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
                return TrialFile(self, os.open(b".", flags, 0o600, dir_fd=self.fd))
            except OSError as error:
                if error.errno not in _NO_SUCH_CALL:
                    raise
            self._numbers += 1
            name = b"large-%d" % self._numbers
            return TrialFile(self, os.open(name, _NEW, 0o600, dir_fd=self.fd))

    def small_name(self, number: int) -> bytes:
        """What a small file is called."""
        return b"small-%d" % number

    def create_small(self, number: int, data: bytes) -> None:
        """A new small file, not yet durable."""
        with self.doing("write"):
            fd = os.open(self.small_name(number), _NEW, 0o600, dir_fd=self.fd)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)

    def sync_small(self, number: int) -> None:
        """Returns when the file is durable; its bytes may then be let go of by the kernel."""
        with self.doing("write"), self._opened(number) as fd:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def read_small(self, number: int, size: int) -> bytes:
        """The bytes of a small file."""
        with self.doing("read"), self._opened(number) as fd:
            return os.read(fd, size)

    def make_files(self, folder: bytes, contents: Iterable[memoryview]) -> None:
        """Files with these contents in a new folder in ours."""
        with self.doing("write"):
            os.mkdir(folder, 0o700, dir_fd=self.fd)
            at = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=self.fd)
            try:
                for number, content in enumerate(contents):
                    fd = os.open(self.small_name(number), _NEW, 0o600, dir_fd=at)
                    with open(fd, "wb", buffering=0) as file:
                        while content:
                            content = content[file.write(content) :]
            finally:
                os.close(at)

    def remove_small(self, number: int) -> None:
        """The file has no name any more."""
        with self.doing("remove"):
            os.unlink(self.small_name(number), dir_fd=self.fd)

    def sync(self) -> None:
        """Returns when all names in the folder are durable."""
        with self.doing("write"):
            try:
                os.fsync(self.fd)
            except OSError as error:
                if error.errno != errno.EINVAL:  # no such call for folders there
                    raise

    def drop_caches(self) -> None:
        """Lets the system forget what drivers outside of the kernel keep below the files."""
        for fd in self._caches:
            with suppress(OSError):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """All is gone, unless the medium is; twice does no harm."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def doing(self, action: str) -> Iterator[None]:
        """Turns an error of the system into one of ours."""
        try:
            yield
        except OSError as error:
            raise self._explained(error, action) from error

    def _explained(self, error: OSError, action: str) -> KluisError:
        what = "a trial file"
        if error.errno in REFUSED | {errno.EROFS, errno.ENOENT} and self._is_gone():
            return explain.gone(f"cannot {action} {what} in {self._location}", self._location)
        return explain.explain(error, action, what, self._location)

    def _is_gone(self) -> bool:
        """Whether the folder that was written to takes nothing any more, or is not there."""
        if not self.path:
            return False
        try:
            there = os.path.samestat(os.stat(self._place), os.fstat(self._above))
            if not there:
                return True
            fd = os.open(b"large-0", _NEW, 0o600, dir_fd=self.fd)
            try:
                os.write(fd, b"\0" * 512)
                os.fsync(fd)
            finally:
                os.close(fd)
                os.unlink(b"large-0", dir_fd=self.fd)
        except OSError as error:
            return error.errno not in (errno.ENOSPC, errno.EDQUOT)
        return False

    @contextmanager
    def _opened(self, number: int) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.small_name(number), flags, dir_fd=self.fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _make(self, surroundings: Surroundings) -> tuple[bytes, int]:
        """A new folder with our lock; another trial's sweep may take it before it has one."""
        prefix = NAME_IN_REPOSITORY if self.in_repository else NAME
        for _ in range(_ATTEMPTS):
            name = prefix + surroundings.random(8).hex().encode()
            os.mkdir(name, 0o700, dir_fd=self._above)
            self._undo.callback(_remove, name, self._above)
            with suppress(FileNotFoundError):
                fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._above)
                self._undo.callback(os.close, fd)
                _locked(fd)
                os.stat(name, dir_fd=self._above, follow_symlinks=False)
                return name, fd
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _sweep(self) -> None:
        """Removes what trials left here whose process is gone."""
        for name in os.listdir(self._above):
            encoded = os.fsencode(name)
            if not _OURS.fullmatch(encoded):
                continue
            with suppress(OSError):
                fd = os.open(encoded, _FOLDER | os.O_NOFOLLOW, dir_fd=self._above)
                try:
                    if _locked(fd):
                        _remove(encoded, self._above)
                finally:
                    os.close(fd)


class TrialFile:
    """A large file of a trial, open for writing and reading."""

    def __init__(self, folder: TrialFolder, fd: int) -> None:
        self._folder = folder
        self._fd = fd

    def write(self, data: bytes | memoryview) -> None:
        """Appends all of `data`."""
        view = memoryview(data)
        with self._folder.doing("write"):
            while view:
                view = view[os.write(self._fd, view) :]

    def sync(self) -> None:
        """Returns when all that was written is durable."""
        with self._folder.doing("write"):
            os.fsync(self._fd)

    def drop(self) -> bool:
        """Whether the kernel let go of the bytes, so that a read asks the medium."""
        with self._folder.doing("read"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            self._folder.drop_caches()
            try:
                os.preadv(self._fd, [bytearray(1)], 0, os.RWF_NOWAIT)
            except BlockingIOError:
                return self._folder.is_direct
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                # Such a file system cannot tell: one in memory, and drivers outside of the kernel.
                return self._folder.is_direct and self._folder.system() != "tmpfs"
        return False

    def read(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes."""
        with self._folder.doing("read"):
            return os.pread(self._fd, length, offset)

    def random_reads(self) -> None:
        """Tells the kernel not to read ahead."""
        with suppress(OSError):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_RANDOM)

    def close(self) -> None:
        """Lets go of it; a file without a name is gone."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _locked(fd: int) -> bool:
    """Whether the lock was taken; also where there are none, as nobody can have it then."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _remove(name: bytes, above: int) -> None:
    """Removes a folder of ours with all in it, as far as that can be; follows no link."""
    with suppress(OSError):
        shutil.rmtree(name, ignore_errors=True, dir_fd=above)


def _is_repository(fd: int) -> bool:
    found = set(os.listdir(fd))
    return {"store", "packs"} <= found or {"twins", "packs"} <= found


def _caches_below(fd: int) -> list[int]:
    """Descriptors of what lies below a file system whose driver reads through another cache.

    The device, and the file that a loop device stands on; only root may open them.
    """
    if Calls().is_direct(fd):
        return []
    device = os.fstat(fd).st_dev
    system = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    found: list[int] = []
    with suppress(OSError):
        name = _DEVICE_NAME.search(_text(f"{system}/uevent"))
        if name is not None:
            found.append(os.open(b"/dev/" + name[1], os.O_RDONLY | os.O_CLOEXEC))
            below = _text(f"{system}/loop/backing_file").rstrip(b"\n")
            found.append(os.open(below, os.O_RDONLY | os.O_CLOEXEC))
    return found


def _text(path: str) -> bytes:
    with open(path, "rb") as text:
        return text.read()
