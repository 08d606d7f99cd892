"""kluis._native.scatter in plain Python, without the guarantees against races."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

PART_FORMAT = "=iIQII"
PART_SIZE = struct.calcsize(PART_FORMAT)
SMALL_FORMAT = "=HHIIIqIIII"
SMALL_SIZE = struct.calcsize(SMALL_FORMAT)
SMALL_RESULT_FORMAT = "=ii"
SMALL_RESULT_SIZE = struct.calcsize(SMALL_RESULT_FORMAT)
SMALL_CHOWN = 1
SMALL_HIDDEN = 2
SPARSE_BLOCK_BYTES = 4096
STEPS = ("", "name", "open", "write", "owner", "mode", "times")
STEP_NAME, STEP_OPEN, STEP_WRITE, STEP_OWNER, STEP_MODE, STEP_TIMES = range(1, 7)
FILE_OFFSET_MAX = 2**63 - 1
NS_PER_S = 10**9
FS_IOC_GETFLAGS = 0x80086601  # on x86-64 and on aarch64
FS_IOC_SETFLAGS = 0x40086602


def write_at(fd: int, buffer: Buffer, offset: int) -> None:
    """Writes all bytes of the buffer from `offset` on."""
    view = memoryview(buffer).cast("B")
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], offset + done)


def _pieces(data: memoryview, offset: int, sparse: bool) -> Iterator[tuple[int, memoryview]]:
    if not sparse:
        yield offset, data
        return
    at = 0
    while at < len(data):
        step = min(SPARSE_BLOCK_BYTES - (offset + at) % SPARSE_BLOCK_BYTES, len(data) - at)
        piece = data[at : at + step]
        if step < SPARSE_BLOCK_BYTES or any(piece):
            yield offset + at, piece
        at += step


def scatter(buffer: Buffer, parts: Buffer, sparse: bool) -> list[tuple[int, int]]:
    """The failures as (number of the part, errno); every other part is written."""
    data = memoryview(buffer).cast("B")
    places = list(struct.iter_unpack(PART_FORMAT, bytes(parts)))
    for _, _, offset, start, length in places:
        if start + length > len(data) or offset + length > FILE_OFFSET_MAX:
            raise ValueError(f"a part lies outside the {len(data)} bytes")
    failures = []
    for number, (fd, _, offset, start, length) in enumerate(places):
        try:
            for at, piece in _pieces(data[start : start + length], offset, sparse):
                write_at(fd, piece, at)
        except OSError as error:
            failures.append((number, error.errno or 0))
    return failures


def open_beneath(dirfd: int, path: bytes, flags: int, mode: int) -> int:
    """A descriptor of `path`, opened component by component; EXDEV also for an inner ".."."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if path.startswith(b"/") or b".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    at = os.dup(dirfd)
    try:
        for part in parts[:-1]:
            if stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        last = parts[-1] if parts else b"."
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
    finally:
        os.close(at)


def _component(name: bytes) -> bytes:
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return name


def _exists(dirfd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def rename_noreplace(dirfd1: int, name1: bytes, dirfd2: int, name2: bytes) -> None:
    """Afterwards name1 is called name2, which did not exist."""
    source, target = _component(name1), _component(name2)
    if _exists(dirfd1, source) and _exists(dirfd2, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(source, target, src_dir_fd=dirfd1, dst_dir_fd=dirfd2)


def exchange(dirfd1: int, name1: bytes, dirfd2: int, name2: bytes) -> None:
    """Afterwards the two names are swapped."""
    one, other, between = _component(name1), _component(name2), b".exchange"
    os.stat(other, dir_fd=dirfd2, follow_symlinks=False)
    os.rename(one, between, src_dir_fd=dirfd1, dst_dir_fd=dirfd1)
    os.rename(other, one, src_dir_fd=dirfd2, dst_dir_fd=dirfd1)
    os.rename(between, other, src_dir_fd=dirfd1, dst_dir_fd=dirfd2)


def set_times_at(dirfd: int, name: bytes, mtime_s: int, mtime_ns: int) -> None:
    """Sets the modification time, of a link itself; the access time is written as it was."""
    if mtime_ns >= NS_PER_S:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    mtime = mtime_s * NS_PER_S + mtime_ns
    if not name:
        os.utime(dirfd, ns=(os.stat(dirfd).st_atime_ns, mtime))
        return
    before = os.stat(_component(name), dir_fd=dirfd, follow_symlinks=False)
    os.utime(name, ns=(before.st_atime_ns, mtime), dir_fd=dirfd, follow_symlinks=False)


def get_flags(fd: int) -> int:
    """The inode flags of chattr(1)."""
    got = fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8))
    return int(struct.unpack("=I4x", got)[0])


