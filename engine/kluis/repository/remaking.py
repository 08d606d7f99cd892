"""New snapshots that replace old ones: made, and if wanted the old forgotten, in one record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from kluis import __version__
from kluis.errors import KluisError, NotFoundError
from kluis.events import Context, DamageFound
from kluis.format import crypt, names
from kluis.format.ledger import (
    Ended,
    Event,
    Forgotten,
    Held,
    Made,
    PackName,
    Released,
    SnapshotMark,
)
from kluis.format.snapshot import Facts, Previous, Root
from kluis.frozen import frozen
from kluis.options import SnapshotFilter
from kluis.repository.access import Repository
from kluis.repository.commit import store_snapshot
from kluis.repository.ledger import LedgerMovedError
from kluis.repository.listing import lost_snapshots
from kluis.repository.run import Run, begin
from kluis.repository.selection import choose
from kluis.repository.snapshots import Snapshot

ATTEMPTS = 8
LAST_SNAPSHOT = "last-snapshot"
_CHAIN_BYTES = 16 + 4 + crypt.DIGEST_BYTES


@frozen
class Remade:
    """A snapshot that is stored and does not count yet, and the one that it replaces."""

    old: Snapshot
    mark: SnapshotMark
    begun_at: int  # the ledger's head in the certificate of its run

    def id(self) -> str:
        """The id of the new snapshot."""
        return names.base32(self.mark.run)


def choose_live(
    repository: Repository, ids: Iterable[str], choice: SnapshotFilter, context: Context
) -> list[Snapshot]:
    """The snapshots that are meant, oldest first; those that cannot be opened are told of.

    `NotFoundError` for one that was named and is forgotten.
    """
    chosen, problems = choose(repository, ids, choice)
    for damage in lost_snapshots(problems):
        context.events(DamageFound(damage))
    for snapshot in chosen:
        if snapshot.mark.run not in repository.ledger.state.live:
            raise NotFoundError(
                f"snapshot {snapshot.id()} was forgotten; nothing was changed. Next: "
                f"kluis forget --undo {snapshot.id()[:8]}"
            )
    return chosen


def begin_run(repository: Repository, old: Snapshot) -> Run:
    """A run in the domain of the snapshot that is to be replaced."""
    return begin(
        repository.session,
        repository.store.store,
        repository.session.domain(old.certificate.domain),
        repository.ledger.state,
        repository.surroundings,
    )


def store_again(
    repository: Repository, old: Snapshot, run: Run, changed: tuple[Facts, Root]
) -> SnapshotMark:
    """Stores what replaces `old`: its facts and root as changed; durable, not counting yet.

    The fields that a writer fills in are filled in here; frames must be durable before.
    """
    facts, root = changed
    facts = replace(
        facts,
        store=repository.store.store,
        client=repository.cache.client(repository.surroundings),
        keyring_epoch=repository.session.epoch,
        finished_ns=repository.surroundings.now(),
        program=f"kluis {__version__}",
        replaces=old.mark.run,
        segments=run.next_segment,
        last_segment=run.previous_segment,
    )
    return store_snapshot(repository, run, facts, root)


def previous(repository: Repository) -> Previous | None:
    """This client's last snapshot in this store, as it remembers it."""
    data = repository.cache.read(LAST_SNAPSHOT)
    if data is None or len(data) != _CHAIN_BYTES:
        return None
    return Previous(data[:16], int.from_bytes(data[16:20], "little"), data[20:])


def follow(mark: SnapshotMark) -> Previous:
    """What the snapshot after this one names as its previous."""
    return Previous(mark.run, mark.k, mark.digest)


def remember(repository: Repository, mark: SnapshotMark) -> None:
    """The client's chain goes on from here."""
    repository.cache.write(LAST_SNAPSHOT, mark.run + mark.k.to_bytes(4, "little") + mark.digest)


def remake(
    repository: Repository, prepare: Callable[[], list[Remade]], forget: bool
) -> list[Remade]:
    """Makes count what `prepare` stored, all or none; asks again if an old one went meanwhile.

    With `forget` the old snapshots go in the same record. A hold goes over to the new one.
    """
    given_up: list[bytes] = []
    remade: list[Remade] = []
    doomed: set[PackName] = set()
    for _ in range(ATTEMPTS):
        if not remade or not _stands(repository, remade, doomed):
            given_up += [item.mark.run for item in remade]
            remade, doomed = prepare(), set(repository.ledger.state.doomed)
        if not remade:
            return []
        events = _events(repository, remade, forget)
        if given_up:
            events += (Ended(tuple(sorted(given_up))),)
        try:
            repository.ledger.append(events, repository.session.signer, repository.surroundings)
        except LedgerMovedError:
            repository.ledger.read_on()
            continue
        repository.remember()
        remember(repository, remade[-1].mark)
        return remade
    raise KluisError(
        "others wrote to the repository each time that this command was about to; no snapshot "
        "was changed. Next: run it again"
    )


def _stands(repository: Repository, remade: list[Remade], doomed: set[PackName]) -> bool:
    """True while all that the new snapshots stand on is as it was when they were stored."""
    state = repository.ledger.state
    return state.doomed == doomed and all(
        item.old.mark.run in state.live and not state.has_ended(item.mark.run, item.begun_at)
        for item in remade
    )


def _events(repository: Repository, remade: list[Remade], forget: bool) -> tuple[Event, ...]:
    events: list[Event] = [Made(item.mark) for item in remade]
    if not forget:
        return tuple(events)
    held = repository.ledger.state.held
    moved = [(item, held[item.old.mark.run]) for item in remade if item.old.mark.run in held]
    events += [Released(item.old.mark.run) for item, _ in moved]
    events.append(Forgotten(tuple(sorted(item.old.mark.run for item in remade)), "replaced"))
    events += [Held(item.mark.run, hold.reason) for item, hold in moved]
    return tuple(events)
