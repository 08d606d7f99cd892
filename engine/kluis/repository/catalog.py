"""All snapshots of a store by what they say of themselves: what a list needs, and no more.

Opening a snapshot takes three signatures and two seals, 0.3 ms; a client that has done that
keeps what a list needs of it. The digest in the ledger's mark says that it is still the same
snapshot. One whose file is missing is not listed from memory, but looked for.
"""

from __future__ import annotations

from typing import Any

from kluis.errors import DamageError, FormatError
from kluis.format import crypt, names
from kluis.format.ledger import SnapshotMark
from kluis.frozen import frozen
from kluis.listing import SnapshotInfo
from kluis.repository.access import Repository
from kluis.repository.kept import KEPT_FROM_RECORDS, KEPT_SHARE, Shelf
from kluis.repository.keys import Session
from kluis.repository.snapshots import Snapshot, VoidSnapshotError, load, short_ids
from kluis.repository.state import LedgerState, raised_times, subtract

KEPT = "snapshots"

# Plain values, as they are kept: who says it, then what `SnapshotInfo` takes (`_info`).
Said = tuple[Any, ...]
_SAID_BY = 6
_ID = _SAID_BY


@frozen
class Card:
    """A snapshot as a list shows it, and what it is sorted and grouped by."""

    mark: SnapshotMark
    time_ns: int  # claimed, raised to its client's one before it
    finished_ns: int
    path_group: bytes | None  # None for who reads the paths themselves
    info: SnapshotInfo

    def order(self) -> tuple[int, int, int, bytes]:
        """Sorts as `snapshots.in_time`."""
        return self.time_ns, self.mark.counted, self.finished_ns, self.mark.run


class Catalog:
    """The cards of one store, by the ledger as read now."""

    def __init__(self, repository: Repository) -> None:
        state = repository.ledger.state
        self._repository = repository
        self._shelf = _shelf(repository)
        self._kept = _kept(self._shelf)
        self._ids = {run: self._id(run) for run in state.counting()}
        self._short = short_ids(list(self._ids.values()))
        self._times = raised_times(state, repository.surroundings.now())

    def _id(self, run: bytes) -> str:
        known = self._kept.get(run)
        return known[_ID] if known is not None else names.base32(run)

    def live(self) -> tuple[list[Card], dict[str, str]]:
        """All live snapshots, oldest first, and why some cannot be opened (by id)."""
        marks = self._repository.ledger.state.live
        kept = self._kept
        there = set(self._repository.storage.names(names.SNAPSHOTS)) if kept else set()
        found, problems, said, fresh = [], {}, {}, 0
        for run, mark in marks.items():
            known, opened = kept.get(run), None
            if known is None or not self._holds(mark, known, there):
                try:
                    opened = load(self._repository, mark, self._times[run])
                except VoidSnapshotError:
                    continue
                except (DamageError, FormatError) as error:
                    problems[self._ids[run]] = str(error)
                    continue
                known = said_of(opened)
                fresh += known != kept.get(run)
            said[run] = known
            found.append(self._card(mark, known, opened))
        found.sort(key=Card.order)
        if fresh >= max(KEPT_FROM_RECORDS, len(kept) // KEPT_SHARE):
            self._shelf.write(KEPT, _shared(said))
        return found, problems

    def card(self, snapshot: Snapshot) -> Card:
        """The card of a snapshot that was opened."""
        return self._card(snapshot.mark, said_of(snapshot), snapshot)

    def open(self, run: bytes) -> Card:
        """The card of one snapshot that counts, opened now."""
        mark = self._repository.ledger.require(run)
        return self.card(load(self._repository, mark, self._times[run]))

    def _holds(self, mark: SnapshotMark, said: Said, there: set[str]) -> bool:
        """True if what is kept is what opening the snapshot would show now."""
        k, digest, maker, head = said[:4]
        state, owner = self._repository.ledger.state, self._repository.session.owner_verify
        return (
            (k, digest) == (mark.k, mark.digest)
            and (maker == mark.maker or mark.copied)
            and not state.lost  # which frames it uses is not kept
            and state.may_write(maker, owner, head)
            and f"{names.SNAPSHOTS}/{said[_ID]}-{k:08d}" in there
        )

    def _card(self, mark: SnapshotMark, said: Said, snapshot: Snapshot | None = None) -> Card:
        state, run, time_ns = self._repository.ledger.state, mark.run, self._times[mark.run]
        lost = snapshot is not None and _lacks(state, snapshot)
        forgotten = state.forgotten.get(run)
        since = forgotten.forgotten_ns if forgotten is not None else None
        info = _info(said, (self._short[said[_ID]], run in state.held, lost, since, time_ns))
        return Card(mark, time_ns, said[4], said[5], info)


def _lacks(state: LedgerState, snapshot: Snapshot) -> bool:
    """True if frames of the snapshot are lost."""
    return subtract(state.lost, snapshot.facts.uses) != state.lost


def said_of(snapshot: Snapshot) -> Said:
    """What a snapshot says of itself, as it is kept."""
    facts, root, mark = snapshot.facts, snapshot.root, snapshot.mark
    return (
        mark.k,
        mark.digest,
        snapshot.certificate.maker,
        snapshot.certificate.head,
        facts.finished_ns,
        facts.path_group if root is None else None,
        snapshot.id(),
        facts.time_ns,
        facts.host,
        facts.tags,
        root.paths if root is not None else (),
        facts.description,
        facts.user,
        facts.data_set,
        facts.incomplete,
        facts.counts.files,
        facts.counts.directories,
        facts.counts.bytes,
        facts.counts.bytes_stored,
        names.base32(facts.previous.run) if facts.previous is not None else None,
        names.base32(facts.replaces) if facts.replaces is not None else None,
    )


def _info(said: Said, known: tuple[str, bool, bool, int | None, int]) -> SnapshotInfo:
    """What a list shows; `known`: short id, held, lost, since when forgotten, raised time."""
    short, held, lost, forgotten_ns, raised_ns = known
    whole, time_ns, host, tags, paths, description, user, dataset, incomplete = said[6:15]
    files, dirs, size, bytes_added, parent, replaces = said[15:]
    return SnapshotInfo(
        whole,
        short,
        time_ns,
        host,
        tags,
        paths,
        description,
        user,
        dataset,
        held,
        incomplete or lost,
        files,
        dirs,
        size,
        bytes_added,
        parent,
        replaces,
        forgotten_ns,
        raised_ns if raised_ns != time_ns else None,
    )


def _shelf(repository: Repository) -> Shelf:
    """Where cards are kept, under all secrets of the session: fewer secrets show less."""
    key = crypt.derive(crypt.digest(_secrets(repository.session)), "client's list of snapshots")
    return Shelf(repository.cache, key, repository.surroundings)


def _secrets(session: Session) -> bytes:
    parts = [session.vault_key]
    for keys in sorted(session.domains.values(), key=lambda keys: keys.id):
        secrets = keys.secrets
        held = (keys.id, secrets.secret, secrets.meta, secrets.dedup)
        parts += [secret or bytes(crypt.KEY_BYTES) for secret in held]
    return b"".join(parts)


def _kept(shelf: Shelf) -> dict[bytes, Said]:
    kept = shelf.read(KEPT)
    return kept if isinstance(kept, dict) else {}


def _shared(said: dict[bytes, Said]) -> dict[bytes, Said]:
    """The same, equal values as one: a tenth of the room, here and where it is kept."""
    one: dict[Any, Any] = {}

    def same(value: Any) -> Any:
        return value if isinstance(value, int) else one.setdefault(value, value)

    return {run: tuple(map(same, values)) for run, values in said.items()}
