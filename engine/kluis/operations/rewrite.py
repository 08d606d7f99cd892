"""Rewrite: snapshots without some paths, or with another host, time, tags or remark."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from kluis.errors import RefusedError, UsageError
from kluis.events import Context, Stage
from kluis.format import tree
from kluis.format.snapshot import Facts, Previous, Root
from kluis.format.tree import Entry
from kluis.options import Excludes, RewriteOptions
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.index import load_index
from kluis.repository.listing import Readers, root_of
from kluis.repository.remaking import (
    Remade,
    begin_run,
    choose_live,
    follow,
    previous,
    remake,
    store_again,
)
from kluis.repository.retree import Frame, Rebuild, StoreTree, Tally, TreeStore, only_measure
from kluis.repository.run import Run
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import root_content
from kluis.results import RewriteResult, Rewritten
from kluis.source.patterns import Patterns
from kluis.units import check_snapshot_time

# FS_NODUMP_FL of linux/fs.h.
NODUMP = 0x40


def rewrite(repository: Repository, options: RewriteOptions, context: Context) -> RewriteResult:
    """A new snapshot for each chosen one that would differ; the old one stays unless `forget`.

    `RefusedError` if content of one that is held would be forgotten; then nothing is changed.
    """
    check_snapshot_time(options.time_ns)
    work = Rewriting(repository, options, context, Leaves(options.excludes))
    new: dict[bytes, str] = {}
    if options.dry_run:
        work.choose()
        for snapshot in work.chosen:
            work.measure(snapshot)
    else:
        remade = remake(repository, work.prepare, options.forget)
        new = {item.old.mark.run: item.id() for item in remade}
        repository.cache.forget_runs(work.runs)
    return RewriteResult(
        tuple(
            Rewritten(item.id(), new.get(item.mark.run, ""), work.what.get(item.mark.run, ()))
            for item in work.chosen
        ),
        options.dry_run,
    )


class Leaves:
    """Says of a stored entry whether it is left out."""

    def __init__(self, excludes: Excludes) -> None:
        if excludes.caches or excludes.if_present or excludes.gitignore:
            raise UsageError(
                "rewrite leaves out by pattern, size and the nodump flag; rules that read the "
                "files themselves count for a backup only. Nothing was changed"
            )
        lists = (Patterns(excludes.patterns), Patterns(excludes.patterns_any_case, any_case=True))
        self._patterns = [patterns for patterns in lists if patterns]
        self._larger_than = excludes.larger_than
        self._nodump = excludes.nodump
        self.active = excludes != Excludes()

    def path(self, path: bytes) -> bool:
        """True if a pattern alone leaves the path out."""
        text = os.fsdecode(path)
        return any(patterns.matches(text) for patterns in self._patterns)

    def __call__(self, path: bytes, entry: Entry) -> bool:
        if self._nodump and entry.attributes & NODUMP:
            return True
        limit = self._larger_than
        if limit is not None and entry.kind == tree.FILE and entry.size > limit:
            return True
        return bool(self._patterns) and self.path(path)


@dataclass
class Rewriting:
    """One rewrite while it runs."""

    repository: Repository
    options: RewriteOptions
    context: Context
    leaves: Leaves
    chosen: list[Snapshot] = field(default_factory=list)
    what: dict[bytes, tuple[str, ...]] = field(default_factory=dict)  # old run -> what changes
    runs: list[bytes] = field(default_factory=list)

    def choose(self) -> None:
        """Takes the snapshots that are meant, as the ledger has them now."""
        options = self.options
        self.chosen = choose_live(self.repository, options.ids, options.filter, self.context)
        self.what.clear()
        self.readers = Readers(self.repository, self.context)

    def measure(self, snapshot: Snapshot) -> Tally:
        """What would be left out, and so what would change; stores nothing."""
        tally, _ = self._rebuild(snapshot, only_measure)
        self._note(snapshot, tally)
        return tally

    def prepare(self) -> list[Remade]:
        """Stores a new snapshot for each that would differ; none counts yet."""
        self.choose()
        self.context.events(Stage("reading snapshots"))
        self._refuse_held()
        self.context.events(Stage("writing snapshots"))
        before = previous(self.repository)
        remade = []
        for snapshot in self.chosen:
            done = self._one(snapshot, before)
            if done is not None:
                remade.append(done)
                before = follow(done.mark)
        return remade

    def _refuse_held(self) -> None:
        held = self.repository.ledger.state.held
        if not self.options.forget or not self.leaves.active:
            return
        for snapshot in self.chosen:
            if snapshot.mark.run in held and self.measure(snapshot).left_out:
                raise RefusedError(
                    f"snapshot {snapshot.id()} is held, so nothing in it may be forgotten; "
                    f"nothing was changed. Next: kluis hold --release {snapshot.id()[:8]}, "
                    "or rewrite without --forget"
                )

    def _one(self, snapshot: Snapshot, before: Previous | None) -> Remade | None:
        begun_at = self.repository.ledger.state.head
        run = begin_run(self.repository, snapshot)
        store = LazyStore(self.repository, run)
        try:
            tally, top = self._rebuild(snapshot, store)
            if not self._note(snapshot, tally):
                return None
            facts, root = self._changed(snapshot, tally, top)
            store.finish()
            if store.opened is not None:
                self.runs.append(run.id)
                counts = replace(
                    facts.counts,
                    bytes_new=store.opened.writer.bytes_new,
                    bytes_stored=store.opened.uploader.bytes_stored,
                )
                facts = replace(facts, counts=counts)
        finally:
            store.close()
        mark = store_again(self.repository, snapshot, run, (replace(facts, previous=before), root))
        return Remade(snapshot, mark, begun_at)

    def _rebuild(self, snapshot: Snapshot, store: StoreTree) -> tuple[Tally, Content]:
        top = root_content(root_of(snapshot))
        if not self.leaves.active:
            return Tally(), top
        rebuild = Rebuild(self.readers.of(snapshot), self.leaves, store, self.context.cancel)
        content = rebuild.run(top)
        tally = rebuild.tally
        if tally.left_out and not tally.files and not tally.others and tally.directories == 1:
            raise UsageError(
                f"nothing would be left of snapshot {snapshot.id()}; nothing was changed. "
                "Next: kluis forget, if it is to go as a whole"
            )
        return tally, content

    def _note(self, snapshot: Snapshot, tally: Tally) -> bool:
        """Keeps in words what changes; False if nothing does."""
        facts, options = snapshot.facts, self.options
        pairs = (
            ("host", facts.host, options.host),
            ("time", facts.time_ns, options.time_ns),
            ("tags", facts.tags, options.tags),
            ("description", facts.description, options.description),
        )
        words = [name for name, old, new in pairs if new is not None and new != old]
        if tally.left_out:
            paths = "1 path" if tally.left_out == 1 else f"{tally.left_out} paths"
            words.insert(0, f"{paths} left out")
        self.what[snapshot.mark.run] = tuple(words)
        return bool(words)

    def _changed(self, snapshot: Snapshot, tally: Tally, top: Content) -> tuple[Facts, Root]:
        options, facts, root = self.options, snapshot.facts, root_of(snapshot)
        facts = replace(
            facts,
            host=facts.host if options.host is None else options.host,
            time_ns=facts.time_ns if options.time_ns is None else options.time_ns,
            tags=facts.tags if options.tags is None else options.tags,
            description=facts.description if options.description is None else options.description,
        )
        if not tally.left_out:
            return facts, root
        counts = replace(
            facts.counts,
            files=tally.files,
            directories=tally.directories,
            others=tally.others,
            bytes=tally.size,
            problems=sum(not self.leaves.path(item.path) for item in root.problems),
        )
        problems = tuple(item for item in root.problems if not self.leaves.path(item.path))
        # Incomplete without a problem means that something was lost since.
        incomplete = facts.incomplete and (bool(problems) or not root.problems)
        return (
            replace(facts, uses=tally.use_map(), counts=counts, incomplete=incomplete),
            Root(root.paths, top.extents, top.digest, top.size, top.listed, problems),
        )


class LazyStore:
    """Stores trees for one run; opens what that takes when the first one comes."""

    def __init__(self, repository: Repository, run: Run) -> None:
        self._repository, self._run = repository, run
        self.opened: TreeStore | None = None

    def __call__(self, data: bytes) -> tuple[Content, set[Frame]]:
        if self.opened is None:
            repository = self._repository
            index = load_index(repository.storage, repository.session, repository.ledger.state)
            self.opened = TreeStore(repository, index, self._run)
        return self.opened.store(data)

    def finish(self) -> None:
        """All that was stored is durable and listed."""
        if self.opened is not None:
            self.opened.flush()

    def close(self) -> None:
        """Gives everything back; what was not flushed does not count."""
        if self.opened is not None:
            self.opened.close()
