"""Removing entries of a folder and all below them, and nothing else."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field

from kluis._native import scan
from kluis.source import records as listing
from kluis.source.descent import Descent, Identity
from kluis.source.folders import open_to_change
from kluis.source.paths import joined
from kluis.source.problem import Problem, Report


@dataclass(slots=True)
class _Level:
    """A folder that is being emptied."""

    name: bytes
    folders: list[bytes] = field(default_factory=list)
    emptied: bool = True


def remove(folder: int, name: bytes, path: bytes, report: Report) -> bool:
    """Whether the entry `name` of `folder`, and all below it, is gone now.

    Follows no link and does not go into what is mounted below. What cannot be removed is
    reported under its own path, below `path`, that of the folder.
    """
    try:
        record = listing.unpack(scan.stat_entry(folder, name))
        if not stat.S_ISDIR(record.mode):
            os.unlink(name, dir_fd=folder)
            return True
    except FileNotFoundError:
        return True
    except OSError as failure:
        report(Problem(joined(path, name), "delete", failure.errno or errno.EIO))
        return False
    with Descent(os.dup(folder)) as descent:
        return _Removal(descent, path, report).run(name)


class _Removal:
    """One folder tree on its way out: emptied from the deepest level up, without recursion."""

    def __init__(self, descent: Descent, path: bytes, report: Report) -> None:
        self._descent = descent
        self._path = bytearray(path)
        self._report = report
        self._device = descent.identity[0]
        self._levels: list[_Level] = []

    def run(self, name: bytes) -> bool:
        top = _Level(b"", [name])
        self._levels.append(top)
        while True:
            level = self._levels[-1]
            if level.folders:
                self._enter(level, level.folders.pop())
            elif len(self._levels) == 1:
                return top.emptied
            elif not self._leave():
                return False

    def _failed(self, name: bytes, failure: OSError) -> None:
        """Reports an entry of the current folder, which then cannot be removed either."""
        self._levels[-1].emptied = False
        path = joined(bytes(self._path), name)
        self._report(Problem(path, "delete", failure.errno or errno.EIO))

    def _enter(self, level: _Level, name: bytes) -> None:
        try:
            identity: Identity = self._descent.enter(name, open_to_change)
        except FileNotFoundError:
            return
        except OSError as failure:
            self._failed(name, failure)
            return
        if identity[0] != self._device or self._is_mounted():
            self._descent.leave()
            self._failed(name, OSError(errno.EBUSY, os.strerror(errno.EBUSY)))
            return
        self._levels.append(_Level(name))
        self._path += b"/" + name
        try:
            self._empty()
        except OSError as failure:
            self._failed(b"", failure)

    def _is_mounted(self) -> bool:
        """Whether the current folder comes from elsewhere, even of the same file system."""
        own = listing.unpack(scan.stat_entry(self._descent.descriptor, b""))
        return bool(own.attributes & listing.ATTRIBUTE_MOUNT_ROOT)

    def _empty(self) -> None:
        """Removes what is no folder, and notes the folders for later."""
        descriptor = self._descent.descriptor
        records, names, failures = scan.scan_directory(descriptor)
        marks = listing.directory_marks(records)
        for name, is_folder in zip(listing.split_names(records, names), marks, strict=True):
            if is_folder:
                self._levels[-1].folders.append(name)
                continue
            try:
                os.unlink(name, dir_fd=descriptor)
            except FileNotFoundError:
                pass
            except OSError as failure:
                self._failed(name, failure)
        for name, number in failures:
            self._failed(name, OSError(number, os.strerror(number)))

    def _leave(self) -> bool:
        """Removes the folder that was emptied; False if the way back is lost."""
        level = self._levels.pop()
        del self._path[len(self._path) - len(level.name) - 1 :]
        try:
            self._descent.leave()
        except OSError as failure:
            self._failed(level.name, failure)
            return False
        if not level.emptied:
            self._levels[-1].emptied = False
            return True
        try:
            os.rmdir(level.name, dir_fd=self._descent.descriptor)
        except FileNotFoundError:
            pass
        except OSError as failure:
            self._failed(level.name, failure)
        return True
