"""The directories below some paths, each after those that lie in it, as flat listings."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kluis._native import scan
from kluis.frozen import frozen
from kluis.source import records as listing
from kluis.source.descent import Descent, Identity, look_up_only, search_only
from kluis.source.exclude import Exclusions, Inherited, Listing
from kluis.source.openat import open_directory
from kluis.source.paths import Wanted, absolute, asked_for, gather, joined
from kluis.source.problem import Problem, Report

ROOT = b"/"
_NOTHING_UNREADABLE: frozenset[bytes] = frozenset()


@frozen
class WalkOptions:
    """Where a walk stops."""

    one_file_system: bool = False
    """Directories on which something else is mounted are empty, files of that kind left out."""
    skip: frozenset[Identity] = frozenset()
    """(dev, ino) of directories that are left out silently, such as the repository."""


@frozen
class Directory:
    """One directory and what is kept of its entries, sorted by name."""

    path: bytes
    """Absolute; `/` for the root."""
    records: bytes
    names: bytes
    own: bytes
    """Its own record (name length 0), newer than the one in its parent's listing."""
    descriptor: int
    """Open until the next directory is asked for; that of a `partial` or a foreign one may be
    good for looking up names alone."""
    partial: bool
    """It was not asked for itself: only what leads to the given paths is listed."""
    incomplete: bool
    """Some of its entries, each reported, could not be listed and are missing here."""
    unreadable: frozenset[bytes]
    """Names of entries that are directories and of which no Directory came, each reported."""


def walk(
    paths: Sequence[bytes], rules: Exclusions, options: WalkOptions, report: Report
) -> Iterator[Directory]:
    """Yields each directory after its children, siblings in the order of their names.

    The last one is `/`, unless nothing was found. `paths` may lie in each other, be files
    or links (kept as links), and are taken from the working directory. What cannot be read
    is reported and the walk goes on.
    """
    return _Walk(rules, options, report).run(gather(absolute(path) for path in paths))


@dataclass(slots=True)
class _Child:
    """A directory still to be walked: `wanted` if it is one on the way to a given path."""

    name: bytes
    wanted: Wanted | None = None
    foreign: bool = False

    @property
    def on_the_way(self) -> bool:
        return self.wanted is not None and not self.wanted.whole


@dataclass(slots=True)
class _Level:
    """A directory whose children are being walked."""

    own: bytes
    partial: bool
    path_length: int
    device: int
    inherited: Inherited = ()
    incomplete: bool = False
    lost: bool = False
    records: bytes = b""
    names: bytes = b""
    pending: list[_Child] = field(default_factory=list)
    unreadable: set[bytes] | None = None
    entries: dict[bytes, bytes] = field(default_factory=dict)
    """Of a partial one: the record of each entry that is kept."""

    def cannot_read(self, name: bytes) -> None:
        if self.unreadable is None:
            self.unreadable = set()
        self.unreadable.add(name)


