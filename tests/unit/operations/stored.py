"""What a snapshot holds, read back through the trees, every byte checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kluis.format import tree
from kluis.format.snapshot import Root
from kluis.format.tree import Entry
from kluis.repository.access import Repository
from kluis.repository.snapshots import Snapshot, resolve
from kluis.repository.trees import TreeReader, content_of, open_trees, root_content
from tests.repositories import Place


@dataclass
class Stored:
    """One snapshot, open."""

    snapshot: Snapshot
    root: Root
    trees: TreeReader

    def entries(self) -> dict[bytes, Entry]:
        """Every entry by its path."""
        found = {}
        pending = [(b"", root_content(self.root))]
        while pending:
            path, content = pending.pop()
            for entry in self.trees.tree(content).entries:
                here = b"%b/%b" % (path, entry.name)
                found[here] = entry
                if entry.kind == tree.DIRECTORY:
                    pending.append((here, content_of(entry)))
        return found

    def read(self, path: bytes) -> bytes:
        """The content of a file."""
        entry = self.trees.find(self.root, path)
        assert entry is not None
        return b"".join(self.trees.stream(content_of(entry)))

    def files(self) -> dict[bytes, bytes]:
        """The content of every file, by path."""
        return {
            path: b"".join(self.trees.stream(content_of(entry)))
            for path, entry in self.entries().items()
            if entry.kind == tree.FILE
        }


def stored(repository: Repository, word: str = "latest") -> Stored:
    """The snapshot that a word means."""
    snapshot = resolve(repository, word)
    assert snapshot.root is not None
    return Stored(snapshot, snapshot.root, open_trees(repository, snapshot.certificate.domain))


def files_of(place: Place, word: str = "latest") -> dict[bytes, bytes]:
    """The content of every file of a snapshot, by its path in the source."""
    with place.open() as repository:
        found = stored(repository, word).files()
    return {path.removeprefix(place.path() + b"/"): content for path, content in found.items()}


def source_files(place: Place) -> dict[bytes, bytes]:
    """The content of every regular file in the source now, by its path there."""
    return dict(_regular(place))


def _regular(place: Place) -> Iterator[tuple[bytes, bytes]]:
    for path in place.source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield bytes(path.relative_to(place.source)), path.read_bytes()
