"""What each operation is asked to do, as values that are already parsed and checked.

Paths and patterns are bytes, since a name on Linux is any bytes; sizes are bytes,
moments are nanoseconds since 1970 UTC, shares lie between 0 and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from kluis.frozen import field, frozen

if TYPE_CHECKING:
    from kluis.units import CalendarSpan

GroupKey: TypeAlias = Literal["host", "paths", "tags"]
OverwriteRule: TypeAlias = Literal["always", "if-changed", "if-newer", "never"]
StatsMode: TypeAlias = Literal["restore-size", "files-by-contents", "raw-data", "blobs-per-file"]
BenchPart: TypeAlias = Literal["cut", "hash", "zstd", "seal", "pool", "disk"]

KDF_MEMORY_BYTES = 64 << 20
"""What Argon2id may take; more would break the memory bound of every command."""

MAX_UNUSED_SHARE = 0.10
"""Room that may stay with unused frames: moving the last tenth costs more than it frees."""

UNLIMITED_COUNT = -1
"""`--keep-* unlimited`."""

FIXED_CHUNK_BYTES = range(512, (8 << 20) + 1)
"""From the smallest block of any file system to what a frame still takes."""

LEVEL_AUTO = 3
"""zstd level of `auto`: 2.3 ns a byte, and within 3 % of level 6 on large frames."""


class Sink(Protocol):
    """Where a dump goes: anything with the `write` of a binary file."""

    def write(self, data: bytes, /) -> object:
        """Takes all of `data`."""


@frozen
class Credentials:
    """What opens a repository: a passphrase, or the content of a key file."""

    passphrase: bytes | None = field(default=None, repr=False)
    key_file: bytes | None = field(default=None, repr=False)


@frozen
class Compression:
    """How frames are compressed: level 0 stores them as they are.

    `probe` first looks whether data gives way at all.
    """

    level: int = LEVEL_AUTO
    probe: bool = True


@frozen
class Chunker:
    """How files are cut; `fixed_bytes` counts for `fixed` alone."""

    name: Literal["default", "large", "fixed"] = "default"
    fixed_bytes: int = 0


@frozen
class Limit:
    """At most `size` bytes, or at most `share` of the whole; neither means no limit."""

    size: int | None = None
    share: float | None = None


@frozen
class SnapshotFilter:
    """Which snapshots are meant; an empty field does not choose.

    Any of `hosts`; any of the groups in `tags`, of a group every tag (the group
    `("",)` means: without tags); every path in `paths`.
    """

    hosts: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    paths: tuple[bytes, ...] = ()


@frozen
class Excludes:
    """What a walk leaves out. Of patterns the last that matches decides; `!` takes back."""

    patterns: tuple[bytes, ...] = ()
    patterns_any_case: tuple[bytes, ...] = ()
    caches: bool = False
    if_present: tuple[bytes, ...] = ()
    """`name`, or `name:header` to ask that the file begins with it."""
    larger_than: int | None = None
    nodump: bool = False
    gitignore: bool = False


@frozen
class StdinSource:
    """Backs up one file from standard input, or from what `command` prints."""

    filename: bytes = b"stdin"
    command: tuple[bytes, ...] = ()


@frozen
class InitOptions:
    """For `init(location, options, context)`."""

    credentials: Credentials = field(default_factory=Credentials)
    label: str = ""
    kdf_memory_bytes: int = KDF_MEMORY_BYTES


@frozen
class BackupOptions:
    """For `backup`: `paths`, or `stdin`, never both."""

    paths: tuple[bytes, ...] = ()
    excludes: Excludes = field(default_factory=Excludes)
    one_file_system: bool = False
    stdin: StdinSource | None = None
    tags: tuple[str, ...] = ()
    host: str | None = None
    description: str = ""
    time_ns: int | None = None
    dry_run: bool = False
    reread_share: float = 0.0
    compression: Compression = field(default_factory=Compression)
    chunker: Chunker = field(default_factory=Chunker)
    parent: str | None = None
    force: bool = False
    dataset: str = ""


@frozen
class SnapshotsOptions:
    """For `snapshots`: of each group (by `group_by`) only the `latest` newest, if given.

    `forgotten` lists instead those that `forget --undo` can still bring back.
    """

    ids: tuple[str, ...] = ()
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    latest: int | None = None
    group_by: tuple[GroupKey, ...] = ()
    forgotten: bool = False


@frozen
class LsOptions:
    """For `ls`: everything below `path`, or if `paths` are given only what lies in them."""

    snapshot: str = "latest"
    path: bytes = b""
    paths: tuple[bytes, ...] = ()
    recursive: bool = True
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)


@frozen
class FindOptions:
    """For `find`: patterns match a name or, with a slash, a whole path; `packs` names packs."""

    patterns: tuple[bytes, ...] = ()
    packs: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    any_case: bool = False
    newer_than_ns: int | None = None
    older_than_ns: int | None = None


@frozen
class DiffOptions:
    """For `diff`: from `first` to `second`, each possibly below a path (`ID:path`)."""

    first: str
    second: str
    first_path: bytes = b""
    second_path: bytes = b""
    metadata: bool = False


@frozen
class RestoreOptions:
    """For `restore`: into `target`, or where each file came from with `in_place`."""

    snapshot: str = "latest"
    path: bytes = b""
    target: bytes | None = None
    in_place: bool = False
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    include: tuple[bytes, ...] = ()
    include_any_case: tuple[bytes, ...] = ()
    exclude: tuple[bytes, ...] = ()
    exclude_any_case: tuple[bytes, ...] = ()
    overwrite: OverwriteRule = "always"
    delete: bool = False
    dry_run: bool = False
    verify: bool = False
    sparse: bool = False
    numeric_owner: bool = False
    privileged: bool = False


@frozen
class DumpOptions:
    """For `dump`: a file's bytes, or a folder as an archive, written to `sink`."""

    sink: Sink
    snapshot: str = "latest"
    path: bytes = b"/"
    archive: Literal["tar", "zip"] = "tar"
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)


