"""What happens to each entry of the snapshot: made, replaced, kept or left alone."""

from __future__ import annotations

import stat

from kluis._native import scatter
from kluis.errors import DamageError, MediumGoneError, StorageError
from kluis.format import tree
from kluis.format.tree import Entry
from kluis.operations.restoring.existing import Comparer, Difference
from kluis.operations.restoring.files import FileWriter
from kluis.operations.restoring.levels import Level
from kluis.operations.restoring.outcome import Outcome
from kluis.operations.restoring.plan import Large, Link, Small
from kluis.operations.restoring.windows import Rules
from kluis.options import RestoreOptions
from kluis.repository.trees import content_of
from kluis.source.folders import Mark
from kluis.source.folding import folded
from kluis.source.metadata import Extras, extras_of
from kluis.source.read import File
from kluis.source.records import Record
from kluis.source.setting import SETID_BITS, Metadata, Owners
from kluis.source.target import Placed, Target

# Of a smaller file that differs in length not a byte is compared: it is written anew.
REUSE_BYTES = 1 << 20
# With --sparse a larger file is written by itself, so that its zeros become holes.
SPARSE_BYTES = 64 << 10
# Where names differ by case: so many others, in one folder, are remembered for their Unicode form.
TAKEN_LIMIT = 20_000

_TYPES = {
    tree.SYMLINK: stat.S_IFLNK,
    tree.FIFO: stat.S_IFIFO,
    tree.CHARACTER_DEVICE: stat.S_IFCHR,
    tree.BLOCK_DEVICE: stat.S_IFBLK,
    tree.SOCKET: stat.S_IFSOCK,
    tree.FILE: stat.S_IFREG,
    tree.DIRECTORY: stat.S_IFDIR,
}
_SPECIAL = (tree.FIFO, tree.CHARACTER_DEVICE, tree.BLOCK_DEVICE, tree.SOCKET)
_PERMISSIONS = 0o7777
ANY_SIZE = (1 << 64) - 1


def metadata_of(entry: Entry, owners: Owners) -> Metadata:
    """What is to be set of an entry, with numbers of this machine."""
    kind = _TYPES[entry.kind] if entry.kind in _SPECIAL else 0
    return Metadata(
        entry.mode | kind,
        owners.uid(entry.uid),
        owners.gid(entry.gid),
        entry.mtime_s,
        entry.mtime_ns,
        dict(entry.xattrs),
        entry.attributes,
    )


def rules_of(level: Level, moved: tuple[bytes, bytes], options: RestoreOptions) -> Rules:
    """Which files of the folder can be created many at a time: those that need no more than that.

    Below the target itself a folder is its owner's alone until it is finished, so files in it
    may have their modes at once.
    """
    modes = _PERMISSIONS if options.privileged else _PERMISSIONS & ~SETID_BITS
    hidden = scatter.SMALL_HIDDEN if level.path_bytes else 0
    limit = SPARSE_BYTES if options.sparse else ANY_SIZE
    return Rules(moved, (limit, modes, scatter.SMALL_CHOWN | hidden))


