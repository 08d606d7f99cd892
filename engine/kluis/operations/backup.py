"""Backup, one straight chain.

walk > unchanged? > read > cut > hash > known? > frame > compress > seal > pack > parity >
segment > snapshot > ledger (last)
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass, field, replace

from kluis import __version__
from kluis.errors import KluisError, UsageError
from kluis.events import Context, Stage
from kluis.format import crypt, names, snapshot
from kluis.format.ledger import PackName, SnapshotMark
from kluis.format.snapshot import Counts, Facts, Previous, Root
from kluis.format.usemap import FrameSet
from kluis.operations.archiving.basis import Basis, find_basis
from kluis.operations.archiving.directories import DirectoryArchiver
from kluis.operations.archiving.files import FileArchiver
from kluis.operations.archiving.session import (
    BackupSession,
    find_usable,
    host_name,
    open_session,
)
from kluis.operations.archiving.streams import store_stream
from kluis.operations.archiving.telling import Teller
from kluis.operations.archiving.wear import REWRITTEN_SHARE, Wear, is_due
from kluis.options import BackupOptions
from kluis.repository.access import Repository
from kluis.repository.collector import list_packs
from kluis.repository.commit import record_made, store_snapshot
from kluis.repository.content import Content
from kluis.repository.ledger import LedgerMovedError
from kluis.repository.scancache import CacheHead
from kluis.repository.state import raised_times
from kluis.results import BackupResult
from kluis.source.above import lies_within
from kluis.source.exclude import Exclusions
from kluis.source.paths import absolute
from kluis.source.walk import WalkOptions, walk
from kluis.units import check_snapshot_time, format_time

ATTEMPTS = 8


@dataclass
class Work:
    """One backup while it runs."""

    repository: Repository
    options: BackupOptions
    context: Context
    session: BackupSession
    basis: Basis
    teller: Teller
    finished: list[bytes] = field(default_factory=list)  # runs whose marks can go after the commit


def backup(repository: Repository, options: BackupOptions, context: Context) -> BackupResult:
    """A snapshot of the given paths, durable when this returns.

    Raises `KluisError` if nothing could be backed up, `CancelledError`, `NoSpaceError`; then
    no snapshot was made and every earlier one is as it was.
    """
    begun = repository.surroundings.monotonic()
    if not options.paths and options.stdin is None:
        raise UsageError("nothing to back up: give a path, --files-from or --stdin")
    check_snapshot_time(options.time_ns)
    for _ in range(ATTEMPTS):
        context.events(Stage("reading the index"))
        result = _attempt(repository, options, context)
        if result is not None:
            duration = repository.surroundings.monotonic() - begun
            return replace(result, duration_seconds=duration)
    raise KluisError(
        "others changed the repository again and again while this backup tried to finish; "
        "no snapshot was made. Next: run the backup again"
    )


def _attempt(
    repository: Repository, options: BackupOptions, context: Context
) -> BackupResult | None:
    """One pass over the source; None if what it builds on was doomed meanwhile, or its run ended.

    What a lost attempt stored is found again by the next one.
    """
    session = open_session(repository, options, context.cancel)
    try:
        basis = find_basis(repository, options, session)
        teller = Teller(context, repository.surroundings.monotonic, *basis.totals())
        work = Work(repository, options, context, session, basis, teller)
        head = None
        try:
            result, head = _pass(work)
        finally:
            basis.cache.finish(head)
    finally:
        session.close()
    return result


def _pass(work: Work) -> tuple[BackupResult | None, CacheHead | None]:
    """The result, and what the next run of the same paths may build on."""
    repository, session, basis = work.repository, work.session, work.basis
    interrupted = _interrupted(work)
    started = repository.surroundings.now()
    files = _file_archiver(work)
    last = basis.cache.head
    usable = session.leave(last.worn) if last is not None else session.usable
    directories = DirectoryArchiver(files, basis, usable, Wear() if is_due(last) else None)
    root = _store_source(work, files, directories)
    session.writer.flush()
    counts = _counts(work, files, directories)
    work.teller.end(counts.files, counts.bytes)
    result = _result(work, directories, counts)
    if work.options.dry_run:
        session.alive.close()
        return replace(result, time_ns=_time(work, started)), None
    facts, top = _describe(work, (started, counts), directories.totals.use_map(), root)
    mark = _commit(work, facts, top, interrupted)
    if mark is None:
        return None, None
    _remember_chain(work, mark)
    new_bytes, worn, worn_bytes = _wear(work, directories)
    counted = basis.turn() + 1, counts.files, counts.bytes
    head = CacheHead(mark.run, *basis.racy, *counted, facts.uses, new_bytes, worn, worn_bytes)
    identity = names.base32(mark.run)
    done = replace(
        result,
        snapshot_id=identity,
        short_id=identity[:8],
        time_ns=mark.time_ns,
        warnings=result.warnings + _raised(work, mark),
    )
    return done, head


def _wear(work: Work, directories: DirectoryArchiver) -> tuple[int, FrameSet, int]:
    """(bytes stored anew since use was counted, frames that the next run is to leave, theirs)."""
    last = work.basis.cache.head
    if last is None:
        return 0, {}, 0
    if directories.wear is not None:
        limit = int(last.new_bytes * REWRITTEN_SHARE)
        return 0, *directories.wear.worn(work.session.index, limit)
    # What was stored for the second time is not counted: it would bring on the next time.
    return last.new_bytes + max(0, work.session.writer.bytes_new - last.worn_bytes), {}, 0


def _store_source(work: Work, files: FileArchiver, directories: DirectoryArchiver) -> Content:
    """Stores everything that was asked for; returns the tree of `/`."""
    options, context = work.options, work.context
    context.events(Stage("backing up"))
    if options.stdin is not None:
        return store_stream(options.stdin, files, directories, work.repository.surroundings.now())
    skip = _own_folders(work.repository)
    paths = [path for path in options.paths if not lies_within(path, skip)]
    if not paths:
        raise KluisError(
            "nothing was named but the repository or this client's cache, which cannot be backed "
            "up into itself. No snapshot was made. Next: name other paths"
        )
    walked = WalkOptions(options.one_file_system, skip)
    report = work.teller.report
    for directory in walk(paths, Exclusions(options.excludes), walked, report):
        context.cancel.check()
        directories.store(directory)
    if directories.totals.directories == 0 or not _found_any(work):
        reasons = [f"{p.path.decode(errors='replace')}: {p.reason}" for p in work.teller.problems]
        raise KluisError(
            "nothing could be backed up: "
            + ("; ".join(reasons) or "the rules leave out all that was named")
            + ". No snapshot was made"
        )
    return directories.root().tree


def _found_any(work: Work) -> bool:
    """False if every path that was asked for is missing."""
    missing = {problem.path for problem in work.teller.problems}
    return any(absolute(path) not in missing for path in work.options.paths)


def _describe(
    work: Work, moments: tuple[int, Counts], uses: FrameSet, root: Content
) -> tuple[Facts, Root]:
    """What the snapshot says of itself."""
    options, session, repository = work.options, work.session, work.repository
    started, counts = moments
    if options.stdin is not None:
        paths: tuple[bytes, ...] = (b"/" + options.stdin.filename.lstrip(b"/"),)
    else:
        paths = tuple(dict.fromkeys(absolute(path) for path in options.paths))
    facts = Facts(
        store=repository.store.store,
        client=session.client,
        previous=_previous(work),
        keyring_epoch=repository.session.epoch,
        time_ns=_time(work, started),
        finished_ns=repository.surroundings.now(),
        host=options.host or host_name(),
        user=_user(),
        tags=options.tags,
        data_set=options.dataset,
        description=options.description,
        program=f"kluis {__version__}",
        replaces=None,
        counts=counts,
        segments=session.run.next_segment,
        last_segment=session.run.previous_segment,
        incomplete=bool(work.teller.problems),
        uses=uses,
        path_group=snapshot.path_group(session.run.domain.dedup(), paths),
    )
    problems = snapshot.problems_kept(
        snapshot.Problem(item.path, item.operation, item.reason) for item in work.teller.problems
    )
    return facts, Root(paths, root.extents, root.digest, root.size, root.listed, problems)


def _time(work: Work, started: int) -> int:
    """The time that the snapshot claims."""
    return started if work.options.time_ns is None else work.options.time_ns


def _commit(
    work: Work, facts: Facts, root: Root, interrupted: tuple[bytes, ...]
) -> SnapshotMark | None:
    """Snapshot, then ledger; None if a frame that it uses was doomed meanwhile."""
    repository, session = work.repository, work.session
    work.context.events(Stage("finishing"))
    mark = store_snapshot(repository, session.run, facts, root)
    for _ in range(ATTEMPTS):
        work.context.cancel.check()
        try:
            record_made(repository, mark, interrupted)
            return mark
        except LedgerMovedError:
            repository.ledger.read_on()
            if not _still_good(work):
                return None
    return None


def _still_good(work: Work) -> bool:
    """True if, after what others wrote to the ledger, all that this run uses is still there."""
    session, state = work.session, work.repository.ledger.state
    if state.has_ended(session.run.id, session.begun_at, work.repository.session.signer.verify):
        return False
    there = list_packs(work.repository)
    own = session.uploader.packs
    if any(pack in state.doomed or there.get(pack) != size for pack, size in own.items()):
        return False  # somebody took a pack of this run for one that nobody wants
    return find_usable(work.repository, session.index) == session.usable and not any(
        PackName(place.shelf, place.digest) in state.doomed for place in session.index.packs
    )


def _raised(work: Work, mark: SnapshotMark) -> tuple[str, ...]:
    """A warning if the snapshot has a given time and counts as younger than that.

    Without one it may: a longer backup ends after a shorter one that began later.
    """
    if work.options.time_ns is None:
        return ()
    repository = work.repository
    times = raised_times(repository.ledger.state, repository.surroundings.now())
    counted = times.get(mark.run, mark.time_ns)
    if counted <= mark.time_ns:
        return ()
    warning = (
        f"this snapshot says that it is of {format_time(mark.time_ns)}, but an earlier one of this "
        f"client is of {format_time(counted)}: rules of `forget` count it as of then, so that no "
        "wrong time pushes a good snapshot out"
    )
    return (warning,)


def _interrupted(work: Work) -> tuple[bytes, ...]:
    """Runs of this client whose process is gone: they end with this one."""
    state, index = work.repository.ledger.state, work.session.index
    heads = {run: item.certificate.head for (run, _), item in index.segments.items()}
    gone = work.repository.cache.open_runs()
    work.finished.extend(gone)
    return tuple(
        run
        for run in gone
        if run not in state.ended and not state.has_ended(run, heads.get(run, 0))
    )


def _remember_chain(work: Work, mark: SnapshotMark) -> None:
    cache = work.repository.cache
    work.session.alive.close()
    cache.forget_runs(work.finished)
    cache.write("last-snapshot", mark.run + mark.k.to_bytes(4, "little") + mark.digest)


def _previous(work: Work) -> Previous | None:
    """This client's last snapshot in this store, as it remembers it."""
    data = work.repository.cache.read("last-snapshot")
    if data is None or len(data) != 16 + 4 + crypt.DIGEST_BYTES:
        return None
    return Previous(data[:16], int.from_bytes(data[16:20], "little"), data[20:])


