"""Which files of which snapshots need frames that are damaged or gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kluis.errors import DamageError, RefusedError
from kluis.format import tree
from kluis.format.tree import Entry
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.index import Index
from kluis.repository.snapshots import Snapshot, load_all
from kluis.repository.trees import TreeReader, content_of, open_trees, root_content

Frame = tuple[bytes, int]


@dataclass
class Affected:
    """Finds the paths that use any of some frames; trees seen once are not read again."""

    repository: Repository
    index: Index
    frames: set[Frame]
    _seen: set[bytes] = field(default_factory=set)

    def paths(self) -> list[tuple[bytes, str]]:
        """(path, snapshot id), each path once, with the newest snapshot that has it so."""
        found: dict[bytes, str] = {}
        snapshots, _ = load_all(self.repository)
        for snapshot in reversed(snapshots):
            if snapshot.root is None:
                continue
            try:
                trees = open_trees(self.repository, snapshot.certificate.domain, self.index)
            except RefusedError:
                continue
            for path in self._in(trees, snapshot):
                found.setdefault(path, snapshot.id())
        return sorted(found.items())

    def _in(self, trees: TreeReader, snapshot: Snapshot) -> Iterator[bytes]:
        assert snapshot.root is not None
        pending: list[tuple[bytes, Content]] = [(b"", root_content(snapshot.root))]
        while pending:
            path, content = pending.pop()
            if content.digest in self._seen:
                continue
            self._seen.add(content.digest)
            try:
                entries = trees.tree(content).entries
            except DamageError:
                yield path or b"/"
                continue
            for entry in entries:
                whole = path + b"/" + entry.name
                if entry.kind == tree.DIRECTORY:
                    pending.append((whole, content_of(entry)))
                elif self._needs(trees, entry):
                    yield whole

    def _needs(self, trees: TreeReader, entry: Entry) -> bool:
        if any((extent.run, extent.n) in self.frames for extent in entry.extents):
            return True
        if not entry.flags & tree.LISTED:
            return False
        try:
            return any(
                (extent.run, extent.n) in self.frames
                for _, extents in trees.blocks(content_of(entry))
                for extent in extents
            )
        except DamageError:
            return True
