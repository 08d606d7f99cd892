"""A snapshot's trees as what a backup is compared with, in place of the cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import DamageError, NotFoundError
from kluis.format import tree
from kluis.format.tree import HOLE_RUN, Entry
from kluis.operations.archiving.entries import Frame
from kluis.repository.content import Content
from kluis.repository.dedup import are_usable
from kluis.repository.trees import TreeReader, content_of
from kluis.source.records import Record


@dataclass
class ParentFolder:
    """A directory of the snapshot."""

    path: bytes
    content: Content
    entries: dict[bytes, Entry]


@dataclass
class ParentTrees:
    """Finds directories of a snapshot; cheap in the order of a walk."""

    trees: TreeReader
    root: Content
    # (s, ns): what is not older than this may have changed while that snapshot was made.
    before: tuple[int, int]
    _open: list[ParentFolder] = field(default_factory=list)  # from `/` down

    def find(self, path: bytes) -> ParentFolder | None:
        """The directory at a path; None if the snapshot has none there, or it is damaged."""
        while self._open and not _leads_to(self._open[-1].path, path):
            self._open.pop()
        if not self._open and not self._enter(b"/", self.root):
            return None
        while (here := self._open[-1]).path != path:
            at = here.path.rstrip(b"/") + b"/"
            name = path[len(at) :].partition(b"/")[0]
            entry = here.entries.get(name)
            if entry is None or entry.kind != tree.DIRECTORY:
                return None
            if not self._enter(at + name, content_of(entry)):
                return None
        return here

    def _enter(self, path: bytes, content: Content) -> bool:
        try:
            found = self.trees.tree(content).entries
        except (DamageError, NotFoundError):
            return False
        self._open.append(ParentFolder(path, content, {entry.name: entry for entry in found}))
        return True

    def holds(self, entry: Entry, fields: Record) -> bool:
        """True if the file may be taken as the one that the snapshot has.

        Neither its inode nor the time of its last change is known: size and mtime decide.
        """
        mtime = (fields.mtime_s, fields.mtime_ns)
        return (
            entry.kind == tree.FILE
            and not entry.flags & tree.INCOMPLETE
            and entry.size == fields.size
            and (entry.mtime_s, entry.mtime_ns) == mtime
            and mtime < self.before
        )

    def frames(self, entry: Entry, usable: dict[bytes, bytes]) -> set[Frame] | None:
        """The frames that hold the file, its extent list included; None unless all are usable."""
        frames = {(run, n) for run, n, _, _ in entry.extents if run != HOLE_RUN}
        if not are_usable(usable, frames):
            return None
        if entry.flags & tree.LISTED:
            try:
                for _, extents in self.trees.blocks(content_of(entry)):
                    frames |= {(run, n) for run, n, _, _ in extents if run != HOLE_RUN}
            except (DamageError, NotFoundError):
                return None
        return frames if are_usable(usable, frames) else None


def _leads_to(above: bytes, path: bytes) -> bool:
    return above in (b"/", path) or path.startswith(above + b"/")
