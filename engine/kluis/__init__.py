r"""kluis: a backup engine that deduplicates, encrypts and repairs itself.

This is the whole public interface. Everything is loaded when it is first used.

Make a repository in an empty folder, and open it. Without the passphrase nothing in it can
be read, by anybody. The cache folder holds what this client keeps outside the repository.

>>> import os, pathlib, tempfile
>>> import kluis
>>> scratch = tempfile.TemporaryDirectory()
>>> place = pathlib.Path(scratch.name)
>>> secret = kluis.Credentials(passphrase=b"correct horse battery staple")
>>> made = kluis.init(place / "repository", kluis.InitOptions(secret))
>>> repo = kluis.open(place / "repository", secret, cache_folder=place / "cache")

Back up a folder. The result is a dataclass; what could not be read is named in `problems`.

>>> books = place / "books"
>>> books.mkdir()
>>> _ = (books / "2026.csv").write_text("date,amount\n2026-01-31,12.50\n")
>>> result = kluis.backup(repo, paths=[books])
>>> result.files_new, result.problems, result.exit_status
(1, (), 0)

List the snapshots, and what is in the newest one.

>>> [group] = kluis.snapshots(repo).groups
>>> [snapshot.id == result.snapshot_id for snapshot in group.snapshots]
[True]
>>> names = [os.path.basename(entry.path) for entry in kluis.ls(repo).entries]
>>> names[-2:]
[b'books', b'2026.csv']

Read a stored file in place: seekable, and every byte checked before it is given out.

>>> with repo.open_file("latest", books / "2026.csv") as file:
...     _ = file.seek(12)
...     file.read()
b'2026-01-31,12.50\n'

Events tell what an operation is doing, `cancel` stops it, from any thread.

>>> stages = []
>>> def listen(event):
...     if isinstance(event, kluis.Stage):
...         stages.append(event.name)
>>> again = kluis.backup(repo, paths=[books], context=kluis.Context(events=listen))
>>> again.files_new, "backing up" in stages
(0, True)

Forget all but the newest, with the reason for each that stays; then give the room back.

>>> kept = kluis.forget(repo, kluis.ForgetOptions(policy=kluis.KeepPolicy(last=1)))
>>> [choice.reasons for group in kept.groups for choice in group.keep]
[('last snapshot',)]
>>> kluis.forget(repo, kluis.ForgetOptions(undo=kept.forgotten)).undone == kept.forgotten
True
>>> repo.close()
>>> scratch.cleanup()
"""

# ruff: noqa: I001 - names that are given on are imported `as` themselves, many a line

from __future__ import annotations

import os

__version__ = "0.1.0"

