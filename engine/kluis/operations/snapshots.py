"""Snapshots: which there are, grouped and narrowed."""

from __future__ import annotations

from kluis.errors import DamageError, FormatError, UsageError
from kluis.events import Context, DamageFound
from kluis.format import names
from kluis.listing import SnapshotGroup
from kluis.options import GroupKey, SnapshotsOptions
from kluis.repository.access import Repository
from kluis.repository.catalog import Card, Catalog
from kluis.repository.grouping import Group, grouped_cards
from kluis.repository.losses import lost_snapshots
from kluis.repository.selection import card_fits, choose_cards
from kluis.repository.snapshots import find_run, is_latest, nth_latest
from kluis.results import SnapshotsResult

# What `--latest` narrows by where nothing else was asked for.
SOURCE_OF: tuple[GroupKey, ...] = ("host", "paths")


def snapshots(
    repository: Repository, options: SnapshotsOptions, context: Context
) -> SnapshotsResult:
    """The snapshots that are meant, each group with its oldest first."""
    if options.latest is not None and options.latest < 1:
        raise UsageError("--latest takes a number from 1 on")
    if options.forgotten:
        found, problems = _forgotten(repository, options)
    else:
        found, problems = choose_cards(repository, options.ids, options.filter)
    damages = tuple(lost_snapshots(problems))
    for damage in damages:
        context.events(DamageFound(damage))
    if options.latest is not None:
        found = _newest(found, options.group_by or SOURCE_OF, options.latest)
    groups = grouped_cards(found, options.group_by) or {Group(): []}
    return SnapshotsResult(
        tuple(
            SnapshotGroup(tuple(card.info for card in members), group.host, group.tags, group.paths)
            for group, members in groups.items()
        ),
        damages=damages,
    )


def _forgotten(
    repository: Repository, options: SnapshotsOptions
) -> tuple[list[Card], dict[str, str]]:
    """Those that `forget --undo` can bring back, oldest first."""
    catalog, state = Catalog(repository), repository.ledger.state
    found, problems = [], {}
    for run in state.forgotten:
        try:
            found.append(catalog.open(run))
        except (DamageError, FormatError) as error:
            problems[names.base32(run)] = str(error)
    found.sort(key=Card.order)
    found = [card for card in found if card_fits(card, options.filter)]
    if options.ids:
        wanted = {
            nth_latest(word, found).mark.run if is_latest(word) else find_run(state, word)
            for word in options.ids
        }
        found = [card for card in found if card.mark.run in wanted]
    return found, problems


def _newest(found: list[Card], keys: tuple[GroupKey, ...], count: int) -> list[Card]:
    groups = grouped_cards(found, keys).values()
    kept = {card.mark.run for members in groups for card in members[-count:]}
    return [card for card in found if card.mark.run in kept]