def set_flags(fd: int, flags: int) -> None:
    """Sets the inode flags, all of them."""
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=I4x", flags))


def _set_metadata(fd: int, fields: tuple[int, ...]) -> tuple[int, int]:
    mode, _, _, mtime_s, mtime_ns, uid, gid, flags = fields
    mode &= 0o7777
    first = (0, 0)

    def attempt(step: int, action: Callable[[], None]) -> bool:
        nonlocal first
        try:
            action()
        except OSError as error:
            first = first if first[0] else (error.errno or 0, step)
            return False
        return True

    now = os.fstat(fd)
    owned = not flags & SMALL_CHOWN or (now.st_uid, now.st_gid) == (uid, gid)
    if not owned and not attempt(STEP_OWNER, lambda: os.fchown(fd, uid, gid)):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    if not owned or stat.S_IMODE(now.st_mode) != mode:
        attempt(STEP_MODE, lambda: os.fchmod(fd, mode))
    attempt(STEP_TIMES, lambda: set_times_at(fd, b"", mtime_s, mtime_ns))
    return first


def finish(fd: int, entry: bytes) -> int:
    """The mode of a file or folder once it has owner, mode and time."""
    _, _, *fields = struct.unpack(SMALL_FORMAT, entry)
    number, _ = _set_metadata(fd, tuple(fields))
    if number:
        raise OSError(number, os.strerror(number))
    return stat.S_IMODE(os.fstat(fd).st_mode)


def make_link(dirfd: int, name: bytes, points_to: bytes, entry: bytes) -> bool:
    """Whether a symlink that was made has its owner and time."""
    *_, mtime_s, mtime_ns, uid, gid, _ = struct.unpack(SMALL_FORMAT, entry)
    os.symlink(points_to, _component(name), dir_fd=dirfd)
    try:
        now = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
        if (now.st_uid, now.st_gid) != (uid, gid):
            os.chown(name, uid, gid, dir_fd=dirfd, follow_symlinks=False)
        set_times_at(dirfd, name, mtime_s, mtime_ns)
    except OSError:
        return False
    return True


def _write_one(dirfd: int, name: bytes, content: memoryview, fields: tuple[int, ...]) -> bytes:
    step = STEP_NAME
    try:
        _component(name)
        step = STEP_OPEN
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        mode = fields[0] & 0o777 if fields[-1] & SMALL_HIDDEN else 0o600
        fd = os.open(name, flags, mode, dir_fd=dirfd)
        try:
            step = STEP_WRITE
            write_at(fd, content, 0)
            return struct.pack(SMALL_RESULT_FORMAT, *_set_metadata(fd, fields))
        finally:
            os.close(fd)
    except OSError as error:
        if step == STEP_WRITE:
            os.unlink(name, dir_fd=dirfd)
        return struct.pack(SMALL_RESULT_FORMAT, error.errno or 0, step)


def write_small(dirfd: int, names: Buffer, entries: Buffer, data: Buffer) -> bytes:
    """Creates many small files; errno or 0 and the step that failed, for each."""
    all_names, all_data = bytes(names), memoryview(data).cast("B")
    found = list(struct.iter_unpack(SMALL_FORMAT, bytes(entries)))
    if sum(entry[0] for entry in found) != len(all_names):
        raise ValueError("an entry lies outside the names or the data")
    if any(start + length > len(all_data) for _, _, _, start, length, *_ in found):
        raise ValueError("an entry lies outside the names or the data")
    results, at = [], 0
    for name_length, _, *fields in found:
        name = all_names[at : at + name_length]
        at += name_length
        content = all_data[fields[1] : fields[1] + fields[2]]
        results.append(_write_one(dirfd, name, content, tuple(fields)))
    return b"".join(results)