def _file_archiver(work: Work) -> FileArchiver:
    session, context = work.session, work.context
    cutter = session.cutter(work.options.chunker)
    tree_cutter = session.cutter(BackupOptions().chunker)
    return FileArchiver(
        session.writer, cutter, tree_cutter, context.cancel, work.teller.report, work.teller
    )


def _own_folders(repository: Repository) -> frozenset[tuple[int, int]]:
    """The repository and the cache: a backup of them would feed on itself."""
    places = [repository.storage.identity(), *repository.cache.identities()]
    return frozenset(place for place in places if place is not None)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _counts(work: Work, files: FileArchiver, directories: DirectoryArchiver) -> Counts:
    totals, session = directories.totals, work.session
    return Counts(
        files=totals.files,
        directories=totals.directories,
        others=totals.others,
        bytes=totals.size,
        files_new=totals.files_new,
        files_changed=totals.files_changed,
        files_unmodified=totals.files_unmodified,
        bytes_read=files.bytes_read,
        bytes_new=session.writer.bytes_new,
        bytes_stored=session.uploader.bytes_stored,
        problems=len(work.teller.problems),
    )


def _result(work: Work, directories: DirectoryArchiver, counts: Counts) -> BackupResult:
    totals = directories.totals
    return BackupResult(
        parent=work.basis.parent(),
        files_new=counts.files_new,
        files_changed=counts.files_changed,
        files_unmodified=counts.files_unmodified,
        dirs_new=totals.directories_new,
        dirs_changed=totals.directories_changed,
        dirs_unmodified=totals.directories_unmodified,
        bytes_read=counts.bytes_read,
        bytes_total=counts.bytes,
        bytes_added=counts.bytes_stored,
        bytes_added_plain=counts.bytes_new,
        problems=tuple(work.teller.problems),
        warnings=work.repository.regressions,
        dry_run=work.options.dry_run,
    )
