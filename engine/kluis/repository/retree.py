"""A snapshot's trees made anew without some of their entries; what did not change is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from kluis._native.cut import Cutter
from kluis.events import Cancel
from kluis.format import tree
from kluis.format.crypt import digest
from kluis.format.frame import TREE
from kluis.format.tree import Entry, Extent, Tree
from kluis.format.usemap import FrameSet, ranges_of
from kluis.options import LEVEL_AUTO
from kluis.repository.access import Repository, read_private
from kluis.repository.collector import list_packs
from kluis.repository.content import Content, ContentBuilder, chunk_keys
from kluis.repository.dedup import open_dedup, usable_frames
from kluis.repository.durable import reliable
from kluis.repository.index import Index
from kluis.repository.refill import refill
from kluis.repository.run import Run
from kluis.repository.trees import TreeReader, content_of
from kluis.repository.uploader import Uploader
from kluis.repository.writer import RunWriter

Frame = tuple[bytes, int]
Leaves = Callable[[bytes, Entry], bool]
StoreTree = Callable[[bytes], tuple[Content, set[Frame]]]


@dataclass
class Tally:
    """What the new trees hold, and the frames that they need."""

    files: int = 0
    directories: int = 1  # the root
    others: int = 0
    size: int = 0
    left_out: int = 0
    frames: dict[bytes, set[int]] = field(default_factory=dict)

    def use(self, run: bytes, n: int) -> None:
        """Adds a frame to the use map."""
        if run != tree.HOLE_RUN:
            self.frames.setdefault(run, set()).add(n)

    def use_map(self) -> FrameSet:
        """The frames of all extents, the trees' own included."""
        return {run: ranges_of(numbers) for run, numbers in self.frames.items()}


@dataclass
class _Level:
    """A folder on the way down."""

    content: Content
    listing: Tree
    entries: Iterator[Entry]
    path_bytes: int
    kept: list[Entry] = field(default_factory=list)
    changed: bool = False
    entered: Entry | None = None


@dataclass
class Rebuild:
    """Walks the trees once, deepest first to finish, and stores anew those that changed."""

    trees: TreeReader
    leaves_out: Leaves
    store: StoreTree
    cancel: Cancel
    tally: Tally = field(default_factory=Tally)

    def run(self, top: Content) -> Content:
        """Where the new tree of `/` lies; `top` itself if nothing was left out."""
        where = bytearray()
        levels = [self._enter(top, where)]
        while True:
            level = levels[-1]
            del where[level.path_bytes :]
            entry = next(level.entries, None)
            if entry is None:
                content = self._finish(levels.pop())
                if not levels:
                    return content
                self._take_folder(levels[-1], content)
                continue
            where += b"/" + entry.name
            if self.leaves_out(bytes(where), entry):
                level.changed = True
                self.tally.left_out += 1
            elif entry.kind == tree.DIRECTORY:
                level.entered = entry
                levels.append(self._enter(content_of(entry), where))
            else:
                level.kept.append(entry)
                self._count(entry)

    def _enter(self, content: Content, where: bytearray) -> _Level:
        self.cancel.check()
        listing = self.trees.tree(content)
        return _Level(content, listing, iter(listing.entries), len(where))

    def _take_folder(self, level: _Level, content: Content) -> None:
        entry = level.entered
        assert entry is not None
        self.tally.directories += 1
        if content != content_of(entry):
            level.changed = True
            flags = entry.flags & ~tree.LISTED | (tree.LISTED if content.listed else 0)
            entry = replace(
                entry,
                size=content.size,
                digest=content.digest,
                extents=content.extents,
                flags=flags,
            )
        level.kept.append(entry)

    def _count(self, entry: Entry) -> None:
        if entry.kind != tree.FILE:
            self.tally.others += 1
            return
        self.tally.files += 1
        self.tally.size += entry.size
        self._use(content_of(entry))

    def _use(self, content: Content) -> None:
        for extent in content.extents:
            self.tally.use(extent.run, extent.n)
        if content.listed:
            for _, extents in self.trees.blocks(content):
                for extent in extents:
                    self.tally.use(extent.run, extent.n)

    def _finish(self, level: _Level) -> Content:
        if not level.changed:
            self._use(level.content)
            return level.content
        users = {entry.uid for entry in level.kept}
        groups = {entry.gid for entry in level.kept}
        data = tree.encode(
            Tree(
                tuple(level.kept),
                {uid: name for uid, name in level.listing.users.items() if uid in users},
                {gid: name for gid, name in level.listing.groups.items() if gid in groups},
            )
        )
        content, frames = self.store(data)
        for run, n in frames:
            self.tally.use(run, n)
        return content


def only_measure(data: bytes) -> tuple[Content, set[Frame]]:
    """Stores nothing: for a dry run, where a tree needs to differ and no more."""
    return Content(len(data), digest(data), ()), set()


class TreeStore:
    """Stores trees for one run. To be closed; what `flush` did not store does not count."""

    def __init__(self, repository: Repository, index: Index, run: Run) -> None:
        state, machine = repository.ledger.state, repository.surroundings
        self._dedup = open_dedup(repository.cache)
        refill(repository, index, self._dedup)
        good = reliable(repository, index, list_packs(repository))
        self._dedup.allow(usable_frames(index, state, good))
        self._keys = chunk_keys(run.domain.dedup())
        sizes = dict(read_private(repository).chunk_sizes)["default"]
        self._cutter = Cutter(self._keys.cut_table, sizes.minimum, sizes.average, sizes.maximum)
        self._alive = repository.cache.begin_run(run.id)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kluis")
        client = repository.cache.client(machine)
        self.uploader = Uploader(repository.storage, run, client, machine, self._pool)
        self.uploader.durable = lambda listed: self._dedup.learn(run.id, listed)
        self.writer = RunWriter(
            run, self._keys, self._dedup, self.uploader, self._pool, machine, LEVEL_AUTO
        )

    def store(self, data: bytes) -> tuple[Content, set[Frame]]:
        """Where an encoded tree lies now, and in which frames."""
        builder = ContentBuilder(self._keys, self._dedup.runs, self._store_list)
        builder.add(self._chunks(data))
        return builder.finish(), builder.frames

    def flush(self) -> None:
        """All that was stored is durable and listed."""
        self.writer.flush()

    def close(self) -> None:
        """Ends the threads and the cache; the mark of the run stays until its end is known."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._dedup.close()
        self._alive.abandon()

    def _chunks(self, data: bytes) -> bytes:
        return self.writer.store(TREE, data, self._cutter.cut(memoryview(data), True))

    def _store_list(self, data: bytes) -> tuple[Extent, ...]:
        return tuple(extent for _, extent in self.writer.extents(self._chunks(data)))
