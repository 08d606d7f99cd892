"""Fifos and devices, and the permissions that some file systems do not keep."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from kluis._native import scan
from kluis.source import records as listing
from kluis.source.folders import OpenFolder
from kluis.source.problem import Problem, Report

KEPT_BITS = 0o1777
"""Of the mode: the kernel itself may clear setuid and setgid."""
NOT_KEPT = "this file system keeps no permissions; those of the snapshot are not set in it"
OWN_PROGRAM = "a socket, which only the program that listens on it can make"
PRIVILEGED_ONLY = {
    "device": "a device, which is made with --privileged only",
    "setuid": "setuid, setgid and capabilities are set with --privileged only",
}


def refusal(path: bytes, kind: int, privileged: bool) -> Problem | None:
    """Why no special file of the kind can be made: a socket only its own program can make."""
    if kind == stat.S_IFSOCK:
        return Problem(path, "socket", errno.EOPNOTSUPP, OWN_PROGRAM)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        return None if privileged else needs_privilege(path, "device")
    if kind != stat.S_IFIFO:
        raise ValueError(f"type {kind:o} is of no special file")
    return None


def needs_privilege(path: bytes, operation: str) -> Problem:
    """What `--privileged` would have done."""
    return Problem(path, operation, errno.EPERM, PRIVILEGED_ONLY[operation])


def make_node(folder: int, name: bytes, mode: int, device: int) -> None:
    """Makes a fifo or device; where that fails nothing of it is left.

    A fifo has no number: what a record holds there for one with several names is the file
    system that it came from, which `mknod` refuses. exfat over FUSE says that it cannot, and
    leaves an empty file.
    """
    number = 0 if stat.S_ISFIFO(mode) else device
    try:
        os.mknod(name, mode, number, dir_fd=folder)
    except FileExistsError:
        raise
    except OSError:
        with contextlib.suppress(OSError):
            left = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(left.st_mode) and not left.st_size:
                os.unlink(name, dir_fd=folder)
        raise


class Modes:
    """Which file systems keep permissions: each that does not is reported, once."""

    def __init__(self, target: bytes, report: Report) -> None:
        self._target = target
        self._report = report
        self._told: set[int] = set()
        self._seen: dict[int, set[int]] = {}

    def not_kept(self, device: int) -> None:
        """Notes that a mode was set there, without an error, and is not what it should be."""
        if device not in self._told:
            self._told.add(device)
            self._report(Problem(self._target, "mode", errno.EOPNOTSUPP, NOT_KEPT))

    def unknown(self, device: int) -> bool:
        """Whether it is not known yet what that file system does."""
        return device not in self._told and len(self._seen.get(device, ())) < 2

    def look(self, folder: OpenFolder, name: bytes, mode: int) -> None:
        """Looks at a file that was made just now, until two modes have proved to be kept."""
        device = folder.mark.dev
        if not self.unknown(device):
            return
        seen = self._seen.setdefault(device, set())
        try:
            actual = listing.unpack(scan.stat_entry(folder.descriptor, name)).mode
        except OSError:
            return
        if (actual ^ mode) & KEPT_BITS:
            self.not_kept(device)
        seen.add(actual & KEPT_BITS)
