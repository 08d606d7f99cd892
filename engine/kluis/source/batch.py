"""Many small files that are created in one folder by one call."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import NamedTuple

from kluis._native import scatter
from kluis.source.folders import OpenFolder, checked_name
from kluis.source.metadata import ACL_ACCESS
from kluis.source.openat import PATH_FLAGS
from kluis.source.setting import PERMISSION_BITS, SETID_BITS, Metadata

_ENTRY = struct.Struct(scatter.SMALL_FORMAT)
_RESULT = struct.Struct(scatter.SMALL_RESULT_FORMAT)
_FIRST_STEP_AFTER_CONTENT = scatter.STEPS.index("owner")


class SmallFailure(NamedTuple):
    """What went wrong with one file; `created`: its content is there, metadata is not."""

    name: bytes
    step: str
    errno: int
    created: bool


class SmallBatch:
    """Files without xattrs and chattr flags, whose contents lie in one buffer."""

    def __init__(self, privileged: bool) -> None:
        self._privileged = privileged
        self._entries: list[bytes] = []
        self.names: list[bytes] = []
        self.modes: list[int] = []
        self.without_setid: list[bytes] = []
        """Names of those that lose setuid or setgid, as nobody asked for `--privileged`."""

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: bytes, wanted: Metadata, start: int, length: int) -> None:
        """One more file, with the `length` bytes from `start` on of the buffer."""
        if wanted.xattrs or wanted.attributes:
            raise ValueError("a file with xattrs or flags is created by itself")
        mode = wanted.mode & PERMISSION_BITS
        if mode & SETID_BITS and not self._privileged:
            mode &= ~SETID_BITS
            self.without_setid.append(name)
        self.names.append(checked_name(name))
        self.modes.append(mode)
        times = (wanted.mtime_s, wanted.mtime_ns)
        owner = (wanted.uid, wanted.gid)
        self._entries.append(
            _ENTRY.pack(len(name), 0, mode, start, length, *times, *owner, scatter.SMALL_CHOWN)
        )

    def write(self, folder: OpenFolder, data: bytes | bytearray | memoryview) -> list[SmallFailure]:
        """Creates them; returns the failures, of metadata too."""
        return write_packed(folder, b"".join(self.names), b"".join(self._entries), data)


def write_packed(
    folder: OpenFolder, names: bytes, entries: bytes, data: bytes | bytearray | memoryview
) -> list[SmallFailure]:
    """Creates files from SMALL_FORMAT, their names back to back; the failures, of metadata too."""
    results = scatter.write_small(folder.descriptor, names, entries, data)
    if results.count(0) == len(results) and not folder.passes_on:
        return []
    failures, at = [], 0
    for (size, *_), (number, step) in zip(
        _ENTRY.iter_unpack(entries), _RESULT.iter_unpack(results), strict=True
    ):
        name = names[at : at + size]
        at += size
        created = not number or step >= _FIRST_STEP_AFTER_CONTENT
        if number:
            failures.append(SmallFailure(name, scatter.STEPS[step], number, created))
        if created and folder.passes_on:
            _without_acl(folder.descriptor, name)
    return failures


def first_of(names: bytes, entries: bytes) -> tuple[bytes, int]:
    """Name and mode of the first of such files."""
    size, _, mode, *_ = _ENTRY.unpack_from(entries)
    return names[:size], mode


def _without_acl(folder: int, name: bytes) -> None:
    """Takes away the ACL that the file got from its folder and that the snapshot has not."""
    with contextlib.suppress(OSError):
        place = os.open(name, PATH_FLAGS, dir_fd=folder)
        try:
            os.removexattr(b"/proc/self/fd/%d" % place, ACL_ACCESS)
        finally:
            os.close(place)
