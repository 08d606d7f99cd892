"""What each operation found or did: all that text, JSON and the exit code need."""

from __future__ import annotations

from collections.abc import Iterator

from kluis.errors import DamageError, KluisError
from kluis.events import Damage as Damage
from kluis.events import Problem as Problem
from kluis.frozen import frozen
from kluis.listing import DiffChange as DiffChange
from kluis.listing import EntryKind as EntryKind
from kluis.listing import FoundEntry as FoundEntry
from kluis.listing import KeyInfo as KeyInfo
from kluis.listing import ListedEntry as ListedEntry
from kluis.listing import SnapshotGroup as SnapshotGroup
from kluis.listing import SnapshotInfo as SnapshotInfo

INCOMPLETE_STATUS = 3
"""Finished, but something outside the repository could not be read or set; each is named."""

DAMAGE_STATUS = DamageError.exit_status


def _status(problems: tuple[Problem, ...], damages: tuple[Damage, ...]) -> int:
    if damages:
        return DAMAGE_STATUS
    return INCOMPLETE_STATUS if problems else 0


@frozen
class InitResult:
    """A repository that is durable on its medium."""

    location: str
    vault: str
    store: str
    exit_status: int = 0


@frozen
class BackupResult:
    """A snapshot that is durable, or what one would hold (`dry_run`)."""

    snapshot_id: str = ""
    """Empty for a dry run."""
    short_id: str = ""
    parent: str | None = None
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    bytes_read: int = 0
    bytes_total: int = 0
    bytes_added: int = 0
    """As stored: compressed and sealed."""
    bytes_added_plain: int = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    dry_run: bool = False
    time_ns: int = 0
    duration_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """3 if anything could not be read."""
        return _status(self.problems, ())


@frozen
class SnapshotsResult:
    """Groups (one, if nothing was grouped), each with its oldest snapshot first."""

    groups: tuple[SnapshotGroup, ...]
    warnings: tuple[str, ...] = ()
    damages: tuple[Damage, ...] = ()

    @property
    def exit_status(self) -> int:
        """4 if a snapshot cannot be read."""
        return _status((), self.damages)


@frozen
class LsResult:
    """Entries in the order of their paths, read as they are taken, or their `paths` alone.

    Take one of the two; it raises `DamageError` at its end if some could not be listed.
    """

    snapshot: SnapshotInfo
    entries: Iterator[ListedEntry]
    exit_status: int = 0
    paths: Iterator[bytes] = iter(())


@frozen
class FindResult:
    """Matches, snapshot by snapshot, oldest first; the iterator behaves as that of `LsResult`."""

    matches: Iterator[FoundEntry]
    exit_status: int = 0


@frozen
class DiffResult:
    """Changes in the order of their paths; the iterator behaves as that of `LsResult`."""

    first: SnapshotInfo
    second: SnapshotInfo
    changes: Iterator[DiffChange]
    exit_status: int = 0


@frozen
class RestoreResult:
    """What was written, and every name that could not be restored as it was."""

    snapshot_id: str
    target: bytes
    files_total: int = 0
    files_restored: int = 0
    files_unchanged: int = 0  # there already and right
    files_skipped: int = 0  # there already and left alone, as `overwrite` asked
    dirs_restored: int = 0
    others_restored: int = 0
    deleted: int = 0
    bytes_total: int = 0
    bytes_restored: int = 0
    problems: tuple[Problem, ...] = ()
    damages: tuple[Damage, ...] = ()
    """Each names the files that are not restored."""
    files_verified: int = 0
    dry_run: bool = False
    duration_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """4 if stored bytes were missing, 3 if the target refused something."""
        return _status(self.problems, self.damages)


@frozen
class DumpResult:
    """What was written to the sink."""

    files: int = 0
    size: int = 0
    problems: tuple[Problem, ...] = ()
    damages: tuple[Damage, ...] = ()

    @property
    def exit_status(self) -> int:
        """4 if stored bytes were missing, 3 if an archive cannot hold something."""
        return _status(self.problems, self.damages)


@frozen
class VerifyResult:
    """Everything that is damaged; counts of what was checked; when bytes were last read."""

    level: int
    damages: tuple[Damage, ...] = ()
    regressions: tuple[str, ...] = ()
    """The store is older than, or another branch of, what this client has seen."""
    warnings: tuple[str, ...] = ()
    snapshots: int = 0
    packs: int = 0
    segments: int = 0
    records: int = 0
    frames: int = 0
    objects: int = 0
    files: int = 0
    bytes_read: int = 0
    oldest_read_ns: int | None = None
    """When the byte that was read longest ago was read; None while some never were."""
    bytes_never_read: int = 0
    """Never, as far as it was noted: nothing is where there is damage or a medium is read-only."""
    duration_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """4 for any damage, and for a store that went back."""
        return DAMAGE_STATUS if self.damages or self.regressions else 0