class _Walk:
    """The state of one walk: the levels from `/` down, and their descriptors."""

    def __init__(self, rules: Exclusions, options: WalkOptions, report: Report) -> None:
        self._rules = rules
        self._options = options
        self._report = report
        self._levels: list[_Level] = []
        self._active: set[Identity] = set()
        # One buffer for all levels: a path for each would take gigabytes 10,000 levels down.
        self._path = bytearray()

    def run(self, wanted: Wanted) -> Iterator[Directory]:
        try:
            base = open_directory(ROOT)
        except OSError as failure:
            self._problem(ROOT, "list", failure)
            return
        with Descent(base) as self._descent:
            self._begin(_Child(b"", wanted), scan.stat_entry(base, b""), 0)
            while self._levels:
                level = self._levels[-1]
                if level.pending:
                    self._enter(level, level.pending.pop())
                    continue
                directory = self._finished(level)
                if directory is not None:
                    yield directory
                self._leave(level, directory is not None)

    def _problem(self, path: bytes, operation: str, failure: OSError) -> None:
        self._report(Problem(path, operation, failure.errno or errno.EIO))

    def _here(self, name: bytes = b"") -> bytes:
        return joined(bytes(self._path) or ROOT, name)

    # Going down.

    def _enter(self, level: _Level, child: _Child) -> None:
        opener = search_only if child.on_the_way else open_directory
        try:
            self._descent.enter(child.name, look_up_only if child.foreign else opener)
        except OSError as failure:
            self._not_entered(level, child, failure)
            return
        try:
            if not child.on_the_way and self._descent.identity in self._active:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            own = scan.stat_entry(self._descent.descriptor, b"")
        except OSError as failure:
            self._descent.leave()
            self._not_entered(level, child, failure)
            return
        length = len(self._path)
        self._path += b"/" + child.name
        self._begin(child, own, length)

    def _not_entered(self, level: _Level, child: _Child, failure: OSError) -> None:
        """Reports what was asked for: of a directory on the way, all that lies below it."""
        path = self._here(child.name)
        if child.wanted is not None and child.on_the_way:
            for lost in asked_for(child.wanted, path):
                self._problem(lost, "stat", failure)
            return
        self._problem(path, "list", failure)
        level.cannot_read(child.name)

    def _begin(self, child: _Child, own: bytes, path_length: int) -> None:
        """Lists the directory that the descent has just entered."""
        device = self._descent.identity[0] if child.wanted else self._levels[-1].device
        level = _Level(own, child.on_the_way, path_length, device)
        self._levels.append(level)
        if child.wanted is not None and child.on_the_way:
            self._list_wanted(level, child.wanted)
            return
        self._active.add(self._descent.identity)
        if not child.foreign:
            self._list_all(level, self._levels[-2].inherited if len(self._levels) > 1 else ())

    def _list_all(self, level: _Level, inherited: Inherited) -> None:
        descriptor = self._descent.descriptor
        try:
            records, names, failures = scan.scan_directory(descriptor)
        except OSError as failure:
            self._problem(self._here(), "list", failure)
            self._unlisted()
            level.lost = True
            return
        for name, number in failures:
            level.incomplete = True
            operation = "stat" if name else "list"
            self._report(Problem(self._here(name), operation, number))
        if self._rules.active:
            view = Listing(self._here(), descriptor, records, names)
            keep, level.inherited = self._rules.judge(view, inherited)
            if keep is not None:
                records, names = scan.select(records, names, keep)
        if self._options.one_file_system:
            records, names = _without_mounted_files(records, names, level.device)
        level.records, level.names, level.pending = self._children(records, names, level.device)

    def _unlisted(self) -> None:
        """Marks the current directory as unreadable in its parent."""
        if len(self._levels) > 1:
            parent, level = self._levels[-2], self._levels[-1]
            parent.cannot_read(bytes(self._path[level.path_length + 1 :]))

    def _children(
        self, records: bytes, names: bytes, device: int
    ) -> tuple[bytes, bytes, list[_Child]]:
        """(records, names, directories to enter, the last first), without those to skip."""
        marks = listing.directory_marks(records)
        if b"\x01" not in marks:
            return records, names, []
        found, found_names = scan.select(records, names, marks)
        bounded, skip = self._options.one_file_system, self._options.skip
        children, skipped = [], set()
        for index, name in enumerate(listing.split_names(found, found_names)):
            identity = (0, 0)
            if bounded or skip:
                identity = listing.identity_of(listing.record_at(found, index))
            if identity in skip:
                skipped.add(name)
            else:
                children.append(_Child(name, foreign=bounded and identity[0] != device))
        children.reverse()
        if skipped:
            kept = bytes(name not in skipped for name in listing.split_names(records, names))
            records, names = scan.select(records, names, kept)
        return records, names, children

    # Directories on the way to what was asked for.

    def _list_wanted(self, level: _Level, wanted: Wanted) -> None:
        names = sorted(wanted.below)
        given = self._given(level, [name for name in names if wanted.below[name].whole])
        for name in names:
            node = wanted.below[name]
            if node.whole and name not in given:
                continue
            if node.whole:
                level.entries[name] = given[name]
            if not node.whole or stat.S_ISDIR(listing.unpack(given[name]).mode):
                level.pending.append(_Child(name, node))
        level.pending.reverse()

    def _given(self, level: _Level, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """The records of the entries that were asked for, exist and are not excluded."""
        found: dict[bytes, bytes] = {}
        for name in names:
            try:
                record = scan.stat_entry(self._descent.descriptor, name)
            except OSError as failure:
                self._problem(self._here(name), "stat", failure)
                continue
            if listing.identity_of(record) not in self._options.skip:
                found[name] = record
        if not self._rules.active:
            return found
        view = Listing(
            self._here(), self._descent.descriptor, b"".join(found.values()), b"".join(found), True
        )
        keep, level.inherited = self._rules.judge(view, ())
        if keep is None:
            return found
        return {name: found[name] for name, kept in zip(found, keep, strict=True) if kept}

    # Going back up.

    def _finished(self, level: _Level) -> Directory | None:
        """The directory; None if it cannot be listed, or was only on the way to nothing."""
        if level.lost:
            return None
        if level.partial:
            names = sorted(level.entries)
            if not names:
                return None
            level.names = b"".join(names)
            level.records = b"".join(level.entries[name] for name in names)
        unreadable = level.unreadable
        return Directory(
            self._here(),
            level.records,
            level.names,
            level.own,
            self._descent.descriptor,
            level.partial,
            level.incomplete,
            frozenset(unreadable) if unreadable else _NOTHING_UNREADABLE,
        )

    def _leave(self, level: _Level, found: bool) -> None:
        name = bytes(self._path[level.path_length + 1 :])
        del self._path[level.path_length :]
        self._levels.pop()
        if not level.partial:
            self._active.discard(self._descent.identity)
        if not self._levels:
            return
        parent = self._levels[-1]
        if parent.partial and found:
            parent.entries.setdefault(name, listing.with_name_length(level.own, len(name)))
        try:
            self._descent.leave()
        except OSError as failure:
            self._lost(failure)

    def _lost(self, failure: OSError) -> None:
        """Gives up the directories above that cannot be opened again, and reports each."""
        while True:
            level = self._levels[-1]
            self._problem(self._here(), "list", failure)
            self._unlisted()
            del self._path[level.path_length :]
            self._levels.pop()
            if not level.partial:
                self._active.discard(self._descent.identity)
            try:
                self._descent.leave()
                return
            except OSError as again:
                failure = again


def _without_mounted_files(records: bytes, names: bytes, device: int) -> tuple[bytes, bytes]:
    """Leaves out what is no directory and lies on another device because it is mounted here."""
    mounted = listing.attribute_marks(records, listing.ATTRIBUTE_MOUNT_ROOT)
    if b"\x01" not in mounted:
        return records, names
    directories = listing.directory_marks(records)
    keep = bytes(
        not mount
        or bool(is_directory)
        or listing.identity_of(listing.record_at(records, index))[0] == device
        for index, (mount, is_directory) in enumerate(zip(mounted, directories, strict=True))
    )
    return scan.select(records, names, keep)
