"""The tree of one directory made anew: what did not change is taken over, the rest is read."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from kluis._native.parts import AGAIN, EXTRAS
from kluis._native.scan import NO_ENTRY, diff_entries
from kluis.format import tree
from kluis.format.tree import Part
from kluis.format.usemap import FrameSet
from kluis.operations.archiving.entries import (
    Frame,
    frame_set,
    kind_of,
    make_part,
    take_made,
)
from kluis.operations.archiving.files import (
    BATCH_BYTES,
    BATCH_FILE_BYTES,
    BATCH_FILES,
    NO_EXTRAS,
    FileArchiver,
    StoredFile,
)
from kluis.operations.archiving.links import Links
from kluis.operations.archiving.parent import ParentFolder, ParentTrees
from kluis.repository.content import EMPTY, Content
from kluis.repository.dedup import are_usable, can_use
from kluis.repository.scancache import Listing
from kluis.source import records as listing
from kluis.source.metadata import Extras, read_extras
from kluis.source.problem import Problem
from kluis.source.read import SECTOR_BYTES, read_link
from kluis.source.records import Record
from kluis.source.walk import Directory

# All of a record but how many extents the content has.
_BEFORE_EXTENTS, _BEHIND_EXTENTS = slice(0, 16), slice(20, None)


@dataclass
class Rebuild:
    """One directory while its tree is made anew."""

    directory: Directory
    records: bytes  # those of the directory, the device hidden
    names: list[bytes] = field(init=False)
    marks: bytes = field(init=False)  # 1 for a regular file
    parts: list[Part | None] = field(init=False)
    frames: set[Frame] = field(default_factory=set)
    listed: dict[bytes, FrameSet] = field(default_factory=dict)
    spoiled: set[int] = field(default_factory=set)  # entries to be looked at again next time
    known: set[int] = field(default_factory=set)  # changed files that were there before
    same: set[int] = field(default_factory=set)  # files that were taken over
    added: dict[int, int] = field(default_factory=dict)  # bytes stored, where each file is told

    def __post_init__(self) -> None:
        self.names = listing.split_names(self.records, self.directory.names)
        self.marks = listing.file_marks(self.records)
        self.parts = [None] * len(self.names)

    def record(self, index: int) -> Record:
        return listing.unpack(listing.record_at(self.records, index))

    def path(self, index: int) -> bytes:
        return b"%b/%b" % (self.directory.path.rstrip(b"/"), self.names[index])


@dataclass
class Before:
    """What is known of the directory: from the cache with its instant, or from a parent."""

    listing: Listing | None = None
    racy: tuple[int, int] = (0, 0)
    again: bool = False  # it is read again, whatever it looks like
    folder: ParentFolder | None = None


@dataclass
class Rebuilder:
    """Makes the entries of directories."""

    files: FileArchiver
    usable: dict[bytes, bytes]
    all_usable: bool = False  # every frame that the cache knows of
    parent: ParentTrees | None = None
    links: Links = field(default_factory=Links)

    def rebuild(self, work: Rebuild, before: Before, children: dict[bytes, Content]) -> None:
        """Fills `work.parts`; `children` are the trees of the directories in this one."""
        old: dict[bytes, Part] = {}
        if before.listing is not None:
            old = {part.name: part for part in tree.split(before.listing.tree)}
            changed = self._take_over(work, before, old)
        elif before.folder is not None:
            changed = self._take_from_parent(work, before.folder)
        else:
            changed = list(range(len(work.names)))
        self._read_files(work, changed)
        for index in changed:
            if not work.marks[index] and index not in work.spoiled:
                self._store_other(work, index, children)
        work.same |= {i for i in work.known if _is_alike(work.parts[i], old.get(work.names[i]))}
        work.known -= work.same

    def _take_over(self, work: Rebuild, before: Before, old: dict[bytes, Part]) -> list[int]:
        """Copies the entries that did not change; returns the numbers of the others."""
        then = before.listing
        assert then is not None
        if before.again:
            work.known |= {i for i, name in enumerate(work.names) if name in old}
            return list(range(len(work.names)))
        matches = struct.unpack(
            f"={len(work.names)}I",
            diff_entries(
                then.records, then.names, work.records, work.directory.names, *before.racy
            ),
        )
        directories = listing.directory_marks(work.records)
        changed = []
        for index, (name, match) in enumerate(zip(work.names, matches, strict=True)):
            part = old.get(name)
            if part is None:
                changed.append(index)
            elif match != NO_ENTRY and not directories[index] and self._reuse(work, part, then):
                work.parts[index] = part
                work.same.add(index)
            else:
                changed.append(index)
                work.known.add(index)
        return changed

    def _reuse(self, work: Rebuild, part: Part, before: Listing) -> bool:
        """Counts the frames of an unchanged entry, unless one of them is gone."""
        if part.record[1] & tree.INCOMPLETE:
            return False
        frames = tree.frames_of(part.extents)
        if not self.all_usable and not are_usable(self.usable, frames):
            return False
        if tree.is_listed(part):
            inner = before.listed.get(part.name)
            if inner is None or not (self.all_usable or can_use(self.usable, inner)):
                return False
            work.listed[part.name] = inner
        work.frames |= frames
        return True

    def _take_from_parent(self, work: Rebuild, folder: ParentFolder) -> list[int]:
        """The same from a snapshot's tree: content is taken over, metadata is read."""
        assert self.parent is not None
        changed = []
        for index, name in enumerate(work.names):
            entry = folder.entries.get(name)
            if entry is not None and work.marks[index]:
                fields = work.record(index)
                frames = None
                if self.parent.holds(entry, fields):
                    frames = self.parent.frames(entry, self.usable)
                if frames is not None:
                    content = Content(
                        entry.size, entry.digest, entry.extents, bool(entry.flags & tree.LISTED)
                    )
                    self._take(work, index, StoredFile(content, frozenset(frames)))
                    work.same.add(index)
                    continue
                work.known.add(index)
            changed.append(index)
        return changed

    def _read_files(self, work: Rebuild, changed: Iterable[int]) -> None:
        """Stores the content of the regular files among these entries."""
        batch: list[int] = []
        batch_bytes = 0
        minimum = self.files.cutter.minimum
        sizes, blocks = listing.sizes(work.records), listing.blocks(work.records)
        names = listing.link_counts(work.records)
        for index in changed:
            if not work.marks[index]:
                continue
            if names[index] > 1 and self._is_known_link(work, index):
                continue
            size = sizes[index]
            if size > BATCH_FILE_BYTES or (size > minimum and blocks[index] * SECTOR_BYTES < size):
                self._read_alone(work, index)
                continue
            batch.append(index)
            batch_bytes += size
            if batch_bytes >= BATCH_BYTES or len(batch) >= BATCH_FILES:
                self._read_batch(work, batch)
                batch, batch_bytes = [], 0
        if batch:
            self._read_batch(work, batch)

    def _read_alone(self, work: Rebuild, index: int) -> None:
        before = self.files.writer.bytes_new
        self._take(work, index, self.files.large(work.directory, work.names[index]))
        work.added[index] = self.files.writer.bytes_new - before

    def _read_batch(self, work: Rebuild, batch: list[int]) -> None:
        telling = self.files.teller.context.each_file
        frontier = self.files.writer.frontier() if telling else None
        found = self.files.batch(work.directory, batch)
        if frontier is not None:
            for position, index in enumerate(batch):
                work.added[index] = frontier.added(found.places_of(position))
        work.frames |= tree.frames_of(found.extents)
        for position in take_made(found, batch, work.names, work.parts):
            index, state = batch[position], found.states[position]
            if state == AGAIN:
                self._read_alone(work, index)
            else:
                extras = None if state == EXTRAS else NO_EXTRAS
                self._take(work, index, self.files.gathered(found.places_of(position), extras))

    def _is_known_link(self, work: Rebuild, index: int) -> bool:
        stored = self.links.known(work.directory, index)
        if stored is None:
            return False
        self._take(work, index, stored)
        return True

    def _take(self, work: Rebuild, index: int, stored: StoredFile | None) -> None:
        """Makes the entry of a file from its stored content."""
        if stored is None:
            work.spoiled.add(index)
            return
        name, fields = work.names[index], work.record(index)
        if stored.record is not None:
            fresh = listing.unpack(stored.record)._replace(dev=fields.dev)
            if fresh[:-1] != fields[:-1]:
                # It is not what was scanned any more: next time it is looked at again.
                work.spoiled.add(index)
            fields = fresh
        if stored.incomplete:
            work.spoiled.add(index)
        if fields.nlink > 1:
            self.links.remember(work.directory, index, stored)
            fields = self.links.on_file_system(work.directory, index, fields)
        extras = stored.extras or self._extras(work, index, fields.mode)
        flags = (tree.LISTED if stored.content.listed else 0) | (
            tree.INCOMPLETE if stored.incomplete else 0
        )
        work.parts[index] = make_part(name, fields, extras, (stored.content, flags))
        if stored.content.listed:
            work.listed[name] = frame_set(stored.frames)
        else:
            work.frames |= stored.frames

    def _store_other(self, work: Rebuild, index: int, children: dict[bytes, Content]) -> None:
        """Makes the entry of anything but a regular file."""
        name, fields = work.names[index], work.record(index)
        kind = kind_of(fields)
        if kind is None:
            work.spoiled.add(index)
            return
        content, flags, link = EMPTY, 0, b""
        if kind == tree.DIRECTORY:
            if name in children:
                content = children[name]
                flags = tree.LISTED if content.listed else 0
            elif name in work.directory.unreadable:
                flags = tree.INCOMPLETE
        elif kind == tree.SYMLINK:
            try:
                link = read_link(work.directory.descriptor, name)
            except OSError as failure:
                self.files.report(Problem(work.path(index), "read", failure.errno or errno.EIO))
                work.spoiled.add(index)
                return
        if fields.nlink > 1 and kind != tree.DIRECTORY:
            fields = self.links.on_file_system(work.directory, index, fields)
        extras = self._extras(work, index, fields.mode)
        work.parts[index] = make_part(name, fields, extras, (content, flags), link)

    def _extras(self, work: Rebuild, index: int, mode: int) -> Extras:
        name = work.names[index]

        def failed(what: str, number: int) -> None:
            self.files.report(Problem(work.path(index), what, number))

        return read_extras(work.directory.descriptor, name, mode, failed)


def _is_alike(now: Part | None, then: Part | None) -> bool:
    """True if a file is as it was, wherever its content lies by now."""
    if now is None or then is None:
        return False
    return (
        now.record[_BEFORE_EXTENTS] == then.record[_BEFORE_EXTENTS]
        and now.record[_BEHIND_EXTENTS] == then.record[_BEHIND_EXTENTS]
        and now.extras == then.extras
    )