@frozen
class PrunePlan:
    """What a prune does, computed before it does anything."""

    bytes_total: int = 0
    bytes_used: int = 0
    bytes_unused: int = 0
    packs_total: int = 0
    packs_kept: int = 0
    packs_removed: int = 0
    packs_moved: int = 0
    """Emptied by moving what they still hold."""
    bytes_moved: int = 0
    bytes_freed: int = 0
    bytes_unused_after: int = 0
    snapshots_doomed: tuple[str, ...] = ()
    snapshots_waiting: tuple[str, ...] = ()
    """Forgotten, and still to be had back with `forget --undo`."""
    runs_ended: int = 0
    runs_open: int = 0
    segments_merged: int = 0
    records_merged: int = 0


@frozen
class PruneResult:
    """The plan, done unless `dry_run`."""

    plan: PrunePlan
    dry_run: bool = False
    warnings: tuple[str, ...] = ()
    duration_seconds: float = 0.0
    exit_status: int = 0


@frozen
class ForgetChoice:
    """One snapshot and why it stays or goes."""

    snapshot: SnapshotInfo
    reasons: tuple[str, ...]


@frozen
class ForgetGroup:
    """What a policy decides about snapshots that are alike in what they were grouped by."""

    keep: tuple[ForgetChoice, ...] = ()
    remove: tuple[ForgetChoice, ...] = ()
    host: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[bytes, ...] = ()


@frozen
class ForgetResult:
    """Groups of a policy (one without a name for plain ids), what went and what came back."""

    groups: tuple[ForgetGroup, ...] = ()
    forgotten: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    can_undo: bool = False
    dry_run: bool = False
    warnings: tuple[str, ...] = ()
    prune: PruneResult | None = None
    exit_status: int = 0


@frozen
class Rewritten:
    """A snapshot and the one that replaces it; `new` is empty where nothing had to change."""

    old: str
    new: str
    what: tuple[str, ...] = ()


@frozen
class RewriteResult:
    """For `rewrite` and `tag`: each chosen snapshot."""

    snapshots: tuple[Rewritten, ...]
    dry_run: bool = False
    exit_status: int = 0


@frozen
class HoldResult:
    """Snapshots that are held (or released) now, and those that were so already."""

    changed: tuple[str, ...]
    already: tuple[str, ...] = ()
    released: bool = False
    exit_status: int = 0


@frozen
class StatsResult:
    """Totals over the chosen snapshots; which fields count depends on the mode."""

    mode: str
    snapshots: int
    files: int = 0
    size: int = 0
    frames: int = 0
    packs: int = 0
    bytes_stored: int = 0
    bytes_plain: int = 0
    exit_status: int = 0


@frozen
class Healed:
    """An object that is whole again, and where its bytes came from."""

    object: str
    source: str


@frozen
class RepairResult:
    """What was healed, and what was not."""

    healed: tuple[Healed, ...] = ()
    unhealed: tuple[Damage, ...] = ()
    dry_run: bool = False
    duration_seconds: float = 0.0

    @property
    def exit_status(self) -> int:
        """0 when all is whole, else 4."""
        return DAMAGE_STATUS if self.unhealed else 0


@frozen
class KeysResult:
    """All keys after `key_list`, `key_add` or `key_passwd`."""

    keys: tuple[KeyInfo, ...]
    exit_status: int = 0


@frozen
class CacheClearResult:
    """What was deleted in the cache."""

    folders: tuple[bytes, ...] = ()
    size: int = 0
    exit_status: int = 0


@frozen
class Span:
    """Seconds: as in the best round measured, as is likely, as in the worst."""

    low: float
    likely: float
    high: float


@frozen
class Measurement:
    """One thing measured: `size` bytes in `seconds`, of which the CPU worked `cpu_seconds`."""

    name: str
    size: int
    seconds: float
    cpu_seconds: float = 0.0
    remark: str = ""
    rounds: tuple[float, ...] = ()
    """Seconds of each round of the same size; `seconds` is their median."""
    latencies: tuple[float, ...] = ()
    """Seconds of each call, ascending, where calls were timed one by one."""


@frozen
class BenchStage:
    """What one part of a job takes by itself, and the bytes that it deals with."""

    name: str
    seconds: Span
    size: int


@frozen
class Estimate:
    """How long a job would take here; its stages run beside one another."""

    job: str
    seconds: Span
    stages: tuple[BenchStage, ...]
    bottleneck: str


@frozen
class BenchResult:
    """Measurements in the order in which they were made, and what follows from them."""

    measurements: tuple[Measurement, ...]
    estimates: tuple[Estimate, ...] = ()
    total_bytes: int = 0
    assumptions: tuple[str, ...] = ()
    rto_seconds: int | None = None
    verdict: str = ""
    """A restore within the RTO: met, missed, or `unsure` if only its worst case takes longer."""
    advice: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """1 unless the whole estimate of a restore lies within the RTO that was asked for."""
        return KluisError.exit_status if self.verdict in ("unsure", "missed") else 0
