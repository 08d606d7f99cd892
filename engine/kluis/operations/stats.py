"""Stats: how many files and bytes, as restored, by content, or as stored."""

from __future__ import annotations

from collections.abc import Iterable

from kluis.errors import DamageError
from kluis.events import Context
from kluis.format import tree
from kluis.format.tree import Entry, Extent
from kluis.format.usemap import merge, numbers
from kluis.frozen import field, mutable
from kluis.options import StatsOptions
from kluis.repository.access import Repository
from kluis.repository.listing import Losses, Readers, Walk, root_of
from kluis.repository.selection import choose
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import TreeReader, content_of, root_content
from kluis.results import StatsResult

# Enough of a digest to tell contents apart; it is keyed, so nobody can make two of them meet.
KEPT_DIGEST_BYTES = 16


def stats(repository: Repository, options: StatsOptions, context: Context) -> StatsResult:
    """Totals over the chosen snapshots; `DamageError` if one of them cannot be read."""
    chosen, problems = choose(repository, options.ids, options.filter)
    losses = Losses()
    losses.snapshots(problems)
    losses.raise_any()
    if options.mode == "restore-size":
        counts = [snapshot.facts.counts for snapshot in chosen]
        return StatsResult(
            options.mode,
            len(chosen),
            files=sum(count.files for count in counts),
            size=sum(count.bytes for count in counts),
        )
    readers = Readers(repository, context)
    if options.mode == "raw-data":
        return _stored(readers, chosen)
    found = Contents(losses, context)
    for snapshot in chosen:
        found.add(readers.of(snapshot), snapshot)
    losses.raise_any()
    return StatsResult(
        options.mode,
        len(chosen),
        files=found.files,
        size=found.size,
        frames=found.frames if options.mode == "blobs-per-file" else 0,
    )


def _stored(readers: Readers, chosen: list[Snapshot]) -> StatsResult:
    """What the frames of these snapshots take in the repository, each once."""
    frames = stored = plain = 0
    packs = set()
    for run, ranges in merge(snapshot.facts.uses for snapshot in chosen).items():
        for n in numbers(ranges):
            places = readers.index.locate(run, n)
            if not places:
                raise DamageError(
                    "a frame that a snapshot needs is in no pack that is listed. "
                    "Next: kluis verify, kluis repair"
                )
            frames += 1
            stored += places[0].stored_bytes
            plain += places[0].plain_bytes
            packs.add(places[0].pack)
    return StatsResult(
        "raw-data",
        len(chosen),
        size=stored,
        frames=frames,
        packs=len(packs),
        bytes_stored=stored,
        bytes_plain=plain,
    )


@mutable
class Contents:
    """Different contents in the trees seen so far; a tree that was seen is not read again."""

    losses: Losses
    context: Context
    files: int = 0
    size: int = 0
    frames: int = 0  # in how many each content lies, added up
    _trees: set[bytes] = field(default_factory=set)
    _contents: set[bytes] = field(default_factory=set)

    def add(self, trees: TreeReader, snapshot: Snapshot) -> None:
        """Counts what a snapshot holds that none before it did."""
        walk = Walk(trees, self.losses, self.context.cancel, snapshot.id())
        top = root_content(root_of(snapshot))
        if not self._is_new(self._trees, top.digest):
            return
        for visited in walk.below(b"", top, self._enter):
            entry = visited.entry
            if entry.kind == tree.FILE and self._is_new(
                self._contents, entry.digest[:KEPT_DIGEST_BYTES] + bytes((not entry.extents,))
            ):
                self.files += 1
                self.size += entry.size
                self.frames += _frames(trees, entry)

    def _enter(self, path: bytes, entry: Entry) -> bool:
        return self._is_new(self._trees, entry.digest)

    @staticmethod
    def _is_new(known: set[bytes], digest: bytes) -> bool:
        kept = digest[: KEPT_DIGEST_BYTES + 1]
        if kept in known:
            return False
        known.add(kept)
        return True


def _frames(trees: TreeReader, entry: Entry) -> int:
    return len(
        {(extent.run, extent.n) for extent in _extents(trees, entry) if extent.run != tree.HOLE_RUN}
    )


def _extents(trees: TreeReader, entry: Entry) -> Iterable[Extent]:
    for _, extents in trees.blocks(content_of(entry)):
        yield from extents
