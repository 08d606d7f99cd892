"""Prune: plan, move what is still used, doom whole sets in one record, then delete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kluis.errors import BusyError, DamageError, FormatError, NoSpaceError
from kluis.events import Context, Stage, Warning_
from kluis.format import names
from kluis.format.ledger import Doomed, Ended, Event, PackName
from kluis.options import PruneOptions
from kluis.repository import merger
from kluis.repository.access import Repository
from kluis.repository.collector import Plan, Rules, list_packs, make_plan
from kluis.repository.durable import reliable
from kluis.repository.index import Index, ListedSegment, load_index
from kluis.repository.ledger import LedgerMovedError
from kluis.repository.mover import Movers, move
from kluis.repository.openruns import find_runs
from kluis.repository.reserve import append_deletion, take_back
from kluis.results import PrunePlan, PruneResult

DELAY_WITH_OTHER_KEYS_NS = 7 * 24 * 3600 * 1_000_000_000
ATTEMPTS = 5


def prune(repository: Repository, options: PruneOptions, context: Context) -> PruneResult:
    """Gives back the room of what no snapshot needs; safe beside writers and other prunes.

    Raises `DamageError` where it would not be safe, `BusyError` if others write all the time.
    """
    begun = repository.surroundings.monotonic()
    if repository.regressions and not options.dry_run:
        raise DamageError(
            f"nothing was pruned: {repository.regressions[0]}. "
            "Next: kluis verify, and find out what happened to this medium"
        )
    rules = _rules(repository, options)
    for _ in range(ATTEMPTS):
        context.events(Stage("planning"))
        index = load_index(repository.storage, repository.session, repository.ledger.state)
        try:
            plan = make_plan(repository, index, rules)
        except DamageError:
            if repository.ledger.read_on():  # another prune took what this one counted on
                continue
            raise
        shown = _shown(plan, index)
        if not options.dry_run:
            merged = _carry_out(repository, index, plan, context)
            if merged is None:
                repository.ledger.read_on()
                continue
            shown = replace(shown, segments_merged=merged[0], records_merged=merged[1])
            take_back(repository)
            repository.remember()
        seconds = repository.surroundings.monotonic() - begun
        return PruneResult(shown, options.dry_run, repository.regressions, seconds)
    raise BusyError(
        "others kept writing to the repository while prune tried to finish; nothing was lost. "
        "Next: run kluis prune again later"
    )


def _rules(repository: Repository, options: PruneOptions) -> Rules:
    delay = 0 if not repository.ledger.state.roles else DELAY_WITH_OTHER_KEYS_NS
    if options.delay_seconds is not None:
        delay = options.delay_seconds * 1_000_000_000
    return Rules(options.max_unused, options.max_repack_bytes, delay, options.now)


def _carry_out(
    repository: Repository, index: Index, plan: Plan, context: Context
) -> tuple[int, int] | None:
    """Moves, dooms, merges, deletes; None if the ledger moved before the deed was recorded."""
    context.events(Stage("moving frames"))
    with _moved(repository, index, plan, context) as movers:
        try:
            _record(repository, plan, movers)
        except LedgerMovedError:
            return None
        movers.ended()
    repository.cache.forget_runs(plan.ended)
    context.events(Stage("deleting"))
    # Read again: what was just moved is listed by new segments.
    _delete(repository, load_index(repository.storage, repository.session, repository.ledger.state))
    return _tidy(repository)


def _moved(repository: Repository, index: Index, plan: Plan, context: Context) -> Movers:
    """Moves what is planned; where there is no room for that, only what is dead goes now."""
    try:
        movers = move(repository, index, plan.moved, context.cancel)
    except NoSpaceError:
        if not plan.moved:
            raise
        message = "no space to move what is still used: only packs without any use are removed"
        context.events(Warning_("no_space", message))
        plan.kept.extend(plan.moved)
        plan.moved.clear()
        return Movers(repository)
    if movers.left:
        message = f"{len(movers.left)} parity sets are damaged and stay. Next: kluis repair"
        context.events(Warning_("damaged", message))
        plan.kept.extend(movers.left)
    return movers


def _record(repository: Repository, plan: Plan, movers: Movers) -> None:
    """The one record that decides: packs and snapshots doomed, runs ended."""
    events: list[Event] = []
    packs = plan.doomed_packs()
    if packs or plan.doomed_snapshots:
        events.append(Doomed(tuple(packs), tuple(plan.doomed_snapshots)))
    ended = sorted({*plan.ended, *movers.runs()})
    if ended:
        events.append(Ended(tuple(ended)))
    if events:
        append_deletion(repository, tuple(events))


def _delete(repository: Repository, index: Index) -> None:
    """Removes every doomed pack, shards of sets that are gone, and dead snapshots' objects."""
    storage, state = repository.storage, repository.ledger.state
    repository.ledger.complete_twins()
    for pack in state.doomed:
        storage.delete(names.pack(pack.shelf, pack.digest))
    shards = _shards(index)
    needed = {
        (parity_set.parity_run, parity_set.parity_k)
        for parity_set in index.set_of_pack.values()
        if not all(PackName(p.shelf, p.digest) in state.doomed for p in parity_set.packs)
    }
    over = state.doomed_snapshots | state.ended | state.counting().keys()
    for name, _ in list(storage.list(names.PARITY)):
        key = _numbers(name)
        if key is not None and key not in needed and (key[0] in over or key in shards):
            storage.delete(name)
    counting, over = state.counting(), state.doomed_snapshots | state.ended
    for folder in (names.SNAPSHOTS, names.twin(names.SNAPSHOTS)):
        for name, _ in list(storage.list(folder)):
            key = _numbers(name)
            if key is None:
                continue
            run, k = key
            mark = counting.get(run)
            if (mark is None and run in over) or (mark is not None and mark.k != k):
                storage.delete(name)
    storage.barrier()


