"""Folders below one root, opened by their relative paths; no way leads out of the root."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import OrderedDict
from typing import NamedTuple

from kluis._native import scan, scatter
from kluis.frozen import frozen
from kluis.source import records as listing
from kluis.source.metadata import ACL_DEFAULT
from kluis.source.paths import NAME_LIMIT_BYTES

LEAST_OPEN_FOLDERS = 24
MOST_OPEN_FOLDERS = 288
OTHER_DESCRIPTORS = 128
"""What else a command has open at a time, files of a target among it."""

_OPEN_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK_UP_FLAGS = _OPEN_FLAGS | os.O_PATH
_CALL_LIMIT_BYTES = 4000
"""The kernel takes paths of up to 4,095 bytes; a deeper folder is opened in several calls."""
_NEAR_LEVELS = 8
"""So far up it costs less to ask for each folder than to go through those that are open."""
_NOT_HERE = (errno.ENOSYS, errno.EPERM)
OWNER_MAY_ALL = 0o700


def checked_name(name: bytes) -> bytes:
    """The name, if it can only be an entry of its own folder; else ValueError."""
    if not 0 < len(name) <= NAME_LIMIT_BYTES or name in (b".", b"..") or b"/" in name or 0 in name:
        raise ValueError(f"{name[:300]!r} is no name of an entry in a folder")
    return name


def split_path(path: bytes) -> tuple[bytes, bytes]:
    """(folder, name) of a relative path; of one component the folder is the root, `b""`."""
    folder, slash, name = path.rpartition(b"/")
    if slash and not folder:
        raise ValueError(f"{path[:300]!r} is not relative")
    return folder, checked_name(name)


def stale() -> OSError:
    """What stands there now is not what was put or found there before."""
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def open_below(folder: int, path: bytes) -> int:
    """A descriptor of the folder `path`, each of whose names has been checked.

    Passes through no link and stays below `folder`, also while others rename.
    """
    try:
        return _open_with(folder, path, _OPEN_FLAGS)
    except PermissionError:
        # Who may not list it may still know what is in it.
        return _open_with(folder, path, _LOOK_UP_FLAGS)


def _open_with(folder: int, path: bytes, flags: int) -> int:
    try:
        return scatter.open_beneath(folder, path, flags, 0)
    except OSError as failure:
        if failure.errno not in _NOT_HERE:
            raise
    # Kernels before 5.6: one component at a time, none of which may be a link.
    at = folder
    for name in path.split(b"/"):
        try:
            following = os.open(name, flags, dir_fd=at)
        finally:
            if at != folder:
                os.close(at)
        at = following
    return at


def open_to_change(name: bytes, folder: int) -> int:
    """A descriptor of the folder `name`; if it is ours, we may do all in it from now on.

    Root may do so in any case.
    """
    descriptor = open_below(folder, name)
    if os.geteuid() == 0:
        return descriptor
    try:
        status = os.fstat(descriptor)
        complete = status.st_mode & OWNER_MAY_ALL == OWNER_MAY_ALL
        if complete or status.st_uid != os.geteuid():
            return descriptor
        address = b"/proc/self/fd/%d" % descriptor
        os.chmod(address, (status.st_mode & 0o7777) | OWNER_MAY_ALL)
        again = os.open(address, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return again


def make_directory(name: bytes, folder: int) -> bool:
    """Whether the directory is new; False if something has that name. For its owner alone."""
    try:
        os.mkdir(checked_name(name), OWNER_MAY_ALL, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def make_way(name: bytes, folder: int) -> None:
    """Removes an entry, if there is one; OSError(ENOTEMPTY) for a folder with something in it."""
    try:
        os.unlink(checked_name(name), dir_fd=folder)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        os.rmdir(name, dir_fd=folder)


class Mark(NamedTuple):
    """What tells an object from any other, also from a later one with its inode number."""

    dev: int
    ino: int
    kind: int
    born_s: int
    born_ns: int


def mark_at(folder: int, name: bytes = b"") -> Mark:
    """The mark of an entry, of the link itself if it is one; without a name of what is open."""
    record = listing.unpack(scan.stat_entry(folder, name))
    return Mark(record.dev, record.ino, stat.S_IFMT(record.mode), record.btime_s, record.btime_ns)


@frozen
class OpenFolder:
    """A folder that is open; `passes_on` if new files in it inherit an ACL from it."""

    descriptor: int
    mark: Mark
    passes_on: bool


def open_folders() -> int:
    """How many descriptors of folders stay open: a walk comes back to the same few.

    A third of those that the process may still have; more are opened as needed, one after the
    other.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_OPEN_FOLDERS
    return max(LEAST_OPEN_FOLDERS, min(MOST_OPEN_FOLDERS, (limit - OTHER_DESCRIPTORS) // 3))


def _passes_on(descriptor: int) -> bool:
    try:
        return bool(os.getxattr(descriptor, ACL_DEFAULT))
    except OSError:
        return False


class Folders:
    """The folders below a root, the last used ones open. Owns the root's descriptor too.

    A path is relative, its names separated by single slashes; the root is `b""`. What is
    returned is valid until the next call.
    """

    def __init__(self, root: int) -> None:
        self._root = OpenFolder(root, mark_at(root), _passes_on(root))
        self._open: OrderedDict[bytes, OpenFolder] = OrderedDict()
        self._limit = open_folders()

    def close(self) -> None:
        """Closes every descriptor."""
        for folder in self._open.values():
            os.close(folder.descriptor)
        self._open.clear()
        os.close(self._root.descriptor)

    def get(self, path: bytes) -> OpenFolder:
        """The folder `path`; OSError if it is missing or a link stands anywhere on the way."""
        if not path:
            return self._root
        found = self._open.get(path)
        if found is None:
            found = self.keep(path, self._open_path(path))
        self._open.move_to_end(path)
        return found

    def known(self, path: bytes) -> OpenFolder | None:
        """The folder, if it is open."""
        return self._open.get(path) if path else self._root

    def keep(self, path: bytes, descriptor: int, plain: bool = False) -> OpenFolder:
        """Takes over the descriptor of `path`, which the caller has opened below its parent.

        `plain`: he made it, without a default ACL.
        """
        try:
            opened = OpenFolder(
                descriptor, mark_at(descriptor), not plain and _passes_on(descriptor)
            )
        except BaseException:
            os.close(descriptor)
            raise
        self.forget(path)
        self._open[path] = opened
        if len(self._open) > self._limit:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest.descriptor)
        return opened

    def forget(self, path: bytes) -> None:
        """Closes `path`, if it is open, and looks at the disk the next time."""
        found = self._open.pop(path, None)
        if found is not None:
            os.close(found.descriptor)

    def forget_below(self, path: bytes) -> None:
        """Closes `path` and whatever is open below it: it was removed."""
        for key in [k for k in self._open if k == path or k.startswith(path + b"/")]:
            self.forget(key)

    def _open_path(self, path: bytes) -> int:
        """Opens from the nearest folder above that is open.

        Half the way, three quarters, seven eighths ... stay open too: so neither a walk
        down nor one back up pays for the depth at every step.
        """
        above_path = self._nearest(path)
        above = self._open.get(above_path, self._root)
        if above_path:
            self._open.move_to_end(above_path)
        names = path[len(above_path) + (1 if above_path else 0) :].split(b"/")
        at, start = above.descriptor, 0
        for stop in _stops(len(names)):
            descriptor = _open_names(at, names[start:stop])
            if stop == len(names):
                return descriptor
            part = b"/".join(names[:stop])
            at = self.keep(above_path + b"/" + part if above_path else part, descriptor).descriptor
            start = stop
        raise AssertionError("the last stop is the end")

    def _nearest(self, path: bytes) -> bytes:
        """The nearest folder above that is open; `b""` for the root."""
        at = path
        for _ in range(_NEAR_LEVELS):
            at = at.rpartition(b"/")[0]
            if not at or at in self._open:
                return at
        above = (known for known in self._open if path.startswith(known + b"/"))
        return max(above, key=len, default=b"")


def _stops(count: int) -> list[int]:
    """`count` and the numbers before it by 1, 2, 4, 8 ..., ascending and above zero."""
    steps = (1 << power for power in reversed(range(count.bit_length())))
    return [*(count - step for step in steps if step < count), count]


def _open_names(folder: int, names: list[bytes]) -> int:
    """A descriptor of the folder that these names lead to, in calls that the kernel can take."""
    at = folder
    for piece in _pieces(names):
        try:
            following = open_below(at, piece)
        finally:
            if at != folder:
                os.close(at)
        at = following
    return at


def _pieces(names: list[bytes]) -> list[bytes]:
    """The path in pieces that one call takes, every name of it checked."""
    pieces: list[list[bytes]] = [[]]
    room = _CALL_LIMIT_BYTES
    for name in map(checked_name, names):
        room -= len(name) + 1
        if room < 0:
            pieces.append([])
            room = _CALL_LIMIT_BYTES - len(name) - 1
        pieces[-1].append(name)
    return [b"/".join(piece) for piece in pieces]
