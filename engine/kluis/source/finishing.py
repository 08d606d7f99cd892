"""The last step for what was put into a target: its metadata, set on the object itself."""

from __future__ import annotations

import errno
import os
import stat

from kluis._native import scatter
from kluis.source import setting
from kluis.source.folders import Folders, checked_name, mark_at, stale
from kluis.source.metadata import Failed
from kluis.source.openat import FILE_FLAGS, PATH_FLAGS
from kluis.source.openfiles import Placed
from kluis.source.paths import joined
from kluis.source.problem import Problem, Report
from kluis.source.setting import Metadata, Place
from kluis.source.specials import Modes, needs_privilege


class Finisher:
    """Sets metadata in the target at `path`; what cannot be set is reported."""

    def __init__(self, path: bytes, folders: Folders, privileged: bool, report: Report) -> None:
        self._path = path
        self._folders = folders
        self._privileged = privileged
        self._report = report
        self.modes = Modes(path, report)
        self._final_flags: list[tuple[Placed, int]] = []

    def file(self, placed: Placed, descriptor: int | None, wanted: Metadata) -> None:
        """A regular file or a folder, opened by name if it is not open; it is closed.

        OSError(ESTALE) if something else has that name now.
        """
        if descriptor is None:
            descriptor = self._reopen(placed)
        try:
            self._apply(placed, descriptor, wanted)
        finally:
            os.close(descriptor)

    def folder(self, placed: Placed, wanted: Metadata) -> None:
        """A folder, which is not opened again if it still is open."""
        above = self._folders.get(placed.folder).descriptor
        opened = self._folders.known(placed.path)
        plain = placed.fresh and not wanted.xattrs and not wanted.attributes
        if opened is None or opened.mark != placed.mark or not plain or not placed.name:
            self.file(placed, None, wanted)
            return
        if mark_at(above, checked_name(placed.name)) != placed.mark:
            raise stale()
        try:
            mode = scatter.finish(opened.descriptor, setting.packed(wanted))
        except OSError:
            mode = -1
        if mode != wanted.mode & setting.PERMISSION_BITS:
            self.file(placed, None, wanted)  # which tells what it is that cannot be set
        self._folders.forget(placed.path)

    def new(self, folder: bytes, name: bytes, kind: int, wanted: Metadata) -> Placed:
        """What was made just now and can be opened as a place only: a link, fifo or device."""
        above = self._folders.get(folder)
        place = os.open(name, PATH_FLAGS, dir_fd=above.descriptor)
        try:
            status = os.fstat(place)
            if stat.S_IFMT(status.st_mode) != kind or status.st_nlink != 1:
                raise stale()
            placed = Placed(folder, name, mark_at(place), fresh=not above.passes_on)
            self._apply(placed, place, wanted)
        finally:
            os.close(place)
        return placed

    def complete(self) -> None:
        """Sets the flags that forbid every further change (`chattr +i`, `+a`)."""
        for placed, attributes in self._final_flags:
            try:
                descriptor = self._reopen(placed)
            except OSError as failure:
                self.problem(placed, "flags", failure)
                continue
            try:
                setting.set_final_flags(descriptor, attributes, self._failed(placed))
            finally:
                os.close(descriptor)
        self._final_flags.clear()

    def problem(self, placed: Placed, operation: str, failure: OSError) -> None:
        """Reports what could not be done with an object."""
        path = joined(self._path, placed.path)
        self._report(Problem(path, operation, failure.errno or errno.EIO))

    def _failed(self, placed: Placed) -> Failed:
        def failed(operation: str, number: int) -> None:
            path = joined(self._path, placed.path)
            if operation == setting.NOT_KEPT:
                self.modes.not_kept(placed.mark.dev)
            elif operation == "setuid":
                self._report(needs_privilege(path, operation))
            else:
                self._report(Problem(path, operation, number))

        return failed

    def _reopen(self, placed: Placed) -> int:
        """A new descriptor of a file or folder; OSError(ESTALE) if it is another object now."""
        above = self._folders.get(placed.folder).descriptor
        if not placed.name:
            return os.dup(above)
        descriptor = os.open(checked_name(placed.name), FILE_FLAGS, dir_fd=above)
        try:
            if mark_at(descriptor) != placed.mark:
                raise stale()
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _apply(self, placed: Placed, descriptor: int, wanted: Metadata) -> None:
        place = Place(descriptor, os.fstat(descriptor), placed.fresh)
        setting.apply(place, wanted, self._privileged, self._failed(placed))
        if wanted.attributes & setting.FINAL_FLAGS:
            self._final_flags.append((placed, wanted.attributes))
