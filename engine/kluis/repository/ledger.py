"""The store's ledger on its storage: reading the chain, and appending by compare."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import (
    AlreadyExistsError,
    DamageError,
    FormatError,
    NotFoundError,
    RefusedError,
)
from kluis.format import crypt, ledger, names
from kluis.format.ledger import Checkpoint, Event
from kluis.repository.small import Copies, read_copies, read_or_none
from kluis.repository.state import LedgerState
from kluis.storage.base import Storage
from kluis.surroundings import Surroundings


class LedgerMovedError(AlreadyExistsError):
    """Another one appended first: read on and decide again."""

    code = "ledger_moved"
    retryable = True


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose ledger it is, and the key that opens its events."""

    vault: bytes
    store: bytes
    owner_verify: bytes
    vault_key: bytes
    roles_sequence: int = 0  # the keyring's: no older roles are believed


@dataclass(frozen=True, slots=True)
class Signer:
    """The Ed25519 pair that signs new records."""

    verify: bytes
    signing: bytes


@dataclass
class Ledger:
    """A store's ledger, read up to `state.head`."""

    storage: Storage
    identity: Identity
    state: LedgerState = field(default_factory=LedgerState)
    # Numbers of records that could not be read or did not fit, with the reason.
    broken: dict[int, str] = field(default_factory=dict)
    without_twin: set[int] = field(default_factory=set)
    digests: dict[int, bytes] = field(default_factory=dict)

    def read(self) -> None:
        """Reads everything from the newest checkpoint on; `state` is then up to date."""
        numbers = self._numbers()
        chain: list[tuple[int, ledger.Record | None, bytes]] = []
        for n in reversed(numbers):
            record, digest = self._load(n)
            chain.append((n, record, digest))
            if record is not None and self._is_checkpoint(record):
                break
        self.state = LedgerState()
        for n, record, digest in reversed(chain):
            self._fold(n, record, digest)
        if self.state.head == 0:
            raise DamageError(
                "the ledger of this store cannot be read: every record is missing or damaged. "
                "Nothing was changed. Next: kluis verify, kluis repair"
            )

    def read_on(self) -> bool:
        """Reads records that others appended since; True if there were any."""
        fresh = [n for n in self._numbers() if n > self.state.head]
        for n in fresh:
            record, digest = self._load(n)
            self._fold(n, record, digest)
        return bool(fresh)

    def append(self, events: tuple[Event, ...], signer: Signer, surroundings: Surroundings) -> None:
        """Appends one record to the head that was read; durable, with its twin, on return.

        Raises `LedgerMovedError` if the head is not the newest one, `RefusedError` if this key
        may not say it: a record that readers would skip is not written.
        """
        if not self.state.entitled(signer.verify, self.identity.owner_verify, events):
            raise RefusedError(
                "this key may not do that: the owner has not given it the right, or took it "
                "back. Nothing was recorded. Next: use a key of a role that may"
            )
        self._complete_twins()
        n = max([self.state.head, *self.broken]) + 1
        data = self._seal(n, events, signer, surroundings)
        try:
            self.storage.create(names.ledger(n), data)
        except AlreadyExistsError:
            raise LedgerMovedError(f"somebody else wrote ledger record {n} first") from None
        digest = crypt.digest(data)
        self._refuse_if_passed(n, digest)
        try:
            self.storage.create(names.twin(names.ledger(n)), data)
        except AlreadyExistsError:
            # Somebody completed the record for us; the same bytes, or he read another one.
            if read_or_none(self.storage, names.twin(names.ledger(n))) != data:
                raise LedgerMovedError(f"ledger record {n} exists in two versions") from None
        record = ledger.decode(data, names.ledger(n))
        self._fold(n, record, digest)

    def _seal(
        self, n: int, events: tuple[Event, ...], signer: Signer, surroundings: Surroundings
    ) -> bytes:
        who = self.identity
        previous = self.state.head_digest
        sealed = crypt.seal(
            crypt.derive(who.vault_key, "ledger"),
            crypt.XCHACHA20,
            surroundings.random(crypt.NONCE_LIMIT_BYTES),
            ledger.encode_events(events),
            ledger.context(who.vault, who.store, n, previous),
        )
        record = ledger.Record(
            who.vault, who.store, n, previous, signer.verify, surroundings.now(), sealed
        )
        return ledger.encode(record, signer.signing)

    def _numbers(self) -> list[int]:
        found = set()
        for folder in (names.LEDGER, names.twin(names.LEDGER)):
            for name, _ in self.storage.list(folder):
                try:
                    found.add(names.parse_number(name))
                except FormatError:
                    continue
        return sorted(found)

    def _load(self, n: int) -> tuple[ledger.Record | None, bytes]:
        """The record and its digest: the twin counts where two whole copies differ."""
        copies = read_copies(self.storage, names.ledger(n))
        reason = "missing"
        if copies.first is not None and copies.twin is None:
            self.without_twin.add(n)
        for data in (copies.twin, copies.first):
            if data is None:
                continue
            try:
                return self._decode(n, data), crypt.digest(data)
            except FormatError as error:
                reason = str(error)
        self.broken[n] = reason
        return None, b""

    def _decode(self, n: int, data: bytes) -> ledger.Record:
        record = ledger.decode(data, names.ledger(n))
        who = self.identity
        if (record.vault, record.store, record.n) != (who.vault, who.store, n):
            raise FormatError(f"{names.ledger(n)} belongs to another place, store or vault")
        return record

    def _events(self, record: ledger.Record) -> tuple[Event, ...]:
        who = self.identity
        plain = crypt.unseal(
            crypt.derive(who.vault_key, "ledger"),
            record.sealed,
            ledger.context(who.vault, who.store, record.n, record.previous),
            names.ledger(record.n),
        )
        return ledger.decode_events(plain)

    def _is_checkpoint(self, record: ledger.Record) -> bool:
        try:
            events = self._events(record)
        except FormatError:
            return False
        return any(isinstance(event, Checkpoint) for event in events)

    def _fold(self, n: int, record: ledger.Record | None, digest: bytes) -> None:
        if record is None:
            return
        try:
            events = self._events(record)
        except FormatError as error:
            self.broken[n] = str(error)
            return
        reason = self._begins(n, record, events) if not self.state.head else None
        if self.state.head and record.previous != self.state.head_digest:
            reason = "does not follow the record before it: forked or damaged"
        if reason is None and not self.state.entitled(
            record.author, self.identity.owner_verify, events
        ):
            reason = "signed by a key that may not say this"
        if reason is not None:
            self.broken[n] = reason
            return
        self.digests[n] = digest
        self.state.apply(n, digest, record, events)

    def _begins(self, n: int, record: ledger.Record, events: tuple[Event, ...]) -> str | None:
        """Why what is read cannot begin with this record; its roles count if it can.

        A checkpoint names the roles itself. Unless the owner signed it, they must be those
        that he granted, and no older ones than the keyring knows of.
        """
        first, who = events[0], self.identity
        if not isinstance(first, Checkpoint):
            if n > 1:
                self.broken[n - 1] = "missing: records before the ones that are there are gone"
            return None
        if record.author != who.owner_verify:
            granted = first.granted()
            if not ledger.vouched(granted, who.vault, who.owner_verify):
                return "a checkpoint with roles that the owner did not grant"
            if granted.sequence < who.roles_sequence:
                return "a checkpoint with roles that the owner has replaced"
        self.state.roles = {role.verify_key: role for role in first.roles}
        return None

    def _complete_twins(self) -> None:
        """Makes durable, with twins, what others appended and did not finish."""
        for n in sorted(self.without_twin):
            name = names.ledger(n)
            data = read_or_none(self.storage, name)
            if data is not None and n not in self.broken:
                self.storage.sync(name)
                try:
                    self.storage.create(names.twin(name), data)
                except AlreadyExistsError:
                    pass
            self.without_twin.discard(n)

    def _refuse_if_passed(self, n: int, digest: bytes) -> None:
        """Raises if the name was free only since a checkpoint past it deleted the record."""
        for later in self._numbers():
            if later <= n:
                continue
            record, _ = self._load(later)
            if record is None:
                continue
            for event in self._events(record):
                if isinstance(event, Checkpoint) and later > n + 1 and digest not in event.replaced:
                    self.storage.delete(names.ledger(n))
                    raise LedgerMovedError(f"ledger record {n} was written too late")

    def copies(self, n: int) -> Copies:
        """Both copies of the n-th record, for verify and repair."""
        return read_copies(self.storage, names.ledger(n))

    def require(self, run: bytes) -> ledger.SnapshotMark:
        """The mark of a counting snapshot, or `NotFoundError`."""
        mark = self.state.counting().get(run)
        if mark is None:
            raise NotFoundError(f"there is no snapshot {names.base32(run)}")
        return mark
