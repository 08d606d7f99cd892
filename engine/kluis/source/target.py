"""The folder that a restore writes into: nothing outside it, and through no link.

Everything is reached from the target's own descriptor, by names that were checked, one
after the other, none of which may be a link; an object that was made is known by its
device and inode from then on. So neither a hostile snapshot nor another process that
renames and links in the target can lead a write, or an owner, out of it.

The order: `make_folder` from the top down; files, links and specials in any order, each
with its metadata; `finish` each folder from the deepest up; `complete`, then `close`.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import Self

from kluis._native import scan, scatter
from kluis.frozen import frozen
from kluis.source import records as listing
from kluis.source import setting
from kluis.source.batch import SmallBatch, SmallFailure, first_of, write_packed
from kluis.source.finishing import Finisher
from kluis.source.folders import (
    Folders,
    checked_name,
    make_directory,
    make_way,
    mark_at,
    open_to_change,
    split_path,
    stale,
)
from kluis.source.folding import Folding, is_alias
from kluis.source.metadata import ACL_DEFAULT, FLAG_NOCOW
from kluis.source.openfiles import OpenFiles, Placed
from kluis.source.paths import absolute, joined
from kluis.source.problem import Problem, Report
from kluis.source.read import File, open_file
from kluis.source.removing import remove
from kluis.source.setting import Metadata, Owners
from kluis.source.specials import make_node, needs_privilege, refusal
from kluis.source.targetroot import is_unfinished, open_root

__all__ = ["Metadata", "Owners", "Placed", "SmallBatch", "Target", "TargetOptions"]

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_OWNER_ONLY_FILE = 0o600


@frozen
class TargetOptions:
    """What may be set in a target."""

    privileged: bool = False
    """Device nodes, and setuid, setgid and capabilities of files."""
    finished: bool = False
    """A target that is made gets metadata at the end; until then a mode of its own."""


class Target:
    """A folder of this machine that a snapshot is written into.

    Folders are named by relative paths (`b""` is the target itself, no slash at either
    end), entries by (folder, name). What cannot be created raises OSError; metadata that
    cannot be set is reported and the rest is set. `replace` removes whatever stands in
    the way, except a folder that is not empty.
    """

    def __init__(self, path: bytes, options: TargetOptions, report: Report) -> None:
        self.path = absolute(path)
        self._options = options
        self._report = report
        root = open_root(self.path, options.finished)
        self.unfinished = is_unfinished(root)
        """It is still as a restore made it, this one or one that was interrupted."""
        self._folders = Folders(root)
        self._files = OpenFiles(self._folders)
        self._folding = Folding()
        self._folding.learn_from_path(self.path, self._folders.get(b"").mark.dev)
        self._finisher = Finisher(self.path, self._folders, options.privileged, report)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes every descriptor."""
        self._files.close()
        self._folders.close()

    def complete(self) -> None:
        """Sets the flags that forbid every further change (`chattr +i`, `+a`)."""
        self._finisher.complete()

    # What is there.

    def entries(self, folder: bytes) -> tuple[bytes, bytes]:
        """(records, names) of all that is in the folder now; what cannot be listed is reported."""
        records, names, failures = scan.scan_directory(self._folders.get(folder).descriptor)
        for name, number in failures:
            self._report(Problem(self._path_of(folder, name), "list", number))
        return records, names

    def look(self, folder: bytes, name: bytes) -> listing.Record | None:
        """What stands there now, itself if it is a link; None if nothing does."""
        try:
            found = scan.stat_entry(self._folders.get(folder).descriptor, checked_name(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return listing.unpack(found)

    def link(self, folder: bytes, name: bytes) -> bytes:
        """Where the symlink that is there points to."""
        return os.readlink(checked_name(name), dir_fd=self._folders.get(folder).descriptor)

    def may_fold(self, folder: bytes) -> bool:
        """Whether two names in the folder may be taken for one because they differ in case only."""
        opened = self._folders.get(folder)
        return self._folding.may_fold(opened.descriptor, opened.mark.dev)

    def is_alias(self, folder: bytes, name: bytes) -> bool:
        """Whether what stands there has another name, for which this one is taken."""
        return is_alias(self._folders.get(folder).descriptor, checked_name(name))

    def existing_file(self, folder: bytes, name: bytes) -> File:
        """The regular file that is there, open for reading; the caller closes it."""
        return open_file(self._folders.get(folder).descriptor, checked_name(name))

    # Folders.

    def make_folder(self, path: bytes, replace: bool) -> Placed:
        """The folder `path`, new or as it was; its parent must be there already.

        Until it is finished only its owner can use a new one; in one that was there the
        owner may do all. OSError(ENOTDIR) if something else is in the way, without `replace`.
        """
        if not path:
            return Placed(b"", b"", self._folders.get(b"").mark, fresh=False)
        parent, name = split_path(path)
        above = self._folders.get(parent)
        fresh = make_directory(name, above.descriptor)
        try:
            descriptor = open_to_change(name, above.descriptor)
        except OSError as failure:
            if not replace or failure.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            os.unlink(name, dir_fd=above.descriptor)
            fresh = make_directory(name, above.descriptor)
            descriptor = open_to_change(name, above.descriptor)
        if fresh and above.passes_on:
            os.removexattr(descriptor, ACL_DEFAULT)
        self._folding.learn(above.descriptor, above.mark.dev, name)
        kept = self._folders.keep(path, descriptor, plain=fresh)
        return Placed(parent, name, kept.mark, fresh and not above.passes_on)

    def folder_at(self, path: bytes) -> Placed:
        """A folder that was made before, as an argument for `finish`."""
        if not path:
            return Placed(b"", b"", self._folders.get(b"").mark, fresh=False)
        parent, name = split_path(path)
        return Placed(parent, name, self._folders.get(path).mark, fresh=False)

    # Regular files.

    def create_file(self, folder: bytes, name: bytes, replace: bool, attributes: int = 0) -> Placed:
        """A new, empty file that only its owner can use, open for writing.

        Of the chattr flags in `attributes` it gets the one that works on an empty file only.
        """
        above = self._folders.get(folder)
        if replace:
            make_way(name, above.descriptor)
        descriptor = os.open(
            checked_name(name), _NEW_FILE, _OWNER_ONLY_FILE, dir_fd=above.descriptor
        )
        placed = self._files.keep(folder, name, descriptor, fresh=not above.passes_on)
        if attributes & FLAG_NOCOW:
            try:
                scatter.set_flags(descriptor, scatter.get_flags(descriptor) | FLAG_NOCOW)
            except OSError as failure:
                self._finisher.problem(placed, "flags", failure)
        return placed

    def reuse_file(self, folder: bytes, name: bytes) -> Placed:
        """The regular file that is there, open for writing into it; only its owner can use it.

        OSError(EMLINK) if it has other names: they may lie outside the target.
        """
        return self._files.reuse(folder, checked_name(name))

    def descriptor(self, placed: Placed) -> int:
        """A descriptor to read and write a file that was created or reused.

        It stays valid until OPEN_FILES others were asked for, or the file is finished.
        OSError(ESTALE) if something else has that name now.
        """
        return self._files.get(placed)

    def set_size(self, placed: Placed, size: int) -> None:
        """Makes the file exactly `size` bytes long; what was not written reads as zeros."""
        os.ftruncate(self._files.get(placed), size)

    def small_batch(self) -> SmallBatch:
        """An empty batch for `write_small`."""
        return SmallBatch(self._options.privileged)

    def write_small(
        self, folder: bytes, batch: SmallBatch, data: bytes | bytearray | memoryview, replace: bool
    ) -> list[SmallFailure]:
        """Creates the files of the batch with their content and metadata, in one call.

        Returns those that could not be created; what could not be set is reported.
        """
        above = self._folders.get(folder)
        in_the_way: dict[bytes, int] = {}  # creating it will fail then, for that reason
        for name in batch.names if replace else ():
            try:
                make_way(name, above.descriptor)
            except OSError as error:
                in_the_way[name] = error.errno or errno.EIO
        for name in batch.without_setid:
            self._report(needs_privilege(self._path_of(folder, name), "setuid"))
        results = batch.write(above, data)
        if batch.names and not results:
            self._finisher.modes.look(above, batch.names[0], batch.modes[0])
        return [
            failure._replace(errno=in_the_way.get(failure.name, failure.errno))
            for failure in self._not_created(folder, results)
        ]

    def write_files(
        self, folder: bytes, names: bytes, entries: bytes, data: bytes | bytearray | memoryview
    ) -> list[SmallFailure]:
        """The same for files that are new, from SMALL_FORMAT of `scatter`; names back to back.

        None of them may have a mode that needs `privileged` where that is not given.
        """
        above = self._folders.get(folder)
        results = write_packed(above, names, entries, data)
        if not results and self._finisher.modes.unknown(above.mark.dev):
            self._finisher.modes.look(above, *first_of(names, entries))
        return self._not_created(folder, results)

    def _not_created(self, folder: bytes, results: list[SmallFailure]) -> list[SmallFailure]:
        """Those that are not there; what could not be set of the others is reported."""
        failures = []
        for failure in results:
            if failure.created:
                path = self._path_of(folder, failure.name)
                self._report(Problem(path, failure.step, failure.errno))
            else:
                failures.append(failure)
        return failures

    # Everything else.

    def make_link(
        self, folder: bytes, name: bytes, points_to: bytes, wanted: Metadata, replace: bool
    ) -> Placed:
        """A symlink with its metadata; nothing is ever looked up through it."""
        above = self._cleared(folder, name, replace)
        os.symlink(points_to, name, dir_fd=above)
        return self._finisher.new(folder, name, stat.S_IFLNK, wanted)

    def make_plain_link(
        self, folder: bytes, name: bytes, points_to: bytes, wanted: Metadata
    ) -> None:
        """A new symlink with owner and time; what cannot be set is reported."""
        above = self._folders.get(folder).descriptor
        if not scatter.make_link(above, checked_name(name), points_to, setting.packed(wanted)):
            self._finisher.new(folder, name, stat.S_IFLNK, wanted)

    def make_special(
        self, folder: bytes, name: bytes, wanted: Metadata, device: int, replace: bool
    ) -> Placed | None:
        """A fifo, or with `privileged` a device; the type is in `wanted.mode`.

        None, and reported, for a device without the right to it and for a socket, which
        only the program that listens on it can make.
        """
        kind = stat.S_IFMT(wanted.mode)
        problem = refusal(self._path_of(folder, name), kind, self._options.privileged)
        if problem is not None:
            self._report(problem)
            return None
        above = self._cleared(folder, name, replace)
        make_node(above, name, kind | _OWNER_ONLY_FILE, device)
        return self._finisher.new(folder, name, kind, wanted)

    def make_hard_link(self, first: Placed, folder: bytes, name: bytes, replace: bool) -> None:
        """Another name for an object that was placed; OSError(ESTALE) if that is not there now."""
        there = self._folders.get(folder).descriptor
        here = self._folders.get(first.folder).descriptor
        if mark_at(here, checked_name(first.name)) != first.mark:
            raise stale()
        if replace and self._is_at(first, there, name):
            return
        there = self._cleared(folder, name, replace)
        here = self._folders.get(first.folder).descriptor
        os.link(first.name, name, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
        if not self._is_at(first, there, name):
            os.unlink(name, dir_fd=there)
            raise stale()

    # Metadata, and what has to go.

    def finish(self, placed: Placed, wanted: Metadata) -> None:
        """Sets the metadata of a regular file or a folder, and closes the file.

        Call it when nothing more is written into it. OSError if the content was lost on
        the way to the disk, or if something else has that name now (ESTALE).
        """
        self._finisher.file(placed, self._files.taken(placed), wanted)

    def finish_folder(self, placed: Placed, wanted: Metadata) -> None:
        """The same for a folder; one that is still open is not opened again."""
        self._finisher.folder(placed, wanted)

    def remove(self, folder: bytes, name: bytes) -> bool:
        """Whether the entry, with all below it, is gone; what cannot be removed is reported.

        What is mounted below stays.
        """
        above = self._folders.get(folder).descriptor
        path = self._path_of(folder)
        gone = remove(above, checked_name(name), path, self._report)
        self._folders.forget_below(joined(folder, name) if folder else name)
        return gone

    @staticmethod
    def _is_at(placed: Placed, folder: int, name: bytes) -> bool:
        try:
            return mark_at(folder, checked_name(name)) == placed.mark
        except FileNotFoundError:
            return False

    def _path_of(self, folder: bytes, name: bytes = b"") -> bytes:
        return joined(joined(self.path, folder), name)

    def _cleared(self, folder: bytes, name: bytes, replace: bool) -> int:
        """The descriptor of the folder, in which `name` is free if `replace` could free it."""
        above = self._folders.get(folder).descriptor
        checked_name(name)
        if replace:
            make_way(name, above)
        return above
