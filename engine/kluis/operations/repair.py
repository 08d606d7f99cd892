"""Repair: small objects from twins, packs from parity, shards and index from packs, then `lost`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from kluis.errors import (
    BusyError,
    DamageError,
    FormatError,
    NotFoundError,
    RefusedError,
    UnreadableError,
)
from kluis.events import Context, Damage, Stage
from kluis.format import names
from kluis.format.ledger import Doomed, Ended, Event, Lost, PackName
from kluis.format.usemap import FrameSet, ranges_of
from kluis.options import RepairOptions
from kluis.repository import check
from kluis.repository.access import Repository
from kluis.repository.affected import Affected, counted
from kluis.repository.check import Checker, Finding
from kluis.repository.deciding import append_decided
from kluis.repository.index import Index, load_index
from kluis.repository.mend import Mender
from kluis.repository.mover import Movers
from kluis.repository.state import subtract
from kluis.results import Healed, RepairResult

ROUNDS = 3
LOOKS = 5


@dataclass
class Work:
    """One repair while it runs."""

    repository: Repository
    context: Context
    dry_run: bool
    healed: list[Healed] = field(default_factory=list)
    failed: dict[str, tuple[Finding, str]] = field(default_factory=dict)


def repair(repository: Repository, options: RepairOptions, context: Context) -> RepairResult:
    """Everything healed that this store can heal; what stays damaged is named. Loses nothing more.

    Healing one thing can make another one healable (a segment, then the packs it lists), so
    it looks again until nothing new is found.
    """
    begun = repository.surroundings.monotonic()
    if options.stores or options.source_paths:
        raise RefusedError(
            "repairing from another store or from the live files is not possible yet; nothing "
            "was changed. Next: kluis repair without --from and --from-source"
        )
    work = Work(repository, context, options.dry_run)
    _complete(work)
    for _ in range(ROUNDS):
        work.failed.clear()
        context.events(Stage("reading every stored byte"))
        index, findings = _look(repository)
        if not findings or not _round(work, index, findings):
            break
        repository.ledger.read()
    _record_lost(work)
    repository.remember()
    return RepairResult(
        tuple(work.healed),
        tuple(_unhealed(work)),
        options.dry_run,
        repository.surroundings.monotonic() - begun,
    )


def _complete(work: Work) -> None:
    """Gives the newest records their twins, which their author may not have come to write."""
    book = work.repository.ledger
    for n in sorted(book.without_twin & set(book.digests)):
        work.healed.append(Healed(names.twin(names.ledger(n)), "its other copy"))
    if not work.dry_run:
        book.complete_twins()


def _look(repository: Repository) -> tuple[Index, list[Finding]]:
    """All that is wrong; looks again where a prune may have taken what was looked for."""
    for _ in range(LOOKS):
        index = load_index(repository.storage, repository.session, repository.ledger.state)
        findings = list(_findings(repository, index))
        if not findings or not repository.ledger.read_on():
            return index, findings
    raise BusyError(
        "others wrote to the repository each time that repair had looked at it; nothing is lost. "
        "Next: run it again"
    )


def _findings(repository: Repository, index: Index) -> list[Finding]:
    checker = Checker(repository, index)
    found: dict[str, Finding] = {}
    for findings in (
        checker.small_objects(),
        checker.segments(),
        checker.large_objects(),
        checker.stored_bytes(),
        checker.strangers(),
        checker.unlisted(),
    ):
        for finding in findings:
            found.setdefault(finding.object, finding)
    return list(found.values())


def _round(work: Work, index: Index, findings: list[Finding]) -> bool:
    """Heals what can be healed now; True if anything was."""
    before = len(work.healed)
    with Movers(work.repository) as movers:
        mender = Mender(work.repository, index, movers)
        segments = [finding for finding in findings if finding.kind == check.SEGMENT]
        if segments:
            _try(work, segments, partial(mender.segments, segments))
        for finding in findings:
            work.context.cancel.check()
            if finding.kind != check.SEGMENT:
                _try(work, [finding], partial(_heal, mender, finding))
        work.repository.storage.barrier()
        _end(work, movers, mender.doomed)
    return len(work.healed) > before and not work.dry_run


def _heal(mender: Mender, finding: Finding) -> str:
    if finding.kind == check.SMALL:
        return mender.small(finding)
    if finding.kind == check.PACK and finding.pack is not None:
        return mender.pack(finding.pack, finding.object)
    if finding.kind == check.PARITY:
        return mender.shard(finding.object)
    plain = finding.object.removeprefix(f"{names.TWINS}/")
    if finding.kind == check.GONE and plain in names.DOCUMENTS:
        return mender.document(finding.object)
    raise DamageError("nothing in this store can bring it back")


def _try(work: Work, findings: list[Finding], heal: Callable[[], str]) -> None:
    """Heals, and notes the outcome for each of the findings."""
    try:
        source = "to be healed" if work.dry_run else heal()
    except (DamageError, FormatError, NotFoundError, UnreadableError) as error:
        for finding in findings:
            work.failed[finding.object] = finding, str(error)
        return
    work.healed.extend(Healed(finding.object, source) for finding in findings)


def _end(work: Work, movers: Movers, doomed: set[PackName]) -> None:
    """One record: the runs of this repair end, and what they carried over is doomed."""
    runs = movers.runs()
    if not runs:
        return
    events: list[Event] = [Ended(tuple(sorted(runs)))]
    if doomed:
        packs = sorted(doomed, key=lambda pack: (pack.shelf, pack.digest))
        events.insert(0, Doomed(tuple(packs), ()))
    append_decided(work.repository, lambda: tuple(events), BusyError)
    movers.ended()


def _record_lost(work: Work) -> None:
    """Frames that nothing brought back are never reused: the next backup stores them anew."""
    if work.dry_run:
        return
    frames: dict[bytes, set[int]] = {}
    repository = work.repository
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    for finding, _ in work.failed.values():
        for run, n in _frames(work, index, finding):
            frames.setdefault(run, set()).add(n)
    lost: FrameSet = {run: ranges_of(found) for run, found in frames.items()}

    def decide() -> tuple[Event, ...]:
        fresh = subtract(lost, repository.ledger.state.lost)
        return (Lost(fresh),) if fresh else ()

    append_decided(repository, decide, BusyError)


def _frames(work: Work, index: Index, finding: Finding) -> set[tuple[bytes, int]]:
    """The frames that a failure costs: those that lie nowhere else."""
    number = index.pack_numbers.get(finding.pack) if finding.pack is not None else None
    if number is None:
        return set(finding.frames)
    bad = {item.pack for item, _ in work.failed.values()} | work.repository.ledger.state.doomed
    return {
        (group.run, n)
        for group in index.packs[number].groups
        for n in range(group.first_n, group.first_n + len(group.stored) // 4)
        if all(
            PackName(place.shelf, place.digest) in bad
            for place in (index.packs[where.pack] for where in index.locate(group.run, n))
        )
    }


def _unhealed(work: Work) -> list[Damage]:
    """What stays damaged, with the files that it costs."""
    repository = work.repository
    if not work.failed:
        return []
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    result = []
    for finding, reason in work.failed.values():
        files: tuple[bytes, ...] = ()
        frames = _frames(work, index, finding)
        if frames:
            found = Affected(repository, index, frames).paths()
            files = tuple(path for path, _ in found)
        means = f"{counted(files)} cannot be restored whole" if frames else "it stays as it is"
        result.append(
            Damage(
                finding.object,
                f"{finding.what}; not healed: {reason}",
                means,
                files,
                "kluis backup the source again: what is left is stored anew"
                if frames
                else "look at the file, and remove it if it is not yours"
                if finding.kind == check.EXTRA
                else "take it from another copy of this repository",
            )
        )
    return result
