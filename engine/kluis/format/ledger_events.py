"""What a ledger record can say: its events. `ledger` writes and reads them."""

from __future__ import annotations

from kluis.format.crypt import DIGEST_BYTES, KEY_BYTES, SIGNATURE_BYTES
from kluis.format.usemap import FrameSet
from kluis.frozen import frozen

NO_DIGEST = bytes(DIGEST_BYTES)
NO_KEY = bytes(KEY_BYTES)
NO_SIGNATURE = bytes(SIGNATURE_BYTES)

OWNER = 1
AGENT = 2
OPERATOR = 3
RESTORER = 4
AUDITOR = 5
ROLES = range(OWNER, AUDITOR + 1)


@frozen
class Role:
    """A key and what it may sign; the owner is not listed, the vault's id names him.

    A run whose certificate names a ledger head below `until` was begun in time.
    """

    role: int
    name: str
    verify_key: bytes
    box_key: bytes
    domains: tuple[bytes, ...]
    # 0: it may sign. Else it was removed by that record, but what it signed before it stays.
    until: int = 0


@frozen
class SnapshotMark:
    """A snapshot that counts, as the ledger knows it.

    A client is `maker` and `client` together: the id alone is only claimed. In `Made`,
    `maker` and `counted` are absent: they are the record's author and number.
    """

    run: bytes
    k: int
    digest: bytes
    last_segment: bytes | None
    client: bytes
    time_ns: int  # claimed; in a checkpoint and in `copied`: raised
    replaces: bytes | None
    maker: bytes = NO_KEY  # verify key of who wrote `made`
    counted: int = 0  # number of the record that made it count: the order of snapshots
    copied: bool = False  # made in another store


@frozen
class PackName:
    """A pack's shelf and digest."""

    shelf: str
    digest: bytes


@frozen
class Roles:
    """From here on, these keys may sign, and no others besides the owner's.

    With the owner's signature (`ledger.sign_roles`) it can be repeated in a checkpoint
    that somebody else writes; a lower sequence never takes the place of a higher one.
    """

    roles: tuple[Role, ...]
    sequence: int = 0
    signature: bytes = NO_SIGNATURE


@frozen
class Made:
    """A run's snapshot counts, and the run has ended."""

    mark: SnapshotMark


@frozen
class Copied:
    """A snapshot made in another store counts here too; its time is already raised."""

    mark: SnapshotMark


@frozen
class Ended:
    """These runs sign nothing more."""

    runs: tuple[bytes, ...]


@frozen
class Forgotten:
    """These snapshots (by run) are to go; until they are doomed that can be undone."""

    snapshots: tuple[bytes, ...]
    reason: str


@frozen
class Unforgotten:
    """These snapshots count again."""

    snapshots: tuple[bytes, ...]


@frozen
class Held:
    """The snapshot must not be forgotten."""

    snapshot: bytes
    reason: str


@frozen
class Released:
    """The hold on this snapshot is over."""

    snapshot: bytes


@frozen
class Doomed:
    """These packs and snapshots will be deleted: final, they are never copies again."""

    packs: tuple[PackName, ...]
    snapshots: tuple[bytes, ...]


@frozen
class Lost:
    """These frames are damaged beyond repair; they must not be reused."""

    frames: FrameSet


@frozen
class Found:
    """These frames came back, in packs of a repairer's run."""

    frames: FrameSet


@frozen
class SegmentRange:
    """Segments first_k to last_k of a run."""

    run: bytes
    first_k: int
    last_k: int


@frozen
class Verified:
    """The packs of these segments were read at `time_ns`, at a level of `verify`."""

    level: int
    time_ns: int
    segments: tuple[SegmentRange, ...]


@frozen
class Logged:
    """The head of governance's own log."""

    n: int
    digest: bytes


@frozen
class ForgottenMark:
    """A snapshot that is forgotten and not yet doomed, and when it was forgotten."""

    mark: SnapshotMark
    forgotten_ns: int


@frozen
class Checkpoint:
    """All that the records before it say and that still matters."""

    roles: tuple[Role, ...]
    live: tuple[SnapshotMark, ...]  # in the order in which they came to count
    forgotten: tuple[ForgottenMark, ...]
    copied_doomed: tuple[bytes, ...]
    held: tuple[Held, ...]
    doomed: tuple[PackName, ...]  # still there
    lost: FrameSet
    verified: tuple[Verified, ...]
    logged: Logged | None
    open_runs: tuple[bytes, ...]
    replaced_first: int
    replaced: tuple[bytes, ...]  # digests of the records replaced_first, +1, ...
    floor: int  # a run begun at a head below it and not listed as open has ended
    roles_sequence: int = 0
    roles_signature: bytes = NO_SIGNATURE

    def granted(self) -> Roles:
        """The roles as the owner granted them."""
        return Roles(self.roles, self.roles_sequence, self.roles_signature)


Event = (
    Roles
    | Made
    | Ended
    | Forgotten
    | Unforgotten
    | Held
    | Released
    | Doomed
    | Copied
    | Lost
    | Found
    | Verified
    | Logged
    | Checkpoint
)
EVENT_TYPES: tuple[type, ...] = (
    Roles,
    Made,
    Ended,
    Forgotten,
    Unforgotten,
    Held,
    Released,
    Doomed,
    Copied,
    Lost,
    Found,
    Verified,
    Logged,
    Checkpoint,
)