@frozen
class VerifyOptions:
    """For `verify`: 0 structure, 1 every stored byte, 2 every frame opened, digests computed."""

    level: Literal[0, 1, 2] = 0


@frozen
class PruneOptions:
    """For `prune`; `now` waits neither for the delay nor for runs that look alive."""

    dry_run: bool = False
    max_unused: Limit = field(default_factory=lambda: Limit(share=MAX_UNUSED_SHARE))
    max_repack_bytes: int | None = None
    now: bool = False
    delay_seconds: int | None = None
    """None: 0 while the owner's is the only key, else seven days."""


@frozen
class KeepPolicy:
    """Which snapshots of a group stay; 0 does not keep, `UNLIMITED_COUNT` keeps all."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: CalendarSpan | None = None
    within_hourly: CalendarSpan | None = None
    within_daily: CalendarSpan | None = None
    within_weekly: CalendarSpan | None = None
    within_monthly: CalendarSpan | None = None
    within_yearly: CalendarSpan | None = None
    tags: tuple[tuple[str, ...], ...] = ()


@frozen
class ForgetOptions:
    """For `forget`: `ids`, or a policy over those that `filter` chooses, or `undo`."""

    ids: tuple[str, ...] = ()
    policy: KeepPolicy = field(default_factory=KeepPolicy)
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    group_by: tuple[GroupKey, ...] = ("host", "paths")
    undo: tuple[str, ...] = ()
    prune: PruneOptions | None = None
    dry_run: bool = False
    allow_remove_all: bool = False


@frozen
class RewriteOptions:
    """For `rewrite`: a new snapshot for each chosen one; None leaves a field as it was."""

    ids: tuple[str, ...] = ()
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    excludes: Excludes = field(default_factory=Excludes)
    host: str | None = None
    time_ns: int | None = None
    tags: tuple[str, ...] | None = None
    description: str | None = None
    forget: bool = False
    """Also forget the snapshot that the new one replaces."""
    dry_run: bool = False


@frozen
class TagOptions:
    """For `tag`: `replace` alone, or `add` and `remove`."""

    ids: tuple[str, ...] = ()
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    replace: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    dry_run: bool = False


@frozen
class HoldOptions:
    """For `hold`: no policy removes what is held, until it is released."""

    ids: tuple[str, ...] = ()
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    release: bool = False
    reason: str = ""


@frozen
class StatsOptions:
    """For `stats`, over the chosen snapshots or all."""

    ids: tuple[str, ...] = ()
    filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    mode: StatsMode = "restore-size"


@frozen
class RepairOptions:
    """For `repair`: from parity and twins, then the other stores, then the live files."""

    stores: tuple[str, ...] = ()
    source_paths: tuple[bytes, ...] = ()
    dry_run: bool = False


@frozen
class KeyListOptions:
    """For `key_list`."""


@frozen
class KeyAddOptions:
    """For `key_add`: one more passphrase for the owner."""

    passphrase: bytes = field(repr=False)
    name: str = ""
    kdf_memory_bytes: int = KDF_MEMORY_BYTES


@frozen
class KeyPasswdOptions:
    """For `key_passwd`: a new passphrase instead of the one that opened the repository."""

    passphrase: bytes = field(repr=False)
    kdf_memory_bytes: int = KDF_MEMORY_BYTES


@frozen
class KeyRemoveOptions:
    """For `key_remove`: the passphrase with this name, or this id in full."""

    name: str


@frozen
class CacheClearOptions:
    """For `cache_clear(options, context)`; opens no repository, as a broken cache may forbid it.

    `location` narrows it to one repository. The client's identity and what it has
    seen of each store stay, unless `forget_client`.
    """

    cache_folder: str | None = None
    location: str | None = None
    forget_client: bool = False


@frozen
class BenchOptions:
    """For `bench(options, context)`: without `folder` no medium is measured, nothing estimated."""

    folder: bytes | None = None
    size: int = 64 << 20
    parts: tuple[BenchPart, ...] = ("cut", "hash", "zstd", "seal", "pool", "disk")
    source: bytes | None = None
    target: bytes | None = None
    """Where a restore would write; None: where the machine keeps temporary files."""
    total: int | None = None
    """Bytes that a backup would hold; None: those of `source`, or those on the medium."""
    rto_seconds: int | None = None
