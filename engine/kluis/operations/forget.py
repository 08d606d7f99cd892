"""Forget: snapshots removed by name or by a policy, and brought back while they can be."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kluis.errors import BusyError, KluisError, NotFoundError, RefusedError, UsageError
from kluis.events import Context, DamageFound, Warning_
from kluis.format import names
from kluis.format.ledger import Event, Forgotten, Unforgotten
from kluis.listing import SnapshotInfo
from kluis.options import ForgetOptions, GroupKey, SnapshotFilter
from kluis.repository import retention
from kluis.repository.access import Repository
from kluis.repository.available import missing_frames
from kluis.repository.deciding import append_decided
from kluis.repository.grouping import Group, grouped
from kluis.repository.index import load_index
from kluis.repository.listing import lost_snapshots
from kluis.repository.retention import Candidate
from kluis.repository.selection import choose, describe
from kluis.repository.snapshots import Snapshot, find_run, load, resolve, short_ids
from kluis.repository.state import raised_times
from kluis.results import ForgetChoice, ForgetGroup, ForgetResult

HELD = "held"
AHEAD = "its time lies in the future"


@dataclass
class Choice:
    """What is decided on the ledger as read."""

    groups: list[ForgetGroup] = field(default_factory=list)
    runs: list[bytes] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def forget(repository: Repository, options: ForgetOptions, context: Context) -> ForgetResult:
    """The chosen snapshots do not count when this returns; their room is given back by a prune.

    Held ones and those whose time lies in the future stay. `UsageError` without a choice,
    `RefusedError` for a held one by name, `KluisError` where a policy would keep nothing,
    `BusyError` if others write all the time.
    """
    by_policy = options.allow_remove_all or not retention.is_empty(options.policy)
    ways = sum((bool(options.ids), by_policy, bool(options.undo)))
    if ways != 1:
        raise UsageError(
            "choose one: snapshots by name, a policy such as --keep-daily 7, or --undo; "
            "nothing was changed"
        )
    retention.check(options.policy)
    if retention.is_empty(options.policy) and by_policy and options.filter == SnapshotFilter():
        raise UsageError(
            "all snapshots of all hosts would go: choose by tag, host or path; nothing was changed"
        )
    if options.undo:
        return _bring_back(repository, options)
    choice = Choice()

    def decide() -> tuple[Event, ...]:
        nonlocal choice
        if options.ids:
            choice = _by_name(repository, options)
        else:
            choice = _by_policy(repository, options, context)
        if options.dry_run or not choice.runs:
            return ()
        reason = "by name" if options.ids else "by a policy"
        return (Forgotten(tuple(sorted(choice.runs)), reason),)

    append_decided(repository, decide, BusyError)
    for warning in choice.warnings:
        context.events(Warning_("forget", warning))
    return ForgetResult(
        groups=tuple(choice.groups),
        forgotten=tuple(names.base32(run) for run in choice.runs),
        can_undo=bool(choice.runs) and not options.dry_run,
        dry_run=options.dry_run,
        warnings=tuple(choice.warnings),
    )


def _by_name(repository: Repository, options: ForgetOptions) -> Choice:
    """Those that were named, whether they can be opened or not."""
    state, choice = repository.ledger.state, Choice()
    chosen: dict[bytes, None] = {}
    for word in options.ids:
        if word.startswith("latest"):
            fitting, _ = choose(repository, (), options.filter)
            run = resolve(repository, word, fitting).mark.run
        else:
            run = find_run(state, word)
        if run in state.held:
            raise RefusedError(
                f"snapshot {names.base32(run)} is held ({state.held[run].reason or 'no reason'})"
                "; nothing was forgotten. "
                f"Next: kluis hold --release {names.base32(run)[:8]}"
            )
        if run not in state.live:
            choice.warnings.append(f"snapshot {names.base32(run)} was forgotten before")
        else:
            chosen[run] = None
    choice.runs = list(chosen)
    removed = tuple(ForgetChoice(_info(repository, run), ("by name",)) for run in chosen)
    choice.groups = [ForgetGroup(remove=removed)] if removed else []
    return choice


def _info(repository: Repository, run: bytes) -> SnapshotInfo:
    """What a list shows; of a snapshot that cannot be opened what the ledger knows."""
    state = repository.ledger.state
    times = raised_times(state, repository.surroundings.now())
    try:
        return describe(repository, [load(repository, state.live[run], times[run])])[0]
    except KluisError:
        identity = names.base32(run)
        short = short_ids([names.base32(other) for other in state.counting()])
        return SnapshotInfo(identity, short[identity], times[run])


def _by_policy(repository: Repository, options: ForgetOptions, context: Context) -> Choice:
    """What the policy keeps of each group, and what it does not."""
    chosen, problems = choose(repository, (), options.filter)
    for damage in lost_snapshots(problems):
        context.events(DamageFound(damage))
    choice = Choice()
    choice.warnings = [
        f"snapshot {identity} cannot be opened, so no rule was applied to it: it stays ({reason})"
        for identity, reason in sorted(problems.items())
    ]
    for group, members in grouped(chosen, options.group_by).items():
        context.cancel.check()
        _decide_group(repository, options, (group, members), choice)
    return choice


def _decide_group(
    repository: Repository,
    options: ForgetOptions,
    what: tuple[Group, list[Snapshot]],
    choice: Choice,
) -> None:
    group, members = what
    held, now = repository.ledger.state.held, repository.surroundings.now()
    why: dict[bytes, tuple[str, ...]] = {}
    ruled: list[Snapshot] = []
    for snapshot in members:
        if snapshot.mark.run in held:
            why[snapshot.mark.run] = (HELD,)
        elif snapshot.time_ns > now:
            why[snapshot.mark.run] = (AHEAD,)
            choice.warnings.append(
                f"snapshot {snapshot.id()} claims a time in the future: it counts in no rule and "
                "stays. Next: check the clocks; kluis forget ID removes it by name"
            )
        else:
            ruled.append(snapshot)
    candidates = [Candidate(item.time_ns, item.facts.tags) for item in ruled]
    for snapshot, reasons in zip(ruled, retention.reasons(candidates, options.policy), strict=True):
        why[snapshot.mark.run] = reasons
    stays = any(reasons and reasons != (AHEAD,) for reasons in why.values())
    if ruled and not stays and not options.allow_remove_all:
        those = "the only snapshot" if len(ruled) == 1 else f"any of the {len(ruled)} snapshots"
        raise KluisError(
            f"the policy would not keep {those} {_named(group, options.group_by)}, so "
            "nothing was forgotten. Next: kluis forget --dry-run with other rules, or "
            "--unsafe-allow-remove-all if they are all to go"
        )
    infos = describe(repository, members)
    choices = [
        ForgetChoice(info, why[item.mark.run]) for info, item in zip(infos, members, strict=True)
    ]
    choice.groups.append(
        ForgetGroup(
            keep=tuple(item for item in choices if item.reasons),
            remove=tuple(item for item in choices if not item.reasons),
            host=group.host,
            tags=group.tags,
            paths=group.paths,
        )
    )
    choice.runs += [item.mark.run for item in members if not why[item.mark.run]]


def _named(group: Group, keys: Sequence[GroupKey]) -> str:
    """`of host h, paths /a`, `without tags`: what its snapshots have in common and what not."""
    paths = ", ".join(path.decode("utf-8", "backslashreplace") for path in group.paths)
    if group.path_group and not paths:
        paths = "that this key cannot read"
    shared = {"host": group.host, "tags": ", ".join(group.tags), "paths": paths}
    having = ", ".join(f"{key} {shared[key]}" for key in keys if shared[key])
    lacking = " and ".join(key for key in keys if not shared[key])
    parts = [f"of {having}"] if having else []
    parts += [f"without {lacking}"] if lacking else []
    return " ".join(parts) or "of this repository"


def _bring_back(repository: Repository, options: ForgetOptions) -> ForgetResult:
    """`--undo`: all of them, or none."""
    undone: list[bytes] = []
    warnings: list[str] = []

    def decide() -> tuple[Event, ...]:
        undone.clear()
        warnings.clear()
        state = repository.ledger.state
        index = load_index(repository.storage, repository.session, state)
        times = raised_times(state, repository.surroundings.now())
        for word in options.undo:
            run = _find_forgotten(repository, word)
            if run in state.live:
                warnings.append(f"snapshot {names.base32(run)} is not forgotten")
                continue
            snapshot = load(repository, state.forgotten[run].mark, times[run])
            missing = missing_frames(repository, index, snapshot.facts.uses)
            if missing:
                raise KluisError(
                    f"snapshot {snapshot.id()} cannot be brought back: a prune has already "
                    f"removed {missing} of the frames that it needs; nothing was changed"
                )
            if run not in undone:
                undone.append(run)
        return (Unforgotten(tuple(sorted(undone))),) if undone and not options.dry_run else ()

    append_decided(repository, decide, BusyError)
    return ForgetResult(
        undone=tuple(map(names.base32, undone)),
        dry_run=options.dry_run,
        warnings=tuple(warnings),
    )


def _find_forgotten(repository: Repository, word: str) -> bytes:
    state = repository.ledger.state
    try:
        return find_run(state, word)
    except NotFoundError:
        gone = [run for run in state.doomed_snapshots if names.base32(run).startswith(word.lower())]
        if not gone:
            raise NotFoundError(
                f"there is no snapshot {word!r} that was forgotten; nothing was changed. "
                "Next: kluis snapshots --forgotten"
            ) from None
        raise NotFoundError(
            f"snapshot {names.base32(gone[0])} cannot be brought back: a prune has removed it "
            "for good; nothing was changed"
        ) from None


@contextmanager
def as_if(repository: Repository, result: ForgetResult) -> Iterator[None]:
    """Inside, the ledger as read says that what a dry run would forget is forgotten."""
    ledger = repository.ledger
    kept, trial = ledger.state, copy.deepcopy(ledger.state)
    runs = tuple(names.from_base32(identity, 16) for identity in result.forgotten)
    trial.forget(runs, repository.surroundings.now(), trial.head + 1)
    ledger.state = trial
    try:
        yield
    finally:
        ledger.state = kept
