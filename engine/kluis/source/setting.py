"""Setting owner, xattrs, permissions, times and flags of one object, by descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field

from kluis._native import scatter
from kluis.frozen import frozen
from kluis.source import names
from kluis.source.metadata import (
    ACL_ACCESS,
    ACL_DEFAULT,
    CAPABILITY,
    FLAG_APPEND,
    FLAG_IMMUTABLE,
    NONE_HERE,
    RESTORABLE_FLAGS,
    Failed,
)

SETID_BITS = stat.S_ISUID | stat.S_ISGID
PERMISSION_BITS = 0o7777
FINAL_FLAGS = FLAG_IMMUTABLE | FLAG_APPEND
"""Flags after which nothing else can be set, and no link be made."""
NOT_KEPT = "permissions"
"""What `failed` is called with where a mode was set, without an error, and is another."""
_PAIR = struct.Struct("=II")
_ENTRY = struct.Struct(scatter.SMALL_FORMAT)
_OURS = (b"user.", b"trusted.", ACL_ACCESS, ACL_DEFAULT, CAPABILITY)
"""xattrs that are removed where the snapshot has none; the rest is the system's (SELinux)."""


@frozen
class Metadata:
    """What is to be set; `uid` and `gid` are numbers of this machine (see `Owners`)."""

    mode: int
    """Permission bits with setuid, setgid and sticky; of a special file also its type."""
    uid: int
    gid: int
    mtime_s: int
    mtime_ns: int
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    attributes: int = 0
    """chattr flags."""


def packed(wanted: Metadata) -> bytes:
    """Owner, permissions and time for `scatter.finish` and `make_link`."""
    return _ENTRY.pack(
        0, 0, wanted.mode & PERMISSION_BITS, 0, 0, wanted.mtime_s, wanted.mtime_ns,
        wanted.uid, wanted.gid, scatter.SMALL_CHOWN,
    )  # fmt: skip


@frozen
class Owners:
    """Numbers of owners in a snapshot to numbers here: by name where both know one."""

    users: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)

    def uid(self, number: int) -> int:
        """The user here; the same number if the name is unknown."""
        name = self.users.get(number)
        local = names.user_number(name) if name else None
        return number if local is None else local

    def gid(self, number: int) -> int:
        """The group here; the same number if the name is unknown."""
        name = self.groups.get(number)
        local = names.group_number(name) if name else None
        return number if local is None else local

    def moved(self) -> tuple[bytes, bytes]:
        """Users and groups whose numbers are others here: pairs of u32, ascending by the first."""
        return _pairs(self.users, self.uid), _pairs(self.groups, self.gid)


def _pairs(numbers: Iterable[int], here: Callable[[int], int]) -> bytes:
    return b"".join(_PAIR.pack(n, here(n)) for n in sorted(numbers) if here(n) != n)


@frozen
class Place:
    """An object that is open: as itself, or (links, fifos, devices) only as a place.

    `fresh`: it was made just now, in a folder that hands no ACL on.
    """

    descriptor: int
    status: os.stat_result
    fresh: bool

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.status.st_mode)

    @property
    def address(self) -> int | bytes:
        """What the calls of `os` take to reach exactly this object."""
        if self.kind in (stat.S_IFREG, stat.S_IFDIR):
            return self.descriptor
        return b"/proc/self/fd/%d" % self.descriptor


def apply(place: Place, wanted: Metadata, privileged: bool, failed: Failed) -> None:
    """Sets all but the flags of FINAL_FLAGS; calls `failed` for each thing that cannot be set.

    Setuid, setgid and capabilities of a file only if `privileged`, and never for an
    owner that could not be set. Of an object that was there only what differs is set: the
    system refuses to set anything of one that may not be changed (`chattr +i`).
    """
    mode = wanted.mode & PERMISSION_BITS
    is_folder = place.kind == stat.S_IFDIR
    xattrs = dict(wanted.xattrs)
    if not privileged and not is_folder and (mode & SETID_BITS or CAPABILITY in xattrs):
        mode &= ~SETID_BITS
        xattrs.pop(CAPABILITY, None)
        failed("setuid", errno.EPERM)
    if not _set_owner(place, wanted, failed) and not is_folder:
        mode &= ~SETID_BITS
        xattrs.pop(CAPABILITY, None)
    _set_xattrs(place, xattrs, failed)
    if place.kind != stat.S_IFLNK:
        _set_mode(place, mode, failed)
    is_now = divmod(place.status.st_mtime_ns, 1_000_000_000)
    if place.fresh or is_now != (wanted.mtime_s, wanted.mtime_ns):
        _try("times", failed, lambda: _set_times(place, wanted))
    _set_flags(place, wanted.attributes & RESTORABLE_FLAGS, failed)


