"""Diff: what changed from one snapshot to another. Folders with equal digests are not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from kluis.errors import DamageError, UsageError
from kluis.events import Context
from kluis.format import tree
from kluis.format.tree import Entry, Tree
from kluis.frozen import field, frozen, mutable, slotted
from kluis.listing import DiffChange
from kluis.options import DiffOptions, SnapshotFilter
from kluis.repository.access import Repository
from kluis.repository.content import EMPTY, Content
from kluis.repository.listing import Losses, Readers, Visited, listed_entry, locate, root_of, shown
from kluis.repository.selection import describe, pick
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import TreeReader, content_of, root_content
from kluis.results import DiffResult

Change = Literal["added", "removed", "content", "type", "metadata"]
NO_TREE = Tree(())


def diff(repository: Repository, options: DiffOptions, context: Context) -> DiffResult:
    """What differs; paths are those of the second snapshot, below `second_path`."""
    readers = Readers(repository, context)
    first = _side(repository, readers, options.first, options.first_path)
    second = _side(repository, readers, options.second, options.second_path)
    if first.is_folder != second.is_folder:
        raise UsageError(
            f"{shown(options.first_path or b'/')} and {shown(options.second_path or b'/')} are a "
            "folder and something else: there is nothing to compare"
        )
    compare = Compare(first, second, options.metadata, context)
    infos = describe(repository, [first.snapshot, second.snapshot])
    return DiffResult(infos[0], infos[1], compare.run())


@frozen
class Side:
    """One of the two that are compared, and where the comparison begins."""

    snapshot: Snapshot
    trees: TreeReader
    top: Visited | None

    @property
    def is_folder(self) -> bool:
        return self.top is None or self.top.entry.kind == tree.DIRECTORY

    def content(self) -> Content:
        """The tree to begin at."""
        if self.top is None:
            return root_content(root_of(self.snapshot))
        return content_of(self.top.entry)


def _side(repository: Repository, readers: Readers, word: str, path: bytes) -> Side:
    snapshot = pick(repository, word, SnapshotFilter())
    trees = readers.of(snapshot)
    return Side(snapshot, trees, locate(trees, root_of(snapshot), path))


@frozen
class _Pair:
    """A name on both sides, or on one."""

    name: bytes
    old: Entry | None
    new: Entry | None


@slotted
class _Level:
    pairs: Iterator[_Pair]
    old: Tree
    new: Tree
    path_bytes: int


@mutable
class Compare:
    """Goes down both sides at once."""

    first: Side
    second: Side
    metadata: bool
    context: Context
    losses: Losses = field(default_factory=Losses)

    def run(self) -> Iterator[DiffChange]:
        """The changes, folder before content."""
        top = self.second.top
        if not self.first.is_folder and self.first.top is not None and top is not None:
            yield from self._change(
                top.path,
                (self.first.top.entry, top.entry),
                (
                    self.first.top.tree,
                    top.tree,
                ),
            )
            return
        where = bytearray(top.path if top is not None else b"")
        levels: list[_Level] = []
        if not _same(self.first.content(), self.second.content()):
            levels.append(self._enter(where, self.first.content(), self.second.content()))
        while levels:
            level = levels[-1]
            del where[level.path_bytes :]
            pair = next(level.pairs, None)
            if pair is None:
                levels.pop()
                continue
            where += b"/" + pair.name
            yield from self._change(bytes(where), (pair.old, pair.new), (level.old, level.new))
            old, new = _folder(pair.old), _folder(pair.new)
            if (old is not None or new is not None) and not _same(old, new):
                levels.append(self._enter(where, old, new))
        self.losses.raise_any()

    def _enter(self, where: bytearray, old: Content | None, new: Content | None) -> _Level:
        self.context.cancel.check()
        trees = self._read(self.first, where, old), self._read(self.second, where, new)
        if None in trees:
            trees = NO_TREE, NO_TREE  # with one side unknown there is nothing to tell
        before, after = trees[0] or NO_TREE, trees[1] or NO_TREE
        return _Level(_merged(before.entries, after.entries), before, after, len(where))

    def _read(self, side: Side, where: bytearray, content: Content | None) -> Tree | None:
        try:
            return side.trees.tree(content or EMPTY)
        except DamageError as error:
            self.losses.folder(bytes(where), side.snapshot.id(), error)
            return None

    def _change(
        self,
        path: bytes,
        entries: tuple[Entry | None, Entry | None],
        listings: tuple[Tree, Tree],
    ) -> Iterator[DiffChange]:
        change = change_of(*entries, self.metadata)
        if change is not None:
            old, new = (
                listed_entry(path, entry, listing) if entry is not None else None
                for entry, listing in zip(entries, listings, strict=True)
            )
            yield DiffChange(path, change, old, new)


def _folder(entry: Entry | None) -> Content | None:
    return content_of(entry) if entry is not None and entry.kind == tree.DIRECTORY else None


def _same(old: Content | None, new: Content | None) -> bool:
    """Equal digests: the same names, contents and metadata all the way down."""
    return old is not None and new is not None and (old.digest, old.size) == (new.digest, new.size)


def _merged(old: tuple[Entry, ...], new: tuple[Entry, ...]) -> Iterator[_Pair]:
    """Both listings by name; they are sorted."""
    i = j = 0
    while i < len(old) or j < len(new):
        if j == len(new) or (i < len(old) and old[i].name < new[j].name):
            yield _Pair(old[i].name, old[i], None)
            i += 1
        elif i == len(old) or new[j].name < old[i].name:
            yield _Pair(new[j].name, None, new[j])
            j += 1
        else:
            yield _Pair(old[i].name, old[i], new[j])
            i, j = i + 1, j + 1


def change_of(old: Entry | None, new: Entry | None, metadata: bool) -> Change | None:
    """How the two differ; None if they do not, or only in what was not asked for."""
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old.kind != new.kind:
        return "type"
    if old.kind != tree.DIRECTORY and _content(old) != _content(new):
        return "content"
    return "metadata" if metadata and _metadata(old) != _metadata(new) else None


def _content(entry: Entry) -> tuple[object, ...]:
    device = entry.device if entry.kind in tree.DEVICES else 0
    return entry.size, entry.digest, entry.link, device


def _metadata(entry: Entry) -> tuple[object, ...]:
    return (
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime_s,
        entry.mtime_ns,
        entry.xattrs,
        entry.attributes,
    )