class EntryPlacer:
    """Deals with files, links and specials; without a writer it only counts (`dry_run`)."""

    def __init__(
        self,
        target: Target | None,
        writer: FileWriter | None,
        comparer: Comparer,
        outcome: Outcome,
        options: RestoreOptions,
    ) -> None:
        self._target = target
        self._writer = writer
        self._comparer = comparer
        self._outcome = outcome
        self._options = options

    def look(self, level: Level, folder: bytes, name: bytes) -> Record | None:
        """What stands there already."""
        if level.fresh or self._target is None:
            return None
        return self._target.look(folder, name)

    def is_taken(self, level: Level, folder: bytes, name: bytes) -> bool:
        """Whether the target takes the name for that of another entry, placed before: noted.

        Most file systems take no two names for one; of those that do, many go by case.
        """
        if self._target is None or (not level.folds and name.isascii()):
            return False
        if not level.folds and len(level.taken) >= TAKEN_LIMIT:
            return False
        first = level.taken.setdefault(folded(name), name)
        if first == name:
            return False
        if self._writer is not None:
            self._writer.flush()  # the other is there from now on
            if not self._target.is_alias(folder, name):
                return False
        self._outcome.taken(folder, name, first)
        return True

    def may_replace(self, found: Record, mtime: tuple[int, int]) -> bool:
        """Whether `overwrite` lets an entry of that time take the place of what is there."""
        rule = self._options.overwrite
        if rule == "if-newer":
            return mtime > (found.mtime_s, found.mtime_ns)
        return rule != "never"

    def make_way(self, found: Record, folder: bytes, name: bytes) -> None:
        """Removes a folder with all below it that stands in the way, if `delete` allows it."""
        if self._target is not None and self._options.delete and stat.S_ISDIR(found.mode):
            self._target.remove(folder, name)

    def place(self, level: Level, folder: bytes, entry: Entry) -> None:
        """Restores an entry that is no folder, or plans to."""
        is_file = entry.kind == tree.FILE
        if is_file:
            self._outcome.files_total += 1
            self._outcome.bytes_total += entry.size
        try:
            if self.is_taken(level, folder, entry.name):
                return
            found = self.look(level, folder, entry.name)
            if found is not None and not self.may_replace(found, (entry.mtime_s, entry.mtime_ns)):
                if is_file:
                    self._outcome.file(folder, entry.name, "skipped", entry.size)
                else:
                    self._outcome.other(folder, entry.name, "skipped")
            elif is_file:
                self._file(level, folder, entry, found)
            else:
                self._other(level, folder, entry, found)
        except OSError as failure:
            self._outcome.failed(folder, entry.name, "create", failure)

    def _file(self, level: Level, folder: bytes, entry: Entry, found: Record | None) -> None:
        wanted = metadata_of(entry, level.owners)
        writer, content = self._writer, content_of(entry)
        if entry.flags & tree.INCOMPLETE:
            self.warn_incomplete(folder, entry.name)
        if found is None and writer is not None and self._is_small(entry):
            writer.add_small(Small(folder, entry.name, wanted, content, replace=False))
            return
        key = (entry.device, entry.inode) if entry.flags & tree.LINKED else None
        large = Large(folder, entry.name, wanted, content, replace=found is not None, key=key)
        first = writer.firsts.get(key) if writer is not None and key is not None else None
        if writer is not None and first is not None:
            if found is not None:
                self.make_way(found, folder, entry.name)
            writer.add_link(Link(first, large))
            return
        difference = None
        if found is not None and stat.S_ISREG(found.mode):
            difference = self._compare(large, found)
            if difference is not None and difference.none:
                return
        if writer is None:
            self._outcome.file(folder, entry.name, "restored", entry.size)
            return
        if found is not None and stat.S_ISDIR(found.mode):
            self.make_way(found, folder, entry.name)
        elif self._is_small(entry):
            writer.add_small(Small(folder, entry.name, wanted, content, replace=True))
            return
        writer.add_large(large, difference)

    def _is_small(self, entry: Entry) -> bool:
        """Whether one call can create it together with others."""
        if entry.flags or entry.xattrs or entry.attributes or len(entry.extents) > 1:
            return False
        if entry.extents and entry.extents[0].run == tree.HOLE_RUN:
            return False
        return not self._options.sparse or entry.size <= SPARSE_BYTES

    def _compare(self, large: Large, found: Record) -> Difference | None:
        """What differs of the file that is there; if nothing does, it is dealt with.

        None: write it anew. `large.reuse` is set if it is worth to write only what differs.
        """
        assert self._target is not None
        content = large.content
        if found.size != content.size and content.size <= REUSE_BYTES:
            return None
        try:
            with self._target.existing_file(large.folder, large.name) as file:
                if self._looks_unchanged(large, file):
                    difference = Difference()
                else:
                    difference = self._comparer.compare(file, content)
                if difference.none:
                    return difference if self._keep(large, file) else None
                large.reuse = (
                    content.size > REUSE_BYTES
                    and difference.right_bytes > 0
                    and not difference.many
                    and file.fields.nlink == 1
                )
        except OSError:
            return None  # it cannot be read: creating it anew may work, or say why not
        except MediumGoneError:
            raise
        except (DamageError, StorageError):
            return None  # what it should be is not known: writing it anew will say so
        return difference

    def _looks_unchanged(self, large: Large, file: File) -> bool:
        wanted, fields = large.wanted, file.fields
        return (
            self._options.overwrite == "if-changed"
            and file.size == large.content.size
            and (fields.mtime_s, fields.mtime_ns) == (wanted.mtime_s, wanted.mtime_ns)
        )

    def _keep(self, large: Large, file: File) -> bool:
        """Sets the metadata of a file that is right; False if it must not be touched.

        One with other names is left alone unless nothing has to be set: the others may lie
        outside the target.
        """
        same = _has_metadata(file, large.wanted)
        if not same and file.fields.nlink != 1:
            return False
        if self._writer is None or self._target is None:
            self._outcome.file(large.folder, large.name, "unchanged", large.content.size)
            return True
        fields = file.fields
        mark = Mark(
            fields.dev, fields.ino, stat.S_IFMT(fields.mode), fields.btime_s, fields.btime_ns
        )
        placed = Placed(large.folder, large.name, mark, fresh=False)
        if not same:
            self._target.finish(placed, large.wanted)
        if large.key is not None:
            self._writer.firsts[large.key] = placed
        self._writer.keep(large.folder, large.name, large.content)
        return True

    def _other(self, level: Level, folder: bytes, entry: Entry, found: Record | None) -> None:
        """A link, fifo or device; a socket is left to its program."""
        target, writer, name = self._target, self._writer, entry.name
        if entry.kind == tree.SOCKET:
            self._outcome.socket(folder, name)
            return
        if found is not None and self._is_same_link(level, folder, entry, found):
            self._outcome.other(folder, name, "unchanged")
            return
        if target is None or writer is None:
            self._outcome.other(folder, name, "restored")
            return
        replace = found is not None
        if found is not None:
            self.make_way(found, folder, name)
        key = (entry.device, entry.inode) if entry.flags & tree.LINKED else None
        first = writer.firsts.get(key) if key is not None else None
        if isinstance(first, Placed):
            try:
                target.make_hard_link(first, folder, name, replace)
            except OSError as failure:
                self._outcome.failed(folder, name, "link", failure)
            else:
                self._outcome.other(folder, name, "restored")
                return
        wanted = metadata_of(entry, level.owners)
        placed: Placed | None
        if entry.kind == tree.SYMLINK and not (replace or entry.flags or entry.xattrs):
            target.make_plain_link(folder, name, entry.link, wanted)
            self._outcome.other(folder, name, "restored")
            return
        if entry.kind == tree.SYMLINK:
            placed = target.make_link(folder, name, entry.link, wanted, replace)
        else:
            placed = target.make_special(folder, name, wanted, entry.device, replace)
        if placed is not None:
            self._outcome.other(folder, name, "restored")
            if key is not None:
                writer.firsts[key] = placed

    def _is_same_link(self, level: Level, folder: bytes, entry: Entry, found: Record) -> bool:
        """Whether the symlink is there as it was: with these bytes, this owner and this time."""
        if self._target is None or entry.kind != tree.SYMLINK or entry.flags or entry.xattrs:
            return False
        wanted = metadata_of(entry, level.owners)
        is_now = (found.uid, found.gid, found.mtime_s, found.mtime_ns)
        return (
            stat.S_ISLNK(found.mode)
            and found.nlink == 1
            and is_now == (wanted.uid, wanted.gid, wanted.mtime_s, wanted.mtime_ns)
            and self._target.link(folder, entry.name) == entry.link
        )

    def warn_incomplete(self, folder: bytes, name: bytes) -> None:
        """Says that the snapshot has not all of it."""
        path = self._outcome.path(folder, name).decode("utf-8", "backslashreplace")
        self._outcome.warn(
            "incomplete", f"{path} could not be read, or changed, while it was backed up"
        )


def _has_metadata(file: File, wanted: Metadata) -> bool:
    """Whether nothing has to be set any more."""
    fields = file.fields
    is_now = (fields.mode & _PERMISSIONS, fields.uid, fields.gid, fields.mtime_s, fields.mtime_ns)
    if is_now != (
        wanted.mode & _PERMISSIONS, wanted.uid, wanted.gid, wanted.mtime_s, wanted.mtime_ns
    ):  # fmt: skip
        return False
    problems: list[str] = []
    extras = extras_of(file.descriptor, lambda what, _: problems.append(what))
    return not problems and extras == Extras(dict(wanted.xattrs), wanted.attributes)
