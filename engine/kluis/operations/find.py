"""Find: names and paths in many snapshots, or the files that have bytes in a pack."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kluis.errors import DamageError, NotFoundError, UsageError
from kluis.events import Context
from kluis.format import names, tree
from kluis.format.crypt import digest
from kluis.format.skim import Skimmed
from kluis.format.tree import Entry, Extent
from kluis.format.usemap import contains
from kluis.frozen import field, mutable, slotted
from kluis.listing import FoundEntry, ListedEntry, SnapshotInfo
from kluis.options import FindOptions
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.index import Index
from kluis.repository.listing import Readers, listed_entry, mtime_ns, root_of
from kluis.repository.losses import Losses
from kluis.repository.selection import choose, describe
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import TreeReader, content_of, root_content
from kluis.results import FindResult
from kluis.source.patterns import Patterns

PACK_CHARACTERS = 4
# Folders without a match that are remembered, 16 bytes each: of most snapshots most are the same.
BARREN_LIMIT = 500_000
# What was found in folders and is remembered, some 600 bytes each.
KNOWN_LIMIT = 30_000

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


# Of one name in a folder: what it was found as (entry, pack), and what lies below it.
_Item = tuple[bytes, tuple[tuple[ListedEntry, str], ...], Content | None]


@slotted
class _Level:
    items: Iterator[_Item]
    path_bytes: int
    key: bytes
    found_before: int
    # Items at or below which something was found: all that the next snapshot has to look at.
    kept: list[_Item] = field(default_factory=list)
    last: _Item | None = None
    last_before: int = 0


@mutable
class Search:
    """One search, over one snapshot after the other.

    A folder with the same content at the same path is looked at once: of those without a
    match it is known that there is none, of the others what was found.
    """

    options: FindOptions
    patterns: Patterns | None
    packs: dict[Frame, str] | None
    losses: Losses
    context: Context
    _snapshot: str = ""
    _found: int = 0
    _barren: set[bytes] = field(default_factory=set)
    _known: dict[bytes, tuple[_Item, ...]] = field(default_factory=dict)
    _known_items: int = 0

    def run(
        self, trees: TreeReader, snapshot: Snapshot, info: SnapshotInfo
    ) -> Iterator[FoundEntry]:
        """The matches in one snapshot."""
        self._snapshot = info.id
        where = bytearray()
        top = self._enter(trees, where, root_content(root_of(snapshot)))
        levels = [top] if top is not None else []
        while levels:
            level = levels[-1]
            del where[level.path_bytes :]
            if level.last is not None and self._found > level.last_before:
                level.kept.append(level.last)
            level.last, level.last_before = next(level.items, None), self._found
            if level.last is None:
                self._leave(levels.pop())
                continue
            name, hits, below = level.last
            where += b"/" + name
            for entry, pack in hits:
                self._found += 1
                yield FoundEntry(info, entry, pack)
            if below is not None:
                deeper = self._enter(trees, where, below)
                if deeper is not None:
                    levels.append(deeper)

    def _enter(self, trees: TreeReader, where: bytearray, content: Content) -> _Level | None:
        self.context.cancel.check()
        key = digest(content.digest + where)[:16]
        if key in self._barren:
            return None
        items = self._known.get(key)
        if items is None:
            try:
                items = tuple(self._look(trees, bytes(where), content))
            except DamageError as error:
                self.losses.folder(bytes(where), self._snapshot, error)
                self._found += 1  # nobody knows what it holds: it is not barren
                return None
        return _Level(iter(items), len(where), key, self._found)

    def _leave(self, level: _Level) -> None:
        """Remembers what was found at and below a folder."""
        if self._found == level.found_before:
            if len(self._barren) < BARREN_LIMIT:
                self._barren.add(level.key)
        elif level.key not in self._known:
            self._known_items += len(level.kept)
            if self._known_items > KNOWN_LIMIT:
                self._known.clear()
                self._known_items = len(level.kept)
            self._known[level.key] = tuple(level.kept)

    def _look(self, trees: TreeReader, folder: bytes, content: Content) -> Iterator[_Item]:
        """What is found in a folder, and the folders in which more may be."""
        if not content.extents:
            return
        data = trees.data(content)
        skimmed = Skimmed(data)
        texts = [os.fsdecode(name) for name in skimmed.names]
        hits = self._hits(trees, folder, data, self._named(folder, texts))
        folders = set(skimmed.folders)
        above = os.fsdecode(folder) + "/"
        for number in sorted(folders | hits.keys()):
            below = None
            if number in folders and self._may_be_below(above + texts[number]):
                below = Content(*skimmed.content(number))
            if below is not None or number in hits:
                yield skimmed.names[number], hits.get(number, ()), below

    def _named(self, folder: bytes, texts: list[str]) -> list[int]:
        """The numbers of the entries whose names or paths match."""
        patterns, above = self.patterns, os.fsdecode(folder)
        if patterns is None or (folder and patterns.matches(above)):
            return list(range(len(texts)))
        return [n for n, hit in enumerate(patterns.match_names(above, texts)) if hit]

    def _hits(
        self, trees: TreeReader, folder: bytes, data: bytes, numbers: list[int]
    ) -> dict[int, tuple[tuple[ListedEntry, str], ...]]:
        """Of these entries those that are found, each with the packs it was found by."""
        if not numbers:
            return {}
        listing, found = tree.decode(data), {}
        for number in numbers:
            entry = listing.entries[number]
            path = folder + b"/" + entry.name
            packs = self._packs_of(trees, path, entry)
            if packs:
                listed = listed_entry(path, entry, listing)
                found[number] = tuple((listed, pack) for pack in packs)
        return found

    def _may_be_below(self, path: str) -> bool:
        return self.patterns is None or self.patterns.may_match_below(path)

    def _packs_of(self, trees: TreeReader, path: bytes, entry: Entry) -> list[str]:
        """The packs that an entry is found by, or one empty word; nothing if it is not."""
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
