"""Which files of which snapshots need frames that are damaged or gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kluis.errors import DamageError, RefusedError
from kluis.format import tree
from kluis.format.tree import Entry, Extent
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.index import Index
from kluis.repository.snapshots import Snapshot, load_all
from kluis.repository.trees import TreeReader, content_of, open_trees, root_content

Frame = tuple[bytes, int]


# What the path of a lost folder ends with: nobody can tell what was in it.
FOLDER = b"/"


def counted(paths: Sequence[bytes]) -> str:
    """How many files these are, and how many whole folders."""
    folders = sum(path.endswith(FOLDER) for path in paths)
    files = len(paths) - folders
    words = [f"{files} file{'s' * (files != 1)}"] if files or not folders else []
    if folders == 1:
        words.append("1 folder with all that is in it")
    elif folders:
        words.append(f"{folders} folders with all that is in them")
    return " and ".join(words)


@dataclass
class Affected:
    """Finds the paths that use any of some frames; trees seen once are not read again."""

    repository: Repository
    index: Index
    frames: set[Frame]
    _seen: set[tuple[bytes, bytes]] = field(default_factory=set)

    def paths(self) -> list[tuple[bytes, str]]:
        """(path, snapshot id), each path once, with the newest snapshot that has it so."""
        return sorted((path, identity) for path, (identity, _) in self._find().items())

    def hits(self) -> dict[bytes, frozenset[Frame]]:
        """Path -> which of the frames it needs; sorted by path."""
        return {path: frozenset(frames) for path, (_, frames) in sorted(self._find().items())}

    def _find(self) -> dict[bytes, tuple[str, set[Frame]]]:
        found: dict[bytes, tuple[str, set[Frame]]] = {}
        snapshots, _ = load_all(self.repository)
        for snapshot in reversed(snapshots):
            if snapshot.root is None:
                continue
            try:
                trees = open_trees(self.repository, snapshot.certificate.domain, self.index)
            except RefusedError:
                continue
            for path, frames in self._in(trees, snapshot):
                found.setdefault(path, (snapshot.id(), set()))[1].update(frames)
        return found

    def _in(self, trees: TreeReader, snapshot: Snapshot) -> Iterator[tuple[bytes, set[Frame]]]:
        assert snapshot.root is not None
        pending: list[tuple[bytes, Content]] = [(b"", root_content(snapshot.root))]
        while pending:
            path, content = pending.pop()
            # The same folder may lie at several paths, and all of them are to be named.
            if (path, content.digest) in self._seen:
                continue
            self._seen.add((path, content.digest))
            try:
                entries = trees.tree(content).entries
            except DamageError:
                yield path + FOLDER, self._among(content.extents)
                continue
            for entry in entries:
                whole = path + b"/" + entry.name
                if entry.kind == tree.DIRECTORY:
                    pending.append((whole, content_of(entry)))
                elif frames := self._needed(trees, entry):
                    yield whole, frames

    def _needed(self, trees: TreeReader, entry: Entry) -> set[Frame]:
        """The frames that a file needs, of those looked for."""
        found = self._among(entry.extents)
        if entry.flags & tree.LISTED:
            try:
                for _, extents in trees.blocks(content_of(entry)):
                    found |= self._among(extents)
            except DamageError:
                pass  # then its list lies in one of them
        return found

    def _among(self, extents: tuple[Extent, ...]) -> set[Frame]:
        return {(extent.run, extent.n) for extent in extents} & self.frames
