"""Restore: snapshot > tree > plan (by pack) > fetch > open > expand > check > place > metadata."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress

from kluis.errors import (
    CancelledError,
    DamageError,
    KluisError,
    MediumGoneError,
    StorageError,
    UsageError,
)
from kluis.events import Context, Stage
from kluis.format import names, tree
from kluis.format.tree import Entry
from kluis.frozen import frozen
from kluis.operations.restoring.chunks import ChunkLists
from kluis.operations.restoring.entries import EntryPlacer, metadata_of, rules_of
from kluis.operations.restoring.existing import Comparer
from kluis.operations.restoring.files import FileWriter
from kluis.operations.restoring.levels import Level
from kluis.operations.restoring.listings import Listing, Listings, OwnerNames
from kluis.operations.restoring.outcome import Outcome
from kluis.operations.restoring.spans import Files
from kluis.options import RestoreOptions
from kluis.repository.access import Repository
from kluis.repository.affected import FOLDER
from kluis.repository.content import Content
from kluis.repository.listing import Readers, Visited, locate, root_of, shown
from kluis.repository.selection import pick
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import TreeReader, content_of, root_content
from kluis.results import RestoreResult
from kluis.source import records as records_of
from kluis.source.folding import folded
from kluis.source.openat import open_directory
from kluis.source.paths import absolute, joined
from kluis.source.patterns import PathFilter
from kluis.source.setting import Owners
from kluis.source.target import Target, TargetOptions

LOST_FOLDER = "what lies in this folder could not be restored"


@frozen
class Start:
    """What is restored: all that lies in a folder of the snapshot, or one entry of it."""

    path: bytes
    """Of the folder, which becomes the target; empty for `/`."""
    folder: Visited | None
    content: Content | None
    only: Visited | None = None


def restore(repository: Repository, options: RestoreOptions, context: Context) -> RestoreResult:
    """Files of a snapshot, written to a folder; all that could not be restored is named.

    No file has wrong bytes or only a part of its own under its name. Raises `KluisError` if
    nothing could be written, `NoSpaceError`, `CancelledError`: repeating the command goes on
    where it stopped.
    """
    begun = repository.surroundings.monotonic()
    if (options.target is None) != options.in_place:
        raise UsageError("where to? give either a target or in_place; nothing was written")
    context.events(Stage("reading the index"))
    snapshot = pick(repository, options.snapshot, options.filter)
    trees = Readers(repository, context).of(snapshot)
    try:
        start = _start(trees, snapshot, options)
    except DamageError as error:
        raise DamageError(
            f"the folders of the snapshot that lead to {shown(options.path) or '/'} are lost, so "
            f"nothing was restored: {error}. Next: kluis repair"
        ) from error
    outcome = _outcome(repository, context, snapshot, start, options)
    with ExitStack() as stack:
        context.events(Stage("restoring"))
        try:
            _Walk(trees, snapshot, outcome, options).run(start, stack)
        except CancelledError as error:
            raise CancelledError(outcome.cancelled()) from error
    with suppress(KluisError, OSError):
        repository.remember()
    seconds = repository.surroundings.monotonic() - begun
    return outcome.result(snapshot.id(), options, seconds)


def _start(trees: TreeReader, snapshot: Snapshot, options: RestoreOptions) -> Start:
    root = root_of(snapshot)
    found = locate(trees, root, options.path)
    if found is None:
        if (
            options.in_place
            and options.delete
            and not (options.include or options.include_any_case)
        ):
            raise UsageError(
                "to delete in / all that the snapshot does not have is too much to ask; nothing "
                "was written. Next: name a folder (ID:PATH), or give --include"
            )
        return Start(b"", None, root_content(root))
    if found.entry.kind == tree.DIRECTORY:
        return Start(found.path, found, content_of(found.entry))
    return Start(found.path.rpartition(b"/")[0], None, None, found)


def _outcome(
    repository: Repository,
    context: Context,
    snapshot: Snapshot,
    start: Start,
    options: RestoreOptions,
) -> Outcome:
    place = start.path or b"/" if options.target is None else options.target
    whole = not (start.path or start.only or options.include or options.exclude)
    whole = whole and not (options.include_any_case or options.exclude_any_case)
    counts = snapshot.facts.counts
    return Outcome(
        context,
        repository.surroundings,
        start.path,
        absolute(place),
        f"{names.SNAPSHOTS}/{snapshot.id()}",
        counts.files if whole else None,
        counts.bytes if whole else None,
    )


class _Walk:
    """Goes through the snapshot, folder by folder, each before what lies in it."""

    def __init__(
        self, trees: TreeReader, snapshot: Snapshot, outcome: Outcome, options: RestoreOptions
    ) -> None:
        self._trees = trees
        self._covered = frozenset(snapshot.root.paths if snapshot.root is not None else ())
        self._outcome = outcome
        self._options = options
        self._check = outcome.context.cancel.check
        self._filter = PathFilter.of(
            options.include,
            options.include_any_case,
            options.exclude,
            options.exclude_any_case,
        )
        self._choosy = bool(self._filter.include or self._filter.exclude)
        self._levels: list[Level] = []
        self._where = bytearray()
        self._listings = Listings(trees)
        self._names: OwnerNames = ({}, {})
        self._owners = Owners()
        self._moved = self._owners.moved()
        self._target: Target | None = None
        self._writer: FileWriter | None = None

    def run(self, start: Start, stack: ExitStack) -> None:
        """Restores all that is meant; what it opens is closed by `stack`."""
        options, outcome = self._options, self._outcome
        there = _is_there(outcome.target)
        if there or not options.dry_run:
            rights = TargetOptions(options.privileged, finished=start.folder is not None)
            self._target = stack.enter_context(Target(outcome.target, rights, outcome.problem))
        comparer = Comparer(self._trees, ChunkLists(self._trees), self._check)
        if self._target is not None and not options.dry_run:
            self._writer = stack.enter_context(
                FileWriter(self._target, self._trees, comparer, outcome, options)
            )
        self._placer = EntryPlacer(self._target, self._writer, comparer, outcome, options)
        self._begin(start, fresh=not there)
        while self._levels:
            level = self._levels[-1]
            del self._where[level.path_bytes :]
            entry = self._take(level)
            if entry is None:
                self._leave(level)
            elif isinstance(entry, Files):
                assert self._writer is not None
                self._writer.add_files(level.path(self._where), entry)
            else:
                self._visit(level, entry)
        if self._writer is not None:
            self._writer.flush()
        if self._target is not None and not options.dry_run:
            self._target.complete()

    def _begin(self, start: Start, fresh: bool) -> None:
        """The first level: the target, which gets metadata if a restore made it, or in place."""
        top = Level(0, None, chosen=True, covered=self._is_covered(start.path), fresh=fresh)
        top.made = True
        if self._target is not None:
            top.place(self._target.make_folder(b"", replace=False))
            top.folds = self._target.may_fold(b"")
        unfinished = self._target is not None and self._target.unfinished
        if start.folder is not None and (fresh or unfinished or self._options.in_place):
            found = start.folder.tree
            owners = self._translate((found.users, found.groups))
            top.wanted = metadata_of(start.folder.entry, owners)
        self._levels.append(top)
        if start.only is not None:
            only = start.only
            top.covered = False
            top.owners = self._translate((only.tree.users, only.tree.groups))
            self._fill(top, iter((only.entry,)))
        elif start.content is not None:
            self._read(top, start.content)

    def _is_covered(self, path: bytes) -> bool:
        """Whether the folder lies in one of the paths that were backed up."""
        while path:
            if path in self._covered:
                return True
            path = path.rpartition(b"/")[0]
        return b"/" in self._covered

    def _read(self, level: Level, content: Content) -> None:
        self._check()
        try:
            listing = self._listings.open(content)
            level.owners = self._translate(listing.owners)
            self._fill(level, self._in_order(level, listing))
        except MediumGoneError:
            raise
        except (DamageError, StorageError) as error:
            self._lost(level, error)

    def _fill(self, level: Level, entries: Iterator[Entry | Files]) -> None:
        if self._options.delete:
            level.names = set()
        level.begin(entries)

    def _in_order(self, level: Level, listing: Listing) -> Iterator[Entry | Files]:
        """What the folder has; small files many at a time where nothing is to be asked of each."""
        if self._choosy or self._writer is None or not level.in_bulk():
            return listing.entries()
        return listing.planned(rules_of(level, self._moved, self._options))

    def _take(self, level: Level) -> Entry | Files | None:
        try:
            return level.take()
        except MediumGoneError:
            raise
        except (DamageError, StorageError) as error:
            self._lost(level, error)
            return None

    def _lost(self, level: Level, error: Exception) -> None:
        level.whole = False
        level.begin(iter(()))
        path = self._outcome.path(level.path(self._where)).rstrip(FOLDER) + FOLDER
        self._outcome.lost(path, self._outcome.snapshot, str(error), LOST_FOLDER)

    def _translate(self, names: OwnerNames) -> Owners:
        """The owners of a tree; one object for all trees that name the same."""
        if self._options.numeric_owner:
            return self._owners
        if names is not self._names:
            self._names, self._owners = names, Owners(*names)
            self._moved = self._owners.moved()
        return self._owners

    def _visit(self, level: Level, entry: Entry) -> None:
        """One entry: placed if it was chosen; gone into if something in it may be."""
        is_folder = entry.kind == tree.DIRECTORY
        folder = level.path(self._where)
        chosen, below = True, is_folder
        if self._choosy:
            path = joined(folder, entry.name) if folder else entry.name
            chosen, below = self._filter.judge(b"/" + path, is_folder)
        if is_folder:
            if below:
                self._enter(level, entry, chosen)
        elif chosen and self._make_all():
            self._placer.place(level, folder, entry)

    def _enter(self, above: Level, entry: Entry, chosen: bool) -> None:
        if self._where:
            self._where += b"/"
        self._where += entry.name
        level = Level(
            len(self._where),
            metadata_of(entry, above.owners),
            chosen,
            above.covered or self._outcome.source + b"/" + self._where in self._covered,
        )
        self._levels.append(level)
        if chosen and not self._make_all():
            return
        if entry.flags & tree.INCOMPLETE:
            level.whole = False
            self._placer.warn_incomplete(level.path(self._where), b"")
        self._read(level, content_of(entry))

    def _make_all(self) -> bool:
        """Whether all folders down to the current one are there; else none of it is gone into."""
        number = len(self._levels)
        while not self._levels[number - 1].made:
            number -= 1
        while number < len(self._levels):
            if not self._make(self._levels[number - 1], self._levels[number]):
                del self._levels[number:]
                return False
            number += 1
        return True

    def _make(self, above: Level, level: Level) -> bool:
        """Whether the folder is there now; noted if it cannot be."""
        path = level.path(self._where)
        folder, _, name = path.rpartition(b"/")
        operation = "create"
        try:
            if self._placer.is_taken(above, folder, name):
                return False
            found = self._placer.look(above, folder, name)
            is_there = found is not None and stat.S_ISDIR(found.mode)
            if is_there:
                operation = "open"
            elif found is not None and not self._placer.may_replace(found, level.mtime):
                raise OSError(errno.ENOTDIR, "")
            if self._target is not None and self._writer is not None:
                level.place(self._target.make_folder(path, replace=found is not None))
            if self._target is not None and (is_there or self._writer is not None):
                level.folds = self._target.may_fold(path)
        except OSError as failure:
            self._outcome.failed(folder, name, operation, failure)
            return False
        level.made, level.fresh = True, not is_there
        return True

    def _leave(self, level: Level) -> None:
        self._levels.pop()
        if not level.made:
            return
        if level.names is not None and level.covered and level.whole and not level.fresh:
            self._delete_others(level, level.names)
        if level.wanted is None:
            return
        if self._writer is not None:
            self._writer.add_folder(level.placed(self._where), level.wanted)
        else:
            self._outcome.folders += 1

    def _delete_others(self, level: Level, names_kept: set[bytes]) -> None:
        """Removes what the snapshot does not have in a folder, as far as it was chosen.

        Where the target folds, a name that it may take for one of the snapshot's stays.
        """
        assert self._target is not None
        folder = level.path(self._where)
        stays = set(map(folded, names_kept)) if level.folds else set[str]()
        try:
            records, found = self._target.entries(folder)
        except OSError as failure:
            self._outcome.failed(folder, b"", "list", failure)
            return
        for name in records_of.split_names(records, found):
            path = joined(folder, name) if folder else name
            if name in names_kept or not self._filter.judge(b"/" + path, False)[0]:
                continue
            if stays and folded(name) in stays:
                continue
            if self._options.dry_run or self._target.remove(folder, name):
                self._outcome.deleted(folder, name)


def _is_there(path: bytes) -> bool:
    """Whether the target exists, whatever it is: a link, or what no target can be, does too."""
    try:
        descriptor = open_directory(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    os.close(descriptor)
    return True
