"""What a store's ledger says, folded record by record. Pure: no I/O, no clock."""

from __future__ import annotations

from kluis.format.crypt import DIGEST_BYTES
from kluis.format.ledger import (
    AGENT,
    OPERATOR,
    Checkpoint,
    Copied,
    Doomed,
    Ended,
    Event,
    Forgotten,
    ForgottenMark,
    Found,
    Held,
    Logged,
    Lost,
    Made,
    PackName,
    Record,
    Released,
    Role,
    Roles,
    SnapshotMark,
    Unforgotten,
    Verified,
)
from kluis.format.usemap import FrameSet, merge
from kluis.frozen import field, mutable, replace

# Which events each role may sign; the owner may sign all.
_ENTITLED: dict[int, tuple[type, ...]] = {
    AGENT: (Made, Ended),
    OPERATOR: (
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
        Checkpoint,
    ),
}


NEVER_NS = -(1 << 63)  # before every time that a snapshot can claim


@mutable
class LedgerState:
    """The store as its ledger describes it, after the record `head`."""

    head: int = 0
    head_digest: bytes = bytes(DIGEST_BYTES)
    roles: dict[bytes, Role] = field(default_factory=dict)
    granted: Roles = field(default_factory=lambda: Roles(()))
    live: dict[bytes, SnapshotMark] = field(default_factory=dict)
    forgotten: dict[bytes, ForgottenMark] = field(default_factory=dict)
    forgotten_at: dict[bytes, int] = field(default_factory=dict)  # record, if after `checkpoint`
    times: list[tuple[int, int]] = field(default_factory=list)  # (record, its time) since then
    copied_doomed: set[bytes] = field(default_factory=set)
    doomed_snapshots: set[bytes] = field(default_factory=set)
    held: dict[bytes, Held] = field(default_factory=dict)
    doomed: set[PackName] = field(default_factory=set)
    lost: FrameSet = field(default_factory=dict)
    verified: list[Verified] = field(default_factory=list)
    logged: Logged | None = None
    ended: set[bytes] = field(default_factory=set)
    claimed: set[tuple[bytes, bytes]] = field(default_factory=set)  # (run, agent who ended it)
    open_at_floor: set[bytes] = field(default_factory=set)
    floor: int = 0
    checkpoint: int = 0  # number of the record that holds the newest checkpoint
    replaced_in_order: tuple[bytes, ...] = ()  # digests of records before it, oldest first

    @property
    def replaced(self) -> frozenset[bytes]:
        """Digests of the records that checkpoints have replaced."""
        return frozenset(self.replaced_in_order)

    def entitled(self, author: bytes, owner: bytes, events: tuple[Event, ...]) -> bool:
        """True if this key may sign all of these events now."""
        if author == owner:
            return True
        role = self.roles.get(author)
        if role is None or role.until:
            return False
        return all(isinstance(event, _ENTITLED.get(role.role, ())) for event in events)

    def may_write(self, maker: bytes, owner: bytes, begun_at: int) -> bool:
        """True if a run begun at this head by this key was begun in time."""
        if maker == owner:
            return True
        role = self.roles.get(maker)
        if role is None or role.role not in (AGENT, OPERATOR):
            return False
        return not role.until or begun_at < role.until

    def may_carry(self, maker: bytes, owner: bytes) -> bool:
        """True for who may list, move and merge what other runs stored."""
        role = self.roles.get(maker)
        return maker == owner or (role is not None and role.role == OPERATOR)

    def has_ended(self, run: bytes, begun_at: int, maker: bytes = b"") -> bool:
        """True if the run signs nothing more; head and maker are those in its certificate."""
        if run in self.ended or run in self.live or run in self.forgotten:
            return True
        if run in self.doomed_snapshots or (run, maker) in self.claimed:
            return True
        return begun_at < self.floor and run not in self.open_at_floor

    def counting(self) -> dict[bytes, SnapshotMark]:
        """Snapshots that count, forgotten but not yet doomed ones included."""
        return {**self.live, **{run: item.mark for run, item in self.forgotten.items()}}

    def apply(self, n: int, digest: bytes, record: Record, events: tuple[Event, ...]) -> None:
        """Folds the n-th record, which was signed by an entitled key."""
        self.head = n
        self.head_digest = digest
        self.times.append((n, record.time_ns))
        for event in events:
            self._apply_event(record, event)

    def _apply_event(self, record: Record, event: Event) -> None:
        match event:
            case Roles():
                self._grant(event)
            case Made(mark):
                # A run that has ended signs nothing more: whatever it says is void.
                if not self._known(mark.run) and mark.run not in self.ended:
                    self.live[mark.run] = replace(mark, maker=record.author, counted=record.n)
                self.ended.add(mark.run)
            case Copied(mark):
                if not self._known(mark.run):
                    self.live[mark.run] = replace(mark, counted=record.n)
            case Ended(runs):
                self._end(record.author, runs)
            case Forgotten(runs):
                self.forget(runs, record.time_ns, record.n)
            case Unforgotten(runs):
                for run in runs:
                    if run in self.forgotten:
                        self.live[run] = self.forgotten.pop(run).mark
            case Held(run):
                self.held[run] = event
            case Released(run):
                self.held.pop(run, None)
            case Doomed(packs, runs):
                self._doom(packs, runs)
            case Lost(frames):
                self.lost = merge((self.lost, frames))
            case Found(frames):
                self.lost = subtract(self.lost, frames)
            case Verified():
                self.verified.append(event)
            case Logged():
                self.logged = event
            case Checkpoint():
                self._restart(record.n, event)

    def _end(self, author: bytes, runs: tuple[bytes, ...]) -> None:
        """An agent ends only runs that it began, which the run's certificate tells."""
        role = self.roles.get(author)
        if role is not None and role.role == AGENT:
            self.claimed.update((run, author) for run in runs)
        else:
            self.ended.update(runs)

    def _grant(self, granted: Roles) -> None:
        """A lower sequence never takes the place of a higher one."""
        if granted.sequence >= self.granted.sequence:
            self.granted = granted
            self.roles = {role.verify_key: role for role in granted.roles}

    def _known(self, run: bytes) -> bool:
        return run in self.live or run in self.forgotten or run in self.doomed_snapshots

    def forget(self, runs: tuple[bytes, ...], time_ns: int, n: int) -> None:
        """These snapshots, unless they are held, count as forgotten since record `n`."""
        for run in runs:
            if run in self.live and run not in self.held:
                self.forgotten[run] = ForgottenMark(self.live.pop(run), time_ns)
                self.forgotten_at[run] = n

    def _doom(self, packs: tuple[PackName, ...], runs: tuple[bytes, ...]) -> None:
        self.doomed.update(packs)
        for run in runs:
            item = self.forgotten.pop(run, None)
            if item is not None:
                self.doomed_snapshots.add(run)
                if item.mark.copied:
                    self.copied_doomed.add(run)

    def _restart(self, n: int, point: Checkpoint) -> None:
        self._grant(point.granted())
        self.live = {mark.run: mark for mark in point.live}
        self.forgotten = {item.mark.run: item for item in point.forgotten}
        self.forgotten_at.clear()
        del self.times[:-1]  # but that of the record which holds the checkpoint
        self.copied_doomed = set(point.copied_doomed)
        self.held = {held.snapshot: held for held in point.held}
        self.doomed = set(point.doomed)
        self.lost = dict(point.lost)
        self.verified = list(point.verified)
        self.logged = point.logged
        self.open_at_floor = set(point.open_runs)
        self.floor = point.floor
        self.checkpoint = n
        self.replaced_in_order = point.replaced


