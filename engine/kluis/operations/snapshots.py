"""Snapshots: which there are, grouped and narrowed."""

from __future__ import annotations

from kluis.errors import DamageError, FormatError, UsageError
from kluis.events import Context, DamageFound
from kluis.format import names
from kluis.listing import SnapshotGroup
from kluis.options import GroupKey, SnapshotsOptions
from kluis.repository.access import Repository
from kluis.repository.grouping import Group, grouped
from kluis.repository.listing import lost_snapshots
from kluis.repository.selection import choose, describe, fits
from kluis.repository.snapshots import Snapshot, in_time, load, resolve
from kluis.repository.state import raised_times
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
        found, problems = choose(repository, options.ids, options.filter)
    damages = tuple(lost_snapshots(problems))
    for damage in damages:
        context.events(DamageFound(damage))
    if options.latest is not None:
        found = _newest(found, options.group_by or SOURCE_OF, options.latest)
    groups = grouped(found, options.group_by) or {Group(): []}
    return SnapshotsResult(
        tuple(
            SnapshotGroup(tuple(describe(repository, members)), group.host, group.tags, group.paths)
            for group, members in groups.items()
        ),
        damages=damages,
    )


def _forgotten(
    repository: Repository, options: SnapshotsOptions
) -> tuple[list[Snapshot], dict[str, str]]:
    """Those that `forget --undo` can bring back, oldest first."""
    state = repository.ledger.state
    times = raised_times(state, repository.surroundings.now())
    found, problems = [], {}
    for run, item in state.forgotten.items():
        try:
            found.append(load(repository, item.mark, times[run]))
        except (DamageError, FormatError) as error:
            problems[names.base32(run)] = str(error)
    found.sort(key=in_time)
    found = [snapshot for snapshot in found if fits(snapshot, options.filter)]
    if options.ids:
        wanted = {resolve(repository, word, found).mark.run for word in options.ids}
        found = [snapshot for snapshot in found if snapshot.mark.run in wanted]
    return found, problems


def _newest(found: list[Snapshot], keys: tuple[GroupKey, ...], count: int) -> list[Snapshot]:
    kept = {
        snapshot.mark.run
        for members in grouped(found, keys).values()
        for snapshot in members[-count:]
    }
    return [snapshot for snapshot in found if snapshot.mark.run in kept]
