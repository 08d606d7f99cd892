"""The system calls that a local storage makes: one method each, so that tests can stand between.

Only plain calls, relative to a folder's descriptor, and one component at a time, so that
no link is followed on the way and anyone can record and replay a run.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from kluis._native import scatter
from kluis.storage.base import Buffer

_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A fifo in the place of a file must not make its reader wait for ever.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | _PLAIN
# By the kernel's list of device numbers.
_LOOP_MAJOR = 7


class Calls:
    """The machine's own calls; OSError as the kernel gives it. `at` is a folder's descriptor."""

    def root(self, path: str) -> int:
        """A descriptor of the storage's own folder, to which a link may lead."""
        return os.open(path, _FOLDER)

    def folder(self, name: str, at: int) -> int:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=at)

    def mkdir(self, name: str, at: int) -> None:
        os.mkdir(name, 0o700, dir_fd=at)

    def create(self, name: str, at: int) -> int:
        """A descriptor of a new, empty file to write to."""
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600, dir_fd=at)

    def open(self, name: str, at: int) -> int:
        """A descriptor to read from and to fsync."""
        return os.open(name, _READ, dir_fd=at)

    def open_lock(self, name: str, at: int) -> int:
        return os.open(name, os.O_RDWR | os.O_CREAT | _PLAIN, 0o600, dir_fd=at)

    def write(self, fd: int, data: Buffer) -> int:
        return os.write(fd, data)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, old: str, new: str, at: int) -> None:
        os.rename(old, new, src_dir_fd=at, dst_dir_fd=at)

    def rename_noreplace(self, old: str, new: str, at: int) -> None:
        scatter.rename_noreplace(at, os.fsencode(old), at, os.fsencode(new))

    def exchange(self, old: str, new: str, at: int) -> None:
        scatter.exchange(at, os.fsencode(old), at, os.fsencode(new))

    def link(self, old: str, new: str, at: int) -> None:
        os.link(old, new, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)

    def unlink(self, name: str, at: int) -> None:
        os.unlink(name, dir_fd=at)

    def stat(self, name: str, at: int) -> os.stat_result:
        return os.stat(name, dir_fd=at, follow_symlinks=False)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def entries(self, fd: int, sizes: bool = True) -> list[tuple[str, int, int]]:
        """Name, mode and size of all in a folder, sorted; what goes away meanwhile is left out.

        Without `sizes` no file is asked: the mode is that of the kind alone, the size nought.
        """
        found = []
        with os.scandir(fd) as scan:
            if not sizes:
                return sorted([(entry.name, _kind(entry), 0) for entry in scan])
            for entry in scan:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append((entry.name, status.st_mode, status.st_size))
        return sorted(found)

    def names(self, fd: int) -> list[tuple[str, bool]]:
        """Name of all in a folder, and whether it is a folder; cheaper than `entries`."""
        with os.scandir(fd) as scan:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan]

    def peek(self, fd: int) -> None:
        """OSError if the folder cannot be listed."""
        with os.scandir(fd) as scan:
            next(scan, None)

    def uncache(self, fd: int) -> None:
        """Lets the kernel forget the bytes of a file, so that a read asks the medium."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def block_device(self, fd: int) -> str | None:
        """Where the system shows the device that a folder lies on, while it is connected."""
        device = os.fstat(fd).st_dev
        path = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
        return path if self.is_device(path) else None

    def is_device(self, path: str) -> bool:
        """Whether the system still knows the device."""
        return os.path.exists(path)

    def is_direct(self, fd: int) -> bool:
        """Whether a read past the kernel's cache of a file asks the medium itself.

        A driver outside of the kernel, and what lies in a file, has another cache below.
        """
        device = os.fstat(fd).st_dev
        number = b"%d:%d" % (os.major(device), os.minor(device))
        return os.major(device) != _LOOP_MAJOR and not _is_fuse(number)

    def space(self, fd: int) -> os.statvfs_result:
        return os.fstatvfs(fd)

    def lock(self, fd: int) -> bool:
        """Whether the lock was taken; False if somebody else holds it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EINTR):
                return False
            raise
        return True


def _is_fuse(number: bytes) -> bool:
    """Whether the file system with this device number is driven by a process."""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                mount, _, system = line.partition(b" - ")
                if mount.split(b" ", 3)[2] == number:
                    return system.startswith(b"fuse")
    except OSError:
        pass
    return False


def _kind(entry: os.DirEntry[str]) -> int:
    """What the folder says that it is, as a mode."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else 0
