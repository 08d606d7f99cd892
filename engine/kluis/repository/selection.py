"""Which snapshots are meant: filters, ids with paths, and what a list shows of each."""

from __future__ import annotations

from collections.abc import Iterable

from kluis.format import names
from kluis.listing import SnapshotInfo
from kluis.options import SnapshotFilter
from kluis.repository.access import Repository
from kluis.repository.snapshots import Snapshot, in_time, load_all, resolve, short_ids
from kluis.repository.state import subtract


def fits(snapshot: Snapshot, choice: SnapshotFilter) -> bool:
    """True if the snapshot is one that the filter means."""
    facts = snapshot.facts
    if choice.hosts and facts.host not in choice.hosts:
        return False
    if choice.tags and not any(_has_tags(facts.tags, group) for group in choice.tags):
        return False
    paths = snapshot.root.paths if snapshot.root is not None else ()
    return all(path in paths for path in choice.paths)


def _has_tags(tags: tuple[str, ...], group: tuple[str, ...]) -> bool:
    if group == ("",):
        return not tags
    return all(tag in tags for tag in group)


def choose(
    repository: Repository, ids: Iterable[str], choice: SnapshotFilter
) -> tuple[list[Snapshot], dict[str, str]]:
    """The snapshots of these ids, or all that fit where none is given, oldest first.

    The second value tells why snapshots (by id) could not be opened.
    """
    everything, problems = load_all(repository)
    fitting = [snapshot for snapshot in everything if fits(snapshot, choice)]
    words = list(ids)
    if not words:
        return fitting, problems
    found: dict[bytes, Snapshot] = {}
    for word in words:
        snapshot = resolve(repository, word, fitting)
        found[snapshot.mark.run] = snapshot
    return sorted(found.values(), key=in_time), problems


def pick(repository: Repository, word: str, choice: SnapshotFilter) -> Snapshot:
    """The one snapshot that a word means; the filter narrows `latest`."""
    if not word.startswith("latest"):
        return resolve(repository, word)
    everything, _ = load_all(repository)
    return resolve(repository, word, [item for item in everything if fits(item, choice)])


def describe(repository: Repository, snapshots: Iterable[Snapshot]) -> list[SnapshotInfo]:
    """What a list shows of these snapshots."""
    state = repository.ledger.state
    short = short_ids([names.base32(run) for run in state.counting()])
    return [_info(repository, snapshot, short) for snapshot in snapshots]


def _info(repository: Repository, snapshot: Snapshot, short: dict[str, str]) -> SnapshotInfo:
    state = repository.ledger.state
    facts, run = snapshot.facts, snapshot.mark.run
    forgotten = state.forgotten.get(run)
    return SnapshotInfo(
        id=snapshot.id(),
        short_id=short.get(snapshot.id(), snapshot.id()),
        time_ns=facts.time_ns,
        host=facts.host,
        tags=facts.tags,
        paths=snapshot.root.paths if snapshot.root is not None else (),
        description=facts.description,
        user=facts.user,
        dataset=facts.data_set,
        held=run in state.held,
        incomplete=facts.incomplete or subtract(state.lost, facts.uses) != state.lost,
        files=facts.counts.files,
        dirs=facts.counts.directories,
        size=facts.counts.bytes,
        bytes_added=facts.counts.bytes_stored,
        parent=names.base32(facts.previous.run) if facts.previous is not None else None,
        replaces=names.base32(facts.replaces) if facts.replaces is not None else None,
        forgotten_ns=forgotten.forgotten_ns if forgotten is not None else None,
        counted_ns=snapshot.time_ns if snapshot.time_ns != facts.time_ns else None,
    )