def _numbers(name: str) -> tuple[bytes, int] | None:
    """(run, k) of an object; None for a name that kluis does not give."""
    try:
        return names.parse_numbered(name)
    except FormatError:
        return None


def _shards(index: Index) -> set[tuple[bytes, int]]:
    """The shards that segments list."""
    return {(item.parity_run, item.parity_k) for item in index.set_of_pack.values()}


def _tidy(repository: Repository) -> tuple[int, int]:
    """Merges segments and ledger records where there are many."""
    state, storage = repository.ledger.state, repository.storage
    index = load_index(storage, repository.session, state)
    reliable(repository, index, {})
    merged = merger.worth_merging(index, state)
    if merged and not _merge(repository, merged):
        return 0, 0
    if merged:
        index = load_index(storage, repository.session, state)
    open_now = list(find_runs(repository, index, list_packs(repository)).open)
    return len(merged), _checkpoint(repository, open_now, index)


def _merge(repository: Repository, merged: list[ListedSegment]) -> bool:
    """Puts one segment in the place of many; False if somebody else wrote meanwhile."""
    storage = repository.storage
    with merger.merge_segments(repository, merged) as movers:
        events: list[Event] = [Ended(tuple(sorted(movers.runs())))]
        events += merger.read_dates_of(merged, movers, repository.ledger.state)
        try:
            repository.ledger.append(
                tuple(events), repository.session.signer, repository.surroundings
            )
        except LedgerMovedError:
            for run in movers.runs():
                storage.delete(names.numbered(names.INDEX, run, 0))
            storage.barrier()
            return False
        movers.ended()
    # First what an interrupted merge left: these no longer hide it.
    there = {name for name, _ in storage.list(names.INDEX)}
    for objects in (there & set(_stood_for(merged)), {item.name for item in merged}):
        for name in sorted(objects):
            storage.delete(name)
        if objects:
            storage.barrier()
    return True


def _stood_for(merged: list[ListedSegment]) -> Iterator[str]:
    for item in merged:
        for old in item.body.stands_for:
            yield names.numbered(names.INDEX, old.run, old.k)


def _checkpoint(repository: Repository, still_open: list[bytes], index: Index) -> int:
    state = repository.ledger.state
    if state.head - state.checkpoint < merger.RECORDS_MERGED_FROM:
        return 0
    # A doomed pack that a segment still lists is remembered too, or it would look lost.
    there = state.doomed & (set(list_packs(repository)) | set(index.pack_numbers))
    point = merger.checkpoint(repository, still_open, there)
    try:
        repository.ledger.append((point,), repository.session.signer, repository.surroundings)
    except LedgerMovedError:
        repository.ledger.read_on()
        return 0
    removed = merger.delete_old_records(repository)
    repository.storage.barrier()
    return removed


def _shown(plan: Plan, index: Index) -> PrunePlan:
    """The plan as `--dry-run` prints it."""
    sets = [*plan.dead, *plan.moved, *plan.kept]
    total = sum(item.size for item in sets) + plan.stray_bytes
    unused = plan.stray_bytes + sum(item.dead_bytes for item in sets)
    unused_after = sum(item.dead_bytes for item in plan.kept)
    return PrunePlan(
        bytes_total=total,
        bytes_used=sum(item.used_bytes for item in sets),
        bytes_unused=unused,
        packs_total=len(index.packs),
        packs_kept=sum(len(item.packs) for item in plan.kept),
        packs_removed=sum(len(item.packs) for item in plan.dead) + len(plan.dead_strays),
        packs_moved=sum(len(item.packs) for item in plan.moved),
        bytes_moved=sum(item.used_bytes for item in plan.moved),
        bytes_freed=unused - unused_after,
        bytes_unused_after=unused_after,
        snapshots_doomed=tuple(names.base32(run) for run in plan.doomed_snapshots),
        snapshots_waiting=tuple(names.base32(run) for run in plan.waiting_snapshots),
        runs_ended=len(plan.ended),
        runs_open=len(plan.still_open),
    )
