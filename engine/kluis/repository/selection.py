"""Which snapshots are meant: filters, ids with paths, and what a list shows of each."""

from __future__ import annotations

from collections.abc import Iterable

from kluis.errors import DamageError, FormatError
from kluis.listing import SnapshotInfo
from kluis.options import SnapshotFilter
from kluis.repository.access import Repository
from kluis.repository.catalog import Card, Catalog
from kluis.repository.snapshots import (
    Snapshot,
    find_run,
    in_time,
    is_latest,
    load,
    load_all,
    nth_latest,
    resolve,
)


def fits(snapshot: Snapshot, choice: SnapshotFilter) -> bool:
    """True if the snapshot is one that the filter means."""
    facts, root = snapshot.facts, snapshot.root
    return _fits(choice, facts.host, facts.tags, root.paths if root is not None else ())


def card_fits(card: Card, choice: SnapshotFilter) -> bool:
    """The same of what a list shows of it."""
    return _fits(choice, card.info.host, card.info.tags, card.info.paths)


def _fits(
    choice: SnapshotFilter, host: str, tags: tuple[str, ...], paths: tuple[bytes, ...]
) -> bool:
    if choice.hosts and host not in choice.hosts:
        return False
    if choice.tags and not any(_has_tags(tags, group) for group in choice.tags):
        return False
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


def choose_cards(
    repository: Repository, ids: Iterable[str], choice: SnapshotFilter
) -> tuple[list[Card], dict[str, str]]:
    """As `choose`, of what a list shows: what was opened before is not opened again."""
    catalog = Catalog(repository)
    everything, problems = catalog.live()
    fitting = [card for card in everything if card_fits(card, choice)]
    words = list(ids)
    if not words:
        return fitting, problems
    by_run = {card.mark.run: card for card in everything}
    found: dict[bytes, Card] = {}
    for word in words:
        if is_latest(word):
            card = nth_latest(word, fitting)
        else:
            run = find_run(repository.ledger.state, word)
            card = by_run.get(run) or catalog.open(run)
        found[card.mark.run] = card
    return sorted(found.values(), key=Card.order), problems


def pick(repository: Repository, word: str, choice: SnapshotFilter) -> Snapshot:
    """The one snapshot that a word means; the filter narrows `latest`."""
    if not is_latest(word):
        return resolve(repository, word)
    cards, _ = Catalog(repository).live()
    card = nth_latest(word, [card for card in cards if card_fits(card, choice)])
    try:
        return load(repository, card.mark, card.time_ns)
    except (DamageError, FormatError):  # since it was read last: it is none to choose from
        everything, _ = load_all(repository)
        return resolve(repository, word, [item for item in everything if fits(item, choice)])


def describe(repository: Repository, snapshots: Iterable[Snapshot]) -> list[SnapshotInfo]:
    """What a list shows of these snapshots."""
    catalog = Catalog(repository)
    return [catalog.card(snapshot).info for snapshot in snapshots]
