"""A directory as scanned becomes a tree as stored, taking over whatever did not change."""

from __future__ import annotations

from dataclasses import dataclass, field

from blake3 import blake3

from kluis._native.scan import any_racy, hide_device
from kluis.format.usemap import FrameSet, merge
from kluis.frozen import frozen
from kluis.operations.archiving.basis import Basis
from kluis.operations.archiving.entries import Totals, encode_tree, frame_set, tally_of
from kluis.operations.archiving.files import FileArchiver
from kluis.operations.archiving.rebuilding import Before, Rebuild, Rebuilder
from kluis.operations.archiving.wear import Wear
from kluis.repository.content import EMPTY, Content
from kluis.repository.dedup import can_use
from kluis.repository.scancache import FINGERPRINT_BYTES, Listing, Remembered, Tally
from kluis.source import records as listing
from kluis.source.walk import Directory


@frozen
class Done:
    """A directory that is stored: where its tree lies, and whether all was as before."""

    tree: Content
    unchanged: bool
    partial: bool = False


@dataclass
class DirectoryArchiver:
    """Stores directories in walk order."""

    files: FileArchiver
    basis: Basis
    usable: dict[bytes, bytes]
    wear: Wear | None = None  # where this run counts how much of each frame is in use
    totals: Totals = field(default_factory=Totals)
    _waiting: dict[bytes, Done] = field(default_factory=dict)
    _rebuilder: Rebuilder = field(init=False)
    _all_usable: bool = field(init=False)

    def __post_init__(self) -> None:
        head, trees = self.basis.cache.head, self.basis.trees
        self._all_usable = head is not None and can_use(self.usable, head.uses)
        self._rebuilder = Rebuilder(self.files, self.usable, self._all_usable, trees)

    def store(self, directory: Directory) -> Done:
        """The directory's tree, after those of the directories in it."""
        device = listing.identity_of(directory.own)[0]
        records = hide_device(directory.records, device)
        children = self._children(directory)
        fingerprint = _fingerprint(_lasting(directory, records, children), directory.names)
        old = self.basis.cache.find(directory.path)
        self.totals.directories += 1
        if old is not None and self._is_unchanged(directory, old, fingerprint, children):
            done = self._keep(directory, old)
        else:
            done = self._rebuild(Rebuild(directory, records), old, fingerprint, children)
        self._waiting[directory.path] = done
        self.files.teller.done(directory.path, self.totals.files, self.totals.size)
        return done

    def root(self) -> Done:
        """The tree of `/`, once everything is stored."""
        return self._waiting.get(b"/") or Done(EMPTY, False)

    def _keep(self, directory: Directory, old: Remembered) -> Done:
        self.basis.cache.keep(old)
        if self.wear is not None:
            self.wear.kept(self.basis.cache.listing(old), old.tree.extents)
        self.totals.directories_unmodified += 1
        self.totals.files_unmodified += old.tally.files
        self._count(old.tally, old.uses)
        if self.files.teller.context.each_file:
            self._tell_unmodified(directory)
        return Done(old.tree, True, directory.partial)

    def _children(self, directory: Directory) -> dict[bytes, Done]:
        """Results of the directories in this one, by name."""
        marks = listing.directory_marks(directory.records)
        if not any(marks):
            return {}
        base = directory.path.rstrip(b"/")
        found = {}
        names = listing.split_names(directory.records, directory.names)
        for name, mark in zip(names, marks, strict=True):
            if mark:
                done = self._waiting.pop(b"%b/%b" % (base, name), None)
                if done is not None:
                    found[name] = done
        return found

    def _is_unchanged(
        self,
        directory: Directory,
        old: Remembered,
        fingerprint: bytes,
        children: dict[bytes, Done],
    ) -> bool:
        return (
            old.fingerprint == fingerprint
            and not old.racy
            and not self._is_turn(directory.path)
            and not directory.incomplete
            and not directory.unreadable
            and all(done.unchanged for done in children.values())
            and (self._all_usable or can_use(self.usable, old.uses))
        )

    def _is_turn(self, path: bytes) -> bool:
        """True for the share of directories that this run reads again."""
        every = self.basis.reread
        if not every:
            return False
        place = int.from_bytes(blake3(path).digest(8), "little")
        return place % every == self.basis.turn() % every

    def _count(self, tally: Tally, uses: FrameSet) -> None:
        self.totals.files += tally.files
        self.totals.others += tally.others
        self.totals.size += tally.size
        self.totals.use(uses)

    def _rebuild(
        self,
        work: Rebuild,
        old: Remembered | None,
        fingerprint: bytes,
        children: dict[bytes, Done],
    ) -> Done:
        directory = work.directory
        before = self._before(directory, old)
        self._rebuilder.rebuild(work, before, {name: d.tree for name, d in children.items()})
        data, tally = self._encode(work)
        content, tree_frames = self.files.tree(data)
        work.frames |= tree_frames
        if self.wear is not None:
            self.wear.add(data, content.extents, work.listed.values())
        uses = merge((frame_set(work.frames), *work.listed.values()))
        self._count(tally, uses)
        racy = bool(work.spoiled) or directory.incomplete or bool(directory.unreadable)
        racy = racy or any_racy(work.records, *self.basis.racy)
        was = old.tree if old is not None else None
        if before.folder is not None:
            was = before.folder.content
        self._count_changes(work, was, content)
        work.parts.clear()  # of a very large directory all that follows takes as much again
        remembered = Listing(work.records, directory.names, data, work.listed)
        stored = (content, uses)
        self.basis.cache.add(directory.path, (fingerprint, racy), tally, stored, remembered)
        return Done(content, was == content, directory.partial)

    def _encode(self, work: Rebuild) -> tuple[bytes, Tally]:
        parts = [part for part in work.parts if part is not None]
        return encode_tree(parts), tally_of(parts)

    def _before(self, directory: Directory, old: Remembered | None) -> Before:
        """What is known of a directory that is not just as it was."""
        if self.basis.trees is not None:
            return Before(folder=self.basis.trees.find(directory.path))
        head = self.basis.cache.head
        if old is None or head is None:
            return Before()
        racy = (head.racy_s, head.racy_ns)
        return Before(self.basis.cache.listing(old), racy, self._is_turn(directory.path))

    def _count_changes(self, work: Rebuild, was: Content | None, content: Content) -> None:
        totals = self.totals
        if was is None:
            totals.directories_new += 1
        elif was == content:
            totals.directories_unmodified += 1
        else:
            totals.directories_changed += 1
        marks = work.marks
        lost = sum(1 for index in work.spoiled if work.parts[index] is None and marks[index])
        known = sum(1 for index in work.known if work.parts[index] is not None and marks[index])
        same = sum(1 for index in work.same if marks[index])
        totals.files_unmodified += same
        totals.files_changed += known
        totals.files_new += sum(marks) - lost - known - same
        if self.files.teller.context.each_file:
            self._tell(work)

    def _tell(self, work: Rebuild) -> None:
        """Names each file of a directory that was stored anew."""
        teller = self.files.teller
        sizes = listing.sizes(work.records)
        for index, part in enumerate(work.parts):
            if part is None or not work.marks[index]:
                continue
            if index in work.known:
                teller.file(work.path(index), "changed", sizes[index], work.added.get(index, 0))
            elif index in work.same:
                teller.file(work.path(index), "unmodified", sizes[index])
            else:
                teller.file(work.path(index), "new", sizes[index], work.added.get(index, 0))

    def _tell_unmodified(self, directory: Directory) -> None:
        """Names each file of a directory that is as it was."""
        base = directory.path.rstrip(b"/")
        names = listing.split_names(directory.records, directory.names)
        marks, sizes = listing.file_marks(directory.records), listing.sizes(directory.records)
        for name, mark, size in zip(names, marks, sizes, strict=True):
            if mark:
                self.files.teller.file(b"%b/%b" % (base, name), "unmodified", size)


def _lasting(directory: Directory, records: bytes, children: dict[bytes, Done]) -> bytes:
    """The records without the times of folders that only lead to what was asked for.

    Whatever else happens in `/` or `/tmp` is no change of what is backed up below it.
    """
    if not directory.partial:
        return records
    names = listing.split_names(directory.records, directory.names)
    leading = [i for i, name in enumerate(names) if name in children and children[name].partial]
    return listing.without_times(records, leading)


def _fingerprint(records: bytes, names: bytes) -> bytes:
    hasher = blake3(records)
    hasher.update(names)
    return hasher.digest(FINGERPRINT_BYTES)