TYPE_CHECKING = False  # to type checkers it is true; `typing` takes 5 ms, too much for --version
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol, TypeAlias, TypeVar

    from kluis.errors import (
        AlreadyExistsError as AlreadyExistsError,
        BusyError as BusyError,
        CancelledError as CancelledError,
        DamageError as DamageError,
        FormatError as FormatError,
        KluisError as KluisError,
        MediumGoneError as MediumGoneError,
        NewerFormatError as NewerFormatError,
        NoRepositoryError as NoRepositoryError,
        NoSpaceError as NoSpaceError,
        NotFoundError as NotFoundError,
        PasswordError as PasswordError,
        RefusedError as RefusedError,
        StorageError as StorageError,
        UnreadableError as UnreadableError,
        UsageError as UsageError,
    )
    from kluis.events import (
        Cancel as Cancel,
        Context as Context,
        Damage as Damage,
        DamageFound as DamageFound,
        Event as Event,
        FileDone as FileDone,
        FileProblem as FileProblem,
        Problem as Problem,
        Progress as Progress,
        Stage as Stage,
        Warning_ as Warning_,
    )
    from kluis.listing import (
        DiffChange as DiffChange,
        FoundEntry as FoundEntry,
        KeyInfo as KeyInfo,
        ListedEntry as ListedEntry,
        SnapshotGroup as SnapshotGroup,
        SnapshotInfo as SnapshotInfo,
    )
    from kluis.options import (
        BackupOptions as BackupOptions,
        BenchOptions as BenchOptions,
        CacheClearOptions as CacheClearOptions,
        Chunker as Chunker,
        Compression as Compression,
        Credentials as Credentials,
        DiffOptions as DiffOptions,
        DumpOptions as DumpOptions,
        Excludes as Excludes,
        FindOptions as FindOptions,
        ForgetOptions as ForgetOptions,
        HoldOptions as HoldOptions,
        InitOptions as InitOptions,
        KeepPolicy as KeepPolicy,
        KeyAddOptions as KeyAddOptions,
        KeyListOptions as KeyListOptions,
        KeyPasswdOptions as KeyPasswdOptions,
        KeyRemoveOptions as KeyRemoveOptions,
        Limit as Limit,
        LsOptions as LsOptions,
        PruneOptions as PruneOptions,
        RepairOptions as RepairOptions,
        RestoreOptions as RestoreOptions,
        RewriteOptions as RewriteOptions,
        SnapshotFilter as SnapshotFilter,
        SnapshotsOptions as SnapshotsOptions,
        StatsOptions as StatsOptions,
        StdinSource as StdinSource,
        TagOptions as TagOptions,
        VerifyOptions as VerifyOptions,
    )
    from kluis.repository.access import Repository as Repository
    from kluis.results import (
        BackupResult as BackupResult,
        BenchResult as BenchResult,
        BenchStage as BenchStage,
        CacheClearResult as CacheClearResult,
        DiffResult as DiffResult,
        DumpResult as DumpResult,
        Estimate as Estimate,
        FindResult as FindResult,
        ForgetChoice as ForgetChoice,
        ForgetGroup as ForgetGroup,
        ForgetResult as ForgetResult,
        Healed as Healed,
        HoldResult as HoldResult,
        InitResult as InitResult,
        KeysResult as KeysResult,
        LsResult as LsResult,
        Measurement as Measurement,
        PrunePlan as PrunePlan,
        PruneResult as PruneResult,
        RepairResult as RepairResult,
        RestoreResult as RestoreResult,
        RewriteResult as RewriteResult,
        Rewritten as Rewritten,
        SnapshotsResult as SnapshotsResult,
        Span as Span,
        StatsResult as StatsResult,
        VerifyResult as VerifyResult,
    )
    from kluis.units import CalendarSpan as CalendarSpan

    _Options = TypeVar("_Options", contravariant=True)
    _Result = TypeVar("_Result", covariant=True)

    class _Verb(Protocol[_Options, _Result]):
        """An operation on an open repository; without options it does what they say by default."""

        def __call__(
            self,
            repository: Repository,
            options: _Options | None = None,
            context: Context | None = None,
        ) -> _Result:
            """The result."""


AnyPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"

_CARRIERS = ("errors", "events", "listing", "options", "results", "units", "repository.access")


def __getattr__(name: str) -> Any:
    """Loads what is asked for from the module that defines it."""
    if not name.startswith("_"):
        for carrier in _CARRIERS:
            found = getattr(_module(carrier), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"kluis has no {name!r}")


class _Run:
    """What each verb is while it runs."""

    def __init__(self, name: str, doc: str) -> None:
        self.__name__, self.__doc__ = name, doc

    def __call__(
        self,
        repository: Repository,
        options: Any = None,
        context: Context | None = None,
    ) -> Any:
        name = self.__name__
        if options is None:
            words = name.title().replace("_", "")
            options = getattr(_module("options"), f"{words}Options")()
        module = "keys" if name.startswith("key_") else name
        return _operation(module, name)(repository, options, context or _quiet())


def _module(name: str) -> Any:
    from importlib import import_module

    return import_module(f"kluis.{name}")


def _operation(module: str, name: str) -> Callable[..., Any]:
    """Loaded by name: nothing inside the engine may reach an operation through this module."""
    found: Callable[..., Any] = getattr(_module(f"operations.{module}"), name)
    return found


def _quiet() -> Context:
    from kluis.events import Context

    return Context()


def open(
    location: AnyPath, credentials: Credentials, *, cache_folder: AnyPath | None = None
) -> Repository:
    """The repository in the folder `location`; a context manager. Nothing is written to it.

    `NoRepositoryError` if there is none, `PasswordError` if the credentials do not open it.
    """
    from kluis.repository.access import open_repository
    from kluis.repository.places import cache_folder as default_cache
    from kluis.repository.places import open_storage
    from kluis.surroundings import Machine

    cache = default_cache(os.fsdecode(cache_folder) if cache_folder else None, os.environ)
    storage = open_storage(os.fsdecode(location))
    try:
        return open_repository(storage, credentials, cache, Machine())
    except BaseException:
        storage.close()
        raise