def set_final_flags(descriptor: int, attributes: int, failed: Failed) -> None:
    """Sets the flags of FINAL_FLAGS beside those that are set."""

    def change() -> None:
        now = scatter.get_flags(descriptor)
        after = now | (attributes & FINAL_FLAGS)
        if after != now:
            scatter.set_flags(descriptor, after)

    _try("flags", failed, change)


def _try(what: str, failed: Failed, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as failure:
        failed(what, failure.errno or errno.EIO)


def _set_owner(place: Place, wanted: Metadata, failed: Failed) -> bool:
    if (place.status.st_uid, place.status.st_gid) == (wanted.uid, wanted.gid):
        return True
    try:
        os.chown(place.address, wanted.uid, wanted.gid)
    except OSError as failure:
        failed("owner", failure.errno or errno.EIO)
    else:
        return True
    with contextlib.suppress(OSError):
        # Whoever may not give a file away may still give it to a group of his own.
        os.chown(place.address, -1, wanted.gid)
    return False


def _set_xattrs(place: Place, wanted: Mapping[bytes, bytes], failed: Failed) -> None:
    if not place.fresh:
        _remove_others(place, wanted, failed)
    number = 0
    for name, value in wanted.items():
        try:
            if place.fresh or not _has_xattr(place, name, value):
                os.setxattr(place.address, name, value)
        except OSError as failure:
            number = failure.errno or errno.EIO
    if number:
        failed("xattr", number)


def _has_xattr(place: Place, name: bytes, value: bytes) -> bool:
    try:
        return os.getxattr(place.address, name) == value
    except OSError:
        return False


def _remove_others(place: Place, wanted: Mapping[bytes, bytes], failed: Failed) -> None:
    try:
        found = [os.fsencode(name) for name in os.listxattr(place.address)]
    except OSError:
        return
    for name in found:
        if name not in wanted and name.startswith(_OURS):
            try:
                os.removexattr(place.address, name)
            except OSError as failure:
                if failure.errno not in NONE_HERE:
                    failed("xattr", failure.errno or errno.EIO)


def _set_mode(place: Place, mode: int, failed: Failed) -> None:
    """Calls `failed` with `NOT_KEPT` if the file system takes the call for a wish."""
    # An owner or an ACL that was set just now may have changed it.
    if not place.fresh and os.fstat(place.descriptor).st_mode & PERMISSION_BITS == mode:
        return
    try:
        os.chmod(place.address, mode)
    except OSError as failure:
        failed("mode", failure.errno or errno.EIO)
        return
    wrong = os.fstat(place.descriptor).st_mode & PERMISSION_BITS ^ mode
    if wrong & ~SETID_BITS:
        failed(NOT_KEPT, errno.EOPNOTSUPP)
    elif wrong:
        failed("mode", errno.EPERM)


def _set_times(place: Place, wanted: Metadata) -> None:
    if isinstance(place.address, int):
        scatter.set_times_at(place.descriptor, b"", wanted.mtime_s, wanted.mtime_ns)
    else:
        moment = wanted.mtime_s * 1_000_000_000 + wanted.mtime_ns
        os.utime(place.address, ns=(moment, moment))


def _set_flags(place: Place, attributes: int, failed: Failed) -> None:
    """Leaves the flags alone that describe how the file is stored.

    Those of FINAL_FLAGS are not set here, only left where they are wanted.
    """
    wanted = attributes & ~FINAL_FLAGS
    if place.kind not in (stat.S_IFREG, stat.S_IFDIR) or (place.fresh and not wanted):
        return
    try:
        now = scatter.get_flags(place.descriptor)
        after = (now & ~RESTORABLE_FLAGS) | wanted | (now & attributes & FINAL_FLAGS)
        if now != after:
            scatter.set_flags(place.descriptor, after)
    except OSError as failure:
        if wanted or failure.errno not in NONE_HERE:
            failed("flags", failure.errno or errno.EIO)
