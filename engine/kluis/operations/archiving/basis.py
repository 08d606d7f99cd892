"""What a backup compares with: the cache of the same paths, a snapshot, or nothing."""

from __future__ import annotations

from kluis.errors import UsageError
from kluis.format import crypt, names
from kluis.frozen import frozen
from kluis.operations.archiving.parent import ParentTrees
from kluis.operations.archiving.session import BackupSession
from kluis.options import BackupOptions
from kluis.repository.access import Repository
from kluis.repository.scancache import MARK_BYTES, ScanCache
from kluis.repository.snapshots import Snapshot, resolve
from kluis.repository.trees import open_trees, root_content
from kluis.source.paths import absolute

SECOND_NS = 1_000_000_000
# FAT keeps mtimes of 2 s: within that "same time" does not mean "unchanged".
RACY_NS = 2 * SECOND_NS


@frozen
class Basis:
    """What is compared with. `racy` (s, ns): what is not older is never unchanged next time."""

    cache: ScanCache
    racy: tuple[int, int]
    reread: int = 0  # every n-th directory is read again; 0: none
    snapshot: Snapshot | None = None
    trees: ParentTrees | None = None

    def totals(self) -> tuple[int | None, int | None]:
        """How many files and bytes there were last time, as far as that is known."""
        if self.snapshot is not None:
            counts = self.snapshot.facts.counts
            return counts.files, counts.bytes
        last = self.cache.last
        return (last.files, last.size) if last is not None else (None, None)

    def turn(self) -> int:
        """How often these paths were backed up; says which share of them is read again."""
        return self.cache.last.turn if self.cache.last is not None else 0

    def parent(self) -> str | None:
        """The id of the snapshot that is compared with."""
        if self.snapshot is not None:
            return self.snapshot.id()
        return names.base32(self.cache.head.snapshot) if self.cache.head is not None else None


def find_basis(repository: Repository, options: BackupOptions, session: BackupSession) -> Basis:
    """What these options ask to compare with.

    A cache that is that of the snapshot is preferred to it, since it knows more of each file.
    """
    racy = _instant(repository.cache.kernel_time_ns() - RACY_NS)
    name = _cache_name(options)
    mark = None if options.dry_run else repository.surroundings.random(MARK_BYTES)
    share = options.reread_share
    every = round(1 / share) if share > 0 else 0
    use_old = not options.force and options.stdin is None
    chosen = resolve(repository, options.parent) if options.parent and use_old else None
    cache = ScanCache(repository.cache, name, mark, use_old)
    if chosen is None or (cache.head is not None and cache.head.snapshot == chosen.mark.run):
        return Basis(cache, racy, every)
    if chosen.certificate.domain != session.run.domain.id:
        raise UsageError(
            f"snapshot {chosen.id()} is of another domain, whose data this key cannot build on; "
            "nothing was backed up. Next: leave --parent out"
        )
    cache.ignore()
    repository.session.domain(chosen.certificate.domain).secret()  # or it has no root to read
    assert chosen.root is not None
    trees = open_trees(repository, chosen.certificate.domain, session.index)
    before = min(chosen.facts.time_ns, chosen.facts.finished_ns) - RACY_NS
    parent = ParentTrees(trees, root_content(chosen.root), _instant(before))
    return Basis(cache, racy, every, chosen, parent)


def _instant(time_ns: int) -> tuple[int, int]:
    return time_ns // SECOND_NS, time_ns % SECOND_NS


def _cache_name(options: BackupOptions) -> str:
    """The cache of just these paths and rules: other rules, other listings."""
    words = [
        *sorted(absolute(path) for path in options.paths),
        repr((options.excludes, options.one_file_system, options.chunker)).encode(),
    ]
    return "scan-" + names.base32(crypt.digest(b"\0".join(words))[:10])