def init(location: AnyPath, options: InitOptions, context: Context | None = None) -> InitResult:
    """A new repository in the folder `location`, which is made if it is missing; durable."""
    run = _operation("init", "init")
    result: InitResult = run(os.fsdecode(location), options, context or _quiet())
    return result


def backup(
    repository: Repository,
    options: BackupOptions | None = None,
    context: Context | None = None,
    *,
    paths: Iterable[AnyPath] = (),
) -> BackupResult:
    """A snapshot of `paths` and those in the options; durable when this returns."""
    from kluis.frozen import replace
    from kluis.options import BackupOptions

    options = options or BackupOptions()
    wanted = replace(options, paths=(*options.paths, *map(os.fsencode, paths)))
    run = _operation("backup", "backup")
    result: BackupResult = run(repository, wanted, context or _quiet())
    return result


def forget(
    repository: Repository, options: ForgetOptions, context: Context | None = None
) -> ForgetResult:
    """Snapshots removed by name or by a policy, or brought back; then, if wanted, a prune."""
    from kluis.frozen import replace

    context = context or _quiet()
    run = _operation("forget", "forget")
    result: ForgetResult = run(repository, options, context)
    if options.prune is None or options.undo:
        return result
    if not options.dry_run:
        return replace(result, prune=prune(repository, options.prune, context))
    with _operation("forget", "as_if")(repository, result):
        planned = prune(repository, replace(options.prune, dry_run=True), context)
    return replace(result, prune=planned)


def cache_clear(
    options: CacheClearOptions | None = None, context: Context | None = None
) -> CacheClearResult:
    """What this client keeps of one repository, or of all, is deleted when this returns."""
    from kluis.options import CacheClearOptions

    run = _operation("cache", "cache_clear")
    result: CacheClearResult = run(options or CacheClearOptions(), context or _quiet())
    return result


def bench(options: BenchOptions | None = None, context: Context | None = None) -> BenchResult:
    """How fast this machine and a medium are, and what a backup and a restore would take."""
    from kluis.options import BenchOptions

    run, verbs = _operation("bench", "bench"), ("backup", "restore")
    rehearsed = [_operation(verb, verb) for verb in verbs]
    result: BenchResult = run(options or BenchOptions(), context or _quiet(), *rehearsed)
    return result


snapshots: _Verb[SnapshotsOptions, SnapshotsResult] = _Run(
    "snapshots", "The snapshots that are meant, oldest first, grouped if that is wanted."
)
ls: _Verb[LsOptions, LsResult] = _Run("ls", "What is in a snapshot, read as it is taken.")
find: _Verb[FindOptions, FindResult] = _Run("find", "Paths that match, in many snapshots.")
diff: _Verb[DiffOptions, DiffResult] = _Run("diff", "What changed between two snapshots.")
restore: _Verb[RestoreOptions, RestoreResult] = _Run(
    "restore", "Files of a snapshot, written to a folder; all that could not be is named."
)
dump: _Verb[DumpOptions, DumpResult] = _Run(
    "dump", "A file's bytes, or a folder as an archive, written to a sink."
)
verify: _Verb[VerifyOptions, VerifyResult] = _Run("verify", "All damage that there is.")
repair: _Verb[RepairOptions, RepairResult] = _Run("repair", "What was damaged, healed.")
prune: _Verb[PruneOptions, PruneResult] = _Run(
    "prune", "The room of what no snapshot needs, given back."
)
hold: _Verb[HoldOptions, HoldResult] = _Run("hold", "Snapshots that no policy removes.")
tag: _Verb[TagOptions, RewriteResult] = _Run("tag", "Snapshots with other tags.")
rewrite: _Verb[RewriteOptions, RewriteResult] = _Run(
    "rewrite", "Snapshots without some paths, or with another host, time or remark."
)
stats: _Verb[StatsOptions, StatsResult] = _Run("stats", "How many files and bytes there are.")
key_list: _Verb[KeyListOptions, KeysResult] = _Run("key_list", "What opens the repository.")
key_add: _Verb[KeyAddOptions, KeysResult] = _Run("key_add", "One passphrase more.")
key_passwd: _Verb[KeyPasswdOptions, KeysResult] = _Run(
    "key_passwd", "Another passphrase instead of the one that opened the repository."
)
key_remove: _Verb[KeyRemoveOptions, KeysResult] = _Run(
    "key_remove", "One passphrase less; never the last, nor the one that opened the repository."
)
