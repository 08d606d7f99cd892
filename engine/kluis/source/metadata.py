"""What a file carries besides its stat record and its content: xattrs, ACLs, chattr flags."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import field

from kluis._native import scatter
from kluis.frozen import frozen
from kluis.source.openat import FILE_FLAGS, open_directory, open_quietly

ACL_ACCESS = b"system.posix_acl_access"
ACL_DEFAULT = b"system.posix_acl_default"
CAPABILITY = b"security.capability"
"""Rights that the program gets when it is started: as much as a setuid bit."""

FLAG_IMMUTABLE = 0x00000010
FLAG_APPEND = 0x00000020
FLAG_NOCOW = 0x00800000
"""`chattr +C`; btrfs takes it for an empty file only."""

RESTORABLE_FLAGS = (
    0x00000001  # s secure deletion
    | 0x00000002  # u undelete
    | 0x00000004  # c compress
    | 0x00000008  # S synchronous
    | FLAG_IMMUTABLE
    | FLAG_APPEND
    | 0x00000040  # d no dump
    | 0x00000080  # A no access time
    | 0x00000400  # m do not compress
    | 0x00004000  # j journal data
    | 0x00008000  # t no tail merging
    | 0x00010000  # D synchronous directory
    | 0x00020000  # T top of a hierarchy
    | FLAG_NOCOW
)
"""The flags that somebody set; the others (e, I, E, V ...) describe how a file is stored."""

NONE_HERE = frozenset({errno.ENOTSUP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.ENODATA})
"""What file systems without xattrs or flags answer."""


@frozen
class Extras:
    """xattrs sorted by name, and the flags of RESTORABLE_FLAGS that are set."""

    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    attributes: int = 0


Failed = Callable[[str, int], None]
"""Called with what could not be read (`xattr`, `flags`) and the errno."""


def read_extras(descriptor: int, name: bytes, mode: int, failed: Failed) -> Extras:
    """The extras of `name` in the directory `descriptor`, of the link itself if it is one.

    Opens only regular files and directories: opening a device can do something.
    """
    kind = stat.S_IFMT(mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR):
        try:
            if kind == stat.S_IFDIR:
                opened = open_directory(name, descriptor)
            else:
                opened = open_quietly(name, FILE_FLAGS, descriptor)
        except OSError:
            # Without the right to read it, attributes can still be asked for by name.
            pass
        else:
            try:
                return extras_of(opened, failed)
            finally:
                os.close(opened)
    return Extras(_xattrs(b"/proc/self/fd/%d/%b" % (descriptor, name), failed))


def extras_of(descriptor: int, failed: Failed) -> Extras:
    """The extras of an open file or directory."""
    return Extras(_xattrs(descriptor, failed), restorable_flags(descriptor, failed))


def restorable_flags(descriptor: int, failed: Failed) -> int:
    """Those of the open file's chattr flags that a restore may set again."""
    try:
        return scatter.get_flags(descriptor) & RESTORABLE_FLAGS
    except OSError as failure:
        if failure.errno not in NONE_HERE:
            failed("flags", failure.errno or errno.EIO)
        return 0


def _xattrs(place: int | bytes, failed: Failed) -> dict[bytes, bytes]:
    """All xattrs of a descriptor, or of a path whose last link is not followed."""
    follow = isinstance(place, int)
    try:
        names = sorted(map(os.fsencode, os.listxattr(place, follow_symlinks=follow)))
    except OSError as failure:
        if failure.errno not in NONE_HERE:
            failed("xattr", failure.errno or errno.EIO)
        return {}
    found = {}
    for name in names:
        try:
            found[name] = os.getxattr(place, name, follow_symlinks=follow)
        except OSError as failure:
            if failure.errno not in NONE_HERE:
                failed("xattr", failure.errno or errno.EIO)
    return found
