"""The entries of snapshots in the order of a walk: what ls, find, diff, dump and stats share.

No recursion and no path kept per level, so that 10,000 levels of folders cost little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from kluis.errors import DamageError, NotFoundError, RefusedError
from kluis.events import Cancel, Context
from kluis.format import tree
from kluis.format.snapshot import Root
from kluis.format.tree import Entry, Tree
from kluis.frozen import frozen, mutable, slotted
from kluis.listing import EntryKind, ListedEntry
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.index import Index, load_index
from kluis.repository.losses import Losses as Losses
from kluis.repository.losses import lost_snapshots as lost_snapshots
from kluis.repository.losses import shown as shown
from kluis.repository.reader import warn_of_rebuilt
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import TreeReader, content_of, open_trees, root_content

KIND_NAMES: dict[int, EntryKind] = {
    tree.FILE: "file",
    tree.DIRECTORY: "dir",
    tree.SYMLINK: "symlink",
    tree.FIFO: "fifo",
    tree.SOCKET: "socket",
    tree.CHARACTER_DEVICE: "chardev",
    tree.BLOCK_DEVICE: "blockdev",
}
NS_PER_SECOND = 1_000_000_000

Enter = Callable[[bytes, Entry], bool]


@frozen
class Visited:
    """An entry with its whole path and the tree that lists it, which names its owner."""

    path: bytes
    entry: Entry
    tree: Tree

    def listed(self) -> ListedEntry:
        """The entry as a list shows it."""
        return listed_entry(self.path, self.entry, self.tree)


class Readers:
    """One tree reader a domain, over one index; tells of packs that it has to rebuild."""

    def __init__(self, repository: Repository, context: Context) -> None:
        self._repository = repository
        self._context = context
        self._index: Index | None = None
        self._readers: dict[bytes, TreeReader] = {}

    @property
    def index(self) -> Index:
        """Where frames lie, read once."""
        if self._index is None:
            repository = self._repository
            self._index = load_index(
                repository.storage, repository.session, repository.ledger.state
            )
        return self._index

    def of(self, snapshot: Snapshot) -> TreeReader:
        """The reader for what this snapshot holds."""
        domain = snapshot.certificate.domain
        if domain not in self._readers:
            trees = open_trees(self._repository, domain, self.index)
            trees.frames.damaged = partial(warn_of_rebuilt, self._context)
            self._readers[domain] = trees
        return self._readers[domain]


def root_of(snapshot: Snapshot) -> Root:
    """Where the snapshot's files begin; `RefusedError` for keys that do not read content."""
    if snapshot.root is None:
        raise RefusedError(
            f"this key does not read what snapshot {snapshot.id()} holds; nothing was changed. "
            "Next: use a key of a role that may"
        )
    return snapshot.root


def locate(trees: TreeReader, root: Root, path: bytes) -> Visited | None:
    """What lies at a path; None for `/` itself. `NotFoundError` names what is missing."""
    content, done = root_content(root), b""
    found: Visited | None = None
    for name in parts_of(path):
        if found is not None and found.entry.kind != tree.DIRECTORY:
            raise NotFoundError(f"{shown(done)} is not a folder in this snapshot")
        done += b"/" + name
        listing = trees.tree(content)
        entry = next((entry for entry in listing.entries if entry.name == name), None)
        if entry is None:
            raise NotFoundError(
                f"there is no {shown(done)} in this snapshot. Next: kluis ls SNAPSHOT"
            )
        found = Visited(done, entry, listing)
        content = content_of(entry)
    return found


def parts_of(path: bytes) -> list[bytes]:
    """The names that a path goes through."""
    return [part for part in path.split(b"/") if part not in (b"", b".")]


@slotted
class _Level:
    entries: Iterator[Entry]
    tree: Tree
    path_bytes: int


@mutable
class Walk:
    """Visits what lies in a folder of a snapshot, each folder before what is in it."""

    trees: TreeReader
    losses: Losses
    cancel: Cancel
    snapshot: str = ""

    def below(self, path: bytes, content: Content, enter: Enter) -> Iterator[Visited]:
        """Everything below the folder at `path`; goes into those that `enter` wants.

        A folder that cannot be read goes to `losses`, and the walk goes on.
        """
        where = bytearray(path.rstrip(b"/"))
        levels = [self._level(where, content)]
        while levels:
            level = levels[-1]
            del where[level.path_bytes :]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop()
                continue
            where += b"/" + entry.name
            whole = bytes(where)
            yield Visited(whole, entry, level.tree)
            if entry.kind == tree.DIRECTORY and enter(whole, entry):
                levels.append(self._level(where, content_of(entry)))

    def _level(self, where: bytearray, content: Content) -> _Level:
        self.cancel.check()
        try:
            listing = self.trees.tree(content)
        except DamageError as error:
            self.losses.folder(bytes(where), self.snapshot, error)
            listing = Tree(())
        return _Level(iter(listing.entries), listing, len(where))


def everywhere(path: bytes, entry: Entry) -> bool:  # noqa: ARG001 - as `Enter` wants it
    """Goes into every folder."""
    return True


def listed_entry(path: bytes, entry: Entry, listing: Tree) -> ListedEntry:
    """What a list shows of an entry."""
    device = entry.kind in tree.DEVICES
    return ListedEntry(
        path=path,
        kind=KIND_NAMES[entry.kind],
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        user=listing.users.get(entry.uid, ""),
        group=listing.groups.get(entry.gid, ""),
        size=entry.size if entry.kind == tree.FILE else 0,
        mtime_ns=mtime_ns(entry),
        # Some file systems that keep none say 0 instead.
        birth_ns=None
        if entry.birth_ns == tree.NO_BIRTH or not (entry.birth_s or entry.birth_ns)
        else entry.birth_s * NS_PER_SECOND + entry.birth_ns,
        inode=entry.inode,
        target=entry.link,
        device=entry.device if device else 0,
    )


def mtime_ns(entry: Entry) -> int:
    """When the entry was changed last."""
    return entry.mtime_s * NS_PER_SECOND + entry.mtime_ns
