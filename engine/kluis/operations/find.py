"""Find: names and paths in many snapshots, or the files that have bytes in a pack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from kluis.errors import DamageError, NotFoundError, UsageError
from kluis.events import Context
from kluis.format import names, tree
from kluis.format.crypt import digest
from kluis.format.tree import Entry, Extent, Tree
from kluis.format.usemap import contains
from kluis.listing import FoundEntry, SnapshotInfo
from kluis.options import FindOptions
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.index import Index
from kluis.repository.listing import Losses, Readers, Visited, mtime_ns, root_of
from kluis.repository.selection import choose, describe
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import TreeReader, content_of, root_content
from kluis.results import FindResult
from kluis.source.patterns import Patterns

PACK_CHARACTERS = 4
# Folders without a match that are remembered, 16 bytes each: of most snapshots most are the same.
BARREN_LIMIT = 500_000

Frame = tuple[bytes, int]


def find(repository: Repository, options: FindOptions, context: Context) -> FindResult:
    """All matches, snapshot by snapshot, oldest first."""
    if not options.patterns and not options.packs:
        raise UsageError("nothing to find was named: give a pattern or a pack")
    chosen, problems = choose(repository, options.snapshots, options.filter)
    losses = Losses()
    losses.snapshots(problems)
    readers = Readers(repository, context)
    packs = _frames_of(readers.index, options.packs) if options.packs else None
    search = Search(options, _patterns(options), packs, losses, context)
    infos = describe(repository, chosen)
    return FindResult(_matches(search, readers, list(zip(chosen, infos, strict=True))))


def _matches(
    search: Search, readers: Readers, snapshots: list[tuple[Snapshot, SnapshotInfo]]
) -> Iterator[FoundEntry]:
    for snapshot, info in snapshots:
        if search.packs is not None and not _uses(snapshot, search.packs):
            continue
        yield from search.run(readers.of(snapshot), snapshot, info)
    search.losses.raise_any()


def _patterns(options: FindOptions) -> Patterns | None:
    """A `!` has no meaning here, as no pattern takes back what another finds."""
    if not options.patterns:
        return None
    literal = [b"\\" + item if item.startswith(b"!") else item for item in options.patterns]
    return Patterns(literal, options.any_case)


def _frames_of(index: Index, packs: tuple[str, ...]) -> dict[Frame, str]:
    """The frames that lie in these packs, each with its pack's id."""
    found: dict[Frame, str] = {}
    for word in packs:
        wanted = word.rstrip("/").rpartition("/")[2].lower()
        places = [
            place
            for place in index.packs
            if len(wanted) >= PACK_CHARACTERS and names.base32(place.digest).startswith(wanted)
        ]
        if not places:
            raise NotFoundError(
                f"no pack that is listed here is called {word!r}: give at least "
                f"{PACK_CHARACTERS} characters of its name below packs/"
            )
        for place in places:
            for group in place.groups:
                for n in range(group.first_n, group.first_n + len(group.stored) // 4):
                    found[group.run, n] = names.base32(place.digest)
    return found


def _uses(snapshot: Snapshot, packs: dict[Frame, str]) -> bool:
    uses = snapshot.facts.uses
    return any(contains(uses.get(run, ()), n) for run, n in packs)


@dataclass(slots=True)
class _Level:
    entries: Iterator[Entry]
    tree: Tree
    path_bytes: int
    key: bytes
    found_before: int


@dataclass
class Search:
    """One search, over one snapshot after the other."""

    options: FindOptions
    patterns: Patterns | None
    packs: dict[Frame, str] | None
    losses: Losses
    context: Context
    _snapshot: str = ""
    _found: int = 0
    _barren: set[bytes] = field(default_factory=set)

    def run(
        self, trees: TreeReader, snapshot: Snapshot, info: SnapshotInfo
    ) -> Iterator[FoundEntry]:
        """The matches in one snapshot; folders known to hold none are not read again."""
        self._snapshot = info.id
        where = bytearray()
        top = self._enter(trees, where, root_content(root_of(snapshot)))
        levels = [top] if top is not None else []
        while levels:
            level = levels[-1]
            del where[level.path_bytes :]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop()
                if self._found == level.found_before and len(self._barren) < BARREN_LIMIT:
                    self._barren.add(level.key)
                continue
            where += b"/" + entry.name
            path = bytes(where)
            for pack in self._packs_of(trees, path, entry):
                self._found += 1
                visited = Visited(path, entry, level.tree)
                yield FoundEntry(info, visited.listed(), pack)
            if entry.kind == tree.DIRECTORY and self._may_be_below(path):
                deeper = self._enter(trees, where, content_of(entry))
                if deeper is not None:
                    levels.append(deeper)

    def _enter(self, trees: TreeReader, where: bytearray, content: Content) -> _Level | None:
        self.context.cancel.check()
        key = digest(content.digest + where)[:16]
        if key in self._barren:
            return None
        try:
            listing = trees.tree(content)
        except DamageError as error:
            self.losses.folder(bytes(where), self._snapshot, error)
            self._found += 1  # nobody knows what it holds: it is not barren
            return None
        return _Level(iter(listing.entries), listing, len(where), key, self._found)

    def _may_be_below(self, path: bytes) -> bool:
        return self.patterns is None or self.patterns.may_match_below(os.fsdecode(path))

    def _packs_of(self, trees: TreeReader, path: bytes, entry: Entry) -> list[str]:
        """Empty unless the entry matches; else the packs it was found by, or one empty word."""
        if self.patterns is not None and not self.patterns.matches(os.fsdecode(path)):
            return []
        newer, older = self.options.newer_than_ns, self.options.older_than_ns
        if newer is not None and mtime_ns(entry) < newer:
            return []
        if older is not None and mtime_ns(entry) > older:
            return []
        if self.packs is None:
            return [""]
        packs = {self.packs.get((extent.run, extent.n), "") for extent in entry.extents}
        if entry.flags & tree.LISTED:
            for extent in self._listed(trees, path, entry):
                packs.add(self.packs.get((extent.run, extent.n), ""))
        return sorted(packs - {""})

    def _listed(self, trees: TreeReader, path: bytes, entry: Entry) -> Iterator[Extent]:
        """The extents of a long file; one whose list is lost is told of, and found anyway."""
        try:
            for _, extents in trees.blocks(content_of(entry)):
                yield from extents
        except DamageError as error:
            self.losses.folder(path, self._snapshot, error)
