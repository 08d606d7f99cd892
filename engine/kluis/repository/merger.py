"""Keeping the number of small objects small: segments merged, ledger records replaced by one."""

from __future__ import annotations

from dataclasses import replace

from kluis.errors import FormatError
from kluis.format import names
from kluis.format.ledger import (
    Checkpoint,
    ForgottenMark,
    PackName,
    SegmentRange,
    SnapshotMark,
    Verified,
)
from kluis.format.segment import ParitySet, Replaced
from kluis.repository.access import Repository
from kluis.repository.index import Index, ListedSegment
from kluis.repository.mover import Movers
from kluis.repository.state import LedgerState, forgotten_times, raised_times

SEGMENTS_MERGED_FROM = 64
RECORDS_MERGED_FROM = 64
# Digests of old records that a checkpoint keeps, so that an older fork is still noticed.
DIGESTS_KEPT = 4096


def worth_merging(index: Index, state: LedgerState) -> list[ListedSegment]:
    """Segments of ended runs, if there are many or many of them list only doomed packs.

    Not those whose packs are not all known to be durable: who reads a merged one asks no more.
    """
    ended = [
        item
        for item in index.segments.values()
        if item.has_ended(state) and not any(pack in index.unsafe for pack in item.packs())
    ]
    dead = sum(not _living_sets(item, state) for item in ended)
    if len(ended) >= SEGMENTS_MERGED_FROM or (dead > 1 and 2 * dead >= len(ended)):
        return ended
    return []


def _living_sets(item: ListedSegment, state: LedgerState) -> list[ParitySet]:
    return [
        parity_set
        for parity_set in item.body.sets
        if not all(PackName(p.shelf, p.digest) in state.doomed for p in parity_set.packs)
    ]


def merge_segments(repository: Repository, merged: list[ListedSegment]) -> Movers:
    """Stores one segment for each domain that stands for these, durable on return.

    The runs that signed them are still open; what they replace may be deleted at once.
    """
    state = repository.ledger.state
    by_domain: dict[bytes, list[ListedSegment]] = {}
    for item in merged:
        by_domain.setdefault(item.certificate.domain, []).append(item)
    movers = Movers(repository)
    for domain, items in by_domain.items():
        _, uploader = movers.writer(domain)
        uploader.stands_for = _stands_for(items, state)
        uploader.write_segment(tuple(s for item in items for s in _living_sets(item, state)))
    return movers


def read_dates_of(
    merged: list[ListedSegment], movers: Movers, state: LedgerState
) -> list[Verified]:
    """When all that the new segments list was last read, if it was: the oldest date of each."""
    read: dict[tuple[bytes, int], tuple[int, int]] = {}
    for verified in state.verified:
        for item in verified.segments:
            for k in range(item.first_k, min(item.last_k, item.first_k + DIGESTS_KEPT) + 1):
                key = item.run, k
                read[key] = max((verified.time_ns, verified.level), read.get(key, (0, 0)))
    dates = [read.get((item.run, item.k)) for item in merged if item.body.sets]
    known = [date for date in dates if date is not None]
    if not known or len(known) < len(dates):
        return []
    time_ns, level = min(known)
    ranges = tuple(SegmentRange(run, 0, 0) for run in sorted(movers.runs()))
    return [Verified(level, time_ns, ranges)]


def _stands_for(items: list[ListedSegment], state: LedgerState) -> tuple[Replaced, ...]:
    """The merged ones, and those that they stood for and that a snapshot still names."""
    needed = {mark.last_segment for mark in state.counting().values()}
    found = {(item.run, item.k): Replaced(item.run, item.k, item.digest) for item in items}
    for item in items:
        for old in item.body.stands_for:
            if old.digest in needed:
                found.setdefault((old.run, old.k), old)
    return tuple(found[key] for key in sorted(found))


def checkpoint(
    repository: Repository, open_runs: list[bytes], doomed_there: set[PackName]
) -> Checkpoint:
    """All that the ledger says now and that still matters, as one record."""
    book, state = repository.ledger, repository.ledger.state
    now = repository.surroundings.now()
    times, since = raised_times(state, now), forgotten_times(state, now)

    def raised(mark: SnapshotMark) -> SnapshotMark:
        return replace(mark, time_ns=times.get(mark.run, mark.time_ns))

    by_order = sorted(state.live.values(), key=lambda mark: mark.counted)
    first = state.checkpoint or 1
    digests = [book.digests[n] for n in sorted(book.digests) if n >= first]
    replaced = [*state.replaced_in_order, *digests][-DIGESTS_KEPT:]
    return Checkpoint(
        roles=state.granted.roles,
        roles_sequence=state.granted.sequence,
        roles_signature=state.granted.signature,
        live=tuple(raised(mark) for mark in by_order),
        forgotten=tuple(
            ForgottenMark(raised(item.mark), since[run]) for run, item in state.forgotten.items()
        ),
        copied_doomed=tuple(sorted(state.copied_doomed)),
        held=tuple(state.held[run] for run in sorted(state.held)),
        doomed=tuple(sorted(doomed_there, key=lambda pack: (pack.shelf, pack.digest))),
        lost=state.lost,
        verified=tuple(state.verified),
        logged=state.logged,
        open_runs=tuple(sorted(open_runs)),
        replaced_first=first,
        replaced=tuple(replaced),
        floor=state.head + 1,
    )


def delete_old_records(repository: Repository) -> int:
    """Removes the records that the newest checkpoint replaces, once it has its twin."""
    state, storage = repository.ledger.state, repository.storage
    if not state.checkpoint or not storage.exists(names.twin(names.ledger(state.checkpoint))):
        return 0
    removed = 0
    for folder in (names.LEDGER, names.twin(names.LEDGER)):
        for name, _ in list(storage.list(folder)):
            try:
                n = names.parse_number(name)
            except FormatError:
                continue
            if n < state.checkpoint:
                storage.delete(name)
                removed += folder == names.LEDGER
    return removed
