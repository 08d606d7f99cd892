"""A directory as scanned becomes a tree as stored, taking over whatever did not change."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from blake3 import blake3

from kluis._native.scan import NO_ENTRY, any_racy, diff_entries
from kluis.format import tree
from kluis.format.tree import Part
from kluis.format.usemap import FrameSet, merge
from kluis.operations.archiving.entries import (
    NLINK,
    Frame,
    Totals,
    encode_tree,
    frame_set,
    kind_of,
    make_part,
    raw_fields,
    small_part,
    tally_of,
)
from kluis.operations.archiving.files import (
    AGAIN,
    BATCH_BYTES,
    BATCH_FILES,
    EXTRAS,
    FileArchiver,
    StoredFile,
)
from kluis.repository.content import EMPTY, Content
from kluis.repository.dedup import is_usable
from kluis.repository.scancache import (
    FINGERPRINT_BYTES,
    Listing,
    Remembered,
    ScanCache,
    Tally,
)
from kluis.source import records as listing
from kluis.source.metadata import Extras, read_extras
from kluis.source.problem import Problem, Report
from kluis.source.read import read_link
from kluis.source.records import Record
from kluis.source.walk import Directory

# Files with several names are read once while the map of them is small.
LINKS_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Done:
    """A directory that is stored: where its tree lies, and whether all was as before."""

    tree: Content
    unchanged: bool


@dataclass
class Rebuild:
    """One directory while its tree is made anew."""

    directory: Directory
    names: list[bytes]
    parts: list[Part | None]
    frames: set[Frame] = field(default_factory=set)
    listed: dict[bytes, FrameSet] = field(default_factory=dict)
    spoiled: set[int] = field(default_factory=set)  # entries to be looked at again next time

    def record(self, index: int) -> Record:
        return listing.unpack(listing.record_at(self.directory.records, index))


@dataclass
class DirectoryArchiver:
    """Stores directories in walk order."""

    files: FileArchiver
    cache: ScanCache
    usable: dict[bytes, bytes]
    racy: tuple[int, int]  # (s, ns): what is not older than this is never unchanged
    report: Report
    reread: int = 0  # every n-th directory is read again; 0: none
    totals: Totals = field(default_factory=Totals)
    _waiting: dict[bytes, Done] = field(default_factory=dict)
    _links: dict[tuple[int, int], StoredFile] = field(default_factory=dict)
    _all_usable: bool = field(init=False)

    def __post_init__(self) -> None:
        head = self.cache.head
        self._all_usable = head is not None and self._can_use(head.uses)

    def store(self, directory: Directory) -> Done:
        """The directory's tree, after those of the directories in it."""
        totals = self.totals
        fingerprint = self._fingerprint(directory)
        children = self._children(directory)
        old = None if self._is_turn(directory.path) else self.cache.find(directory.path)
        totals.directories += 1
        if old is not None and self._is_unchanged(directory, old, fingerprint, children):
            self.cache.keep(old)
            totals.directories_unmodified += 1
            self._count(old.tally, old.uses)
            totals.files_unmodified += old.tally.files
            return self._finish(directory, Done(old.tree, True))
        if old is None:
            totals.directories_new += 1
        else:
            totals.directories_changed += 1
        return self._finish(directory, self._rebuild(directory, old, fingerprint, children))

    def root(self) -> Done:
        """The tree of `/`, once everything is stored."""
        return self._waiting.get(b"/") or Done(EMPTY, False)

    def _finish(self, directory: Directory, done: Done) -> Done:
        self._waiting[directory.path] = done
        return done

    def _fingerprint(self, directory: Directory) -> bytes:
        hasher = blake3(directory.records)
        hasher.update(directory.names)
        return hasher.digest(FINGERPRINT_BYTES)

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
            and not directory.incomplete
            and not directory.unreadable
            and all(done.unchanged for done in children.values())
            and (self._all_usable or self._can_use(old.uses))
        )

    def _can_use(self, frames: FrameSet) -> bool:
        return all(
            is_usable(self.usable, run, n)
            for run, ranges in frames.items()
            for first, end in ranges
            for n in range(first, end)
        )

    def _is_turn(self, path: bytes) -> bool:
        """True for the share of directories that this run reads again."""
        if not self.reread:
            return False
        turn = self.cache.head.turn if self.cache.head is not None else 0
        place = int.from_bytes(blake3(path).digest(8), "little")
        return place % self.reread == turn % self.reread

    def _count(self, tally: Tally, uses: FrameSet) -> None:
        self.totals.files += tally.files
        self.totals.others += tally.others
        self.totals.size += tally.size
        self.totals.use(uses)

    def _rebuild(
        self,
        directory: Directory,
        old: Remembered | None,
        fingerprint: bytes,
        children: dict[bytes, Done],
    ) -> Done:
        names = listing.split_names(directory.records, directory.names)
        work = Rebuild(directory, names, [None] * len(names))
        before = self.cache.listing(old) if old is not None else None
        changed = self._take_over(work, before)
        self._read_files(work, changed)
        for index in changed:
            if work.parts[index] is None and index not in work.spoiled:
                self._store_other(work, index, children)
        parts = [part for part in work.parts if part is not None]
        data = encode_tree(parts)
        content, tree_frames = self.files.tree(data)
        work.frames |= tree_frames
        uses = frame_set(work.frames)
        uses = merge((uses, *work.listed.values()))
        tally = tally_of(parts)
        self._count(tally, uses)
        racy = bool(work.spoiled) or directory.incomplete or bool(directory.unreadable)
        racy = racy or any_racy(directory.records, *self.racy)
        remembered = Listing(directory.records, directory.names, data, work.listed)
        self.cache.add(directory.path, (fingerprint, racy), tally, (content, uses), remembered)
        same = old is not None and old.tree == content
        return Done(content, same)

    def _take_over(self, work: Rebuild, before: Listing | None) -> list[int]:
        """Copies the entries that did not change; returns the numbers of the others."""
        directory, head = work.directory, self.cache.head
        total = len(work.names)
        if before is None or head is None:
            marks = listing.file_marks(directory.records)
            self.totals.files_new += sum(marks)
            return list(range(total))
        matches = struct.unpack(
            f"={total}I",
            diff_entries(
                before.records,
                before.names,
                directory.records,
                directory.names,
                head.racy_s,
                head.racy_ns,
            ),
        )
        old_parts = {part.name: part for part in tree.split(before.tree)}
        marks = listing.file_marks(directory.records)
        dirs = listing.directory_marks(directory.records)
        changed = []
        for index, match in enumerate(matches):
            name = work.names[index]
            part = old_parts.get(name)
            if match != NO_ENTRY and part is not None and not dirs[index]:
                if self._reuse(work, part, before):
                    work.parts[index] = part
                    self.totals.files_unmodified += marks[index]
                    continue
            if marks[index]:
                if part is None:
                    self.totals.files_new += 1
                else:
                    self.totals.files_changed += 1
            changed.append(index)
        return changed

    def _reuse(self, work: Rebuild, part: Part, before: Listing) -> bool:
        """Counts the frames of an unchanged entry, unless one of them is gone."""
        if part.record[1] & tree.INCOMPLETE:
            return False
        frames = tree.frames_of(part.extents)
        if not all(is_usable(self.usable, run, n) for run, n in frames):
            return False
        if tree.is_listed(part):
            inner = before.listed.get(part.name)
            if inner is None or not self._can_use(inner):
                return False
            work.listed[part.name] = inner
        work.frames |= frames
        return True

    def _read_files(self, work: Rebuild, changed: Iterable[int]) -> None:
        """Stores the content of the regular files among these entries."""
        marks = listing.file_marks(work.directory.records)
        batch: list[int] = []
        batch_bytes = 0
        for index in changed:
            if not marks[index]:
                continue
            fields = work.record(index)
            if self._is_known_link(work, index, fields):
                continue
            if fields.size > self.files.small_limit:
                self._take(work, index, self.files.large(work.directory, work.names[index]))
                continue
            batch.append(index)
            batch_bytes += fields.size
            if batch_bytes >= BATCH_BYTES or len(batch) >= BATCH_FILES:
                self._read_batch(work, batch)
                batch, batch_bytes = [], 0
        if batch:
            self._read_batch(work, batch)

    def _read_batch(self, work: Rebuild, batch: list[int]) -> None:
        records, names, parts = work.directory.records, work.names, work.parts
        for index, place, state in self.files.small(work.directory, batch):
            if state == AGAIN:
                self._take(work, index, self.files.large(work.directory, names[index]))
                continue
            fields = raw_fields(records, index)
            if state == EXTRAS or fields[NLINK] > 1:
                self._take(work, index, self.files.alone(place))
                continue
            parts[index] = small_part(names[index], fields, place)
            if place is not None:
                work.frames.add(place[1][:2])

    def _is_known_link(self, work: Rebuild, index: int, fields: Record) -> bool:
        stored = self._links.get(fields.identity) if fields.nlink > 1 else None
        if stored is None:
            return False
        self._take(work, index, stored)
        return True

    def _take(self, work: Rebuild, index: int, stored: StoredFile | None) -> None:
        """Makes the entry of a file from its stored content."""
        if stored is None:
            work.spoiled.add(index)
            return
        name = work.names[index]
        fields = work.record(index)
        if stored.record is not None:
            fresh = listing.unpack(stored.record)
            if fresh[:-1] != fields[:-1]:
                # It is not what was scanned any more: next time it is looked at again.
                work.spoiled.add(index)
            fields = fresh
        if stored.incomplete:
            work.spoiled.add(index)
        if fields.nlink > 1 and len(self._links) < LINKS_REMEMBERED:
            self._links[fields.identity] = stored
        extras = stored.extras or self._extras(work, name, fields.mode)
        flags = (tree.LISTED if stored.content.listed else 0) | (
            tree.INCOMPLETE if stored.incomplete else 0
        )
        work.parts[index] = make_part(name, fields, extras, (stored.content, flags))
        if stored.content.listed:
            work.listed[name] = frame_set(stored.frames)
        else:
            work.frames |= stored.frames

    def _store_other(self, work: Rebuild, index: int, children: dict[bytes, Done]) -> None:
        """Makes the entry of anything but a regular file."""
        name, fields = work.names[index], work.record(index)
        kind = kind_of(fields)
        if kind is None or kind == tree.FILE:
            work.spoiled.add(index)
            return
        content, flags, link = EMPTY, 0, b""
        if kind == tree.DIRECTORY:
            done = children.get(name)
            if done is not None:
                content = done.tree
                flags = tree.LISTED if content.listed else 0
            elif name in work.directory.unreadable:
                flags = tree.INCOMPLETE
        elif kind == tree.SYMLINK:
            try:
                link = read_link(work.directory.descriptor, name)
            except OSError as failure:
                path = b"%b/%b" % (work.directory.path.rstrip(b"/"), name)
                self.report(Problem(path, "read", failure.errno or errno.EIO))
                work.spoiled.add(index)
                return
        extras = self._extras(work, name, fields.mode)
        work.parts[index] = make_part(name, fields, extras, (content, flags), link)

    def _extras(self, work: Rebuild, name: bytes, mode: int) -> Extras:
        path = b"%b/%b" % (work.directory.path.rstrip(b"/"), name)
        return read_extras(
            work.directory.descriptor,
            name,
            mode,
            lambda what, number: self.report(Problem(path, what, number)),
        )