def subtract(frames: FrameSet, gone: FrameSet) -> FrameSet:
    """The frames of the first set that are not in the second; by ranges, however long."""
    result: FrameSet = {}
    for run, ranges in frames.items():
        left: list[tuple[int, int]] = []
        for first, end in ranges:
            position = first
            for start, stop in gone.get(run, ()):
                if stop <= position or start >= end:
                    continue
                if start > position:
                    left.append((position, start))
                position = max(position, stop)
            if position < end:
                left.append((position, end))
        if left:
            result[run] = tuple(left)
    return result


def raised_times(state: LedgerState, now_ns: int) -> dict[bytes, int]:
    """Each counting snapshot's time: claimed, raised to its client's one before it.

    A time after `now_ns` raises nothing. What replaces a snapshot stands in its place
    in the order. So no clock that was wrong can make an old snapshot look new, or
    push an honest one out of a rule.
    """
    result: dict[bytes, int] = {}
    last: dict[tuple[bytes, bytes], int] = {}
    before: dict[bytes, int] = {}  # snapshot -> what its client's order had reached before it
    for mark in sorted(state.counting().values(), key=lambda mark: mark.counted):
        client = mark.maker, mark.client
        reached = last.get(client, NEVER_NS)
        if mark.replaces is not None:
            reached = before.get(mark.replaces, NEVER_NS)
        before[mark.run] = reached
        time_ns = max(mark.time_ns, reached)
        result[mark.run] = time_ns
        if time_ns <= now_ns and mark.replaces is None:
            last[client] = max(time_ns, last.get(client, time_ns))
    return result


def forgotten_times(state: LedgerState, now_ns: int) -> dict[bytes, int]:
    """Since when each snapshot counts as forgotten: claimed, raised to the records before it.

    A clock that was behind must not end the time in which a snapshot can be had back. A record
    of a time after `now_ns` raises nothing: one of a clock that was ahead would keep it for ever.
    """
    reached, before = NEVER_NS, {}  # record -> the latest time of those before it
    for n, time_ns in state.times:
        before[n] = reached
        if time_ns <= now_ns:
            reached = max(reached, time_ns)
    before[state.head + 1] = reached  # as if one were written now
    return {
        run: max(item.forgotten_ns, before.get(state.forgotten_at.get(run, 0), NEVER_NS))
        for run, item in state.forgotten.items()
    }
