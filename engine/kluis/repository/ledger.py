"""The store's ledger on its storage: reading the chain, and appending by compare."""

from __future__ import annotations

from collections.abc import Callable

from kluis.errors import (
    AlreadyExistsError,
    DamageError,
    FormatError,
    NoSpaceError,
    NotFoundError,
    RefusedError,
    StorageError,
)
from kluis.format import crypt, ledger, names
from kluis.format.ledger import Checkpoint, Doomed, Event, Forgotten
from kluis.frozen import field, frozen, mutable
from kluis.repository.small import Copies, read_copies, read_or_none
from kluis.repository.state import LedgerState
from kluis.storage.base import Storage
from kluis.surroundings import Surroundings

# What must not be said while part of the ledger is missing.
_DELETIONS = (Doomed, Forgotten, Checkpoint)


class LedgerMovedError(AlreadyExistsError):
    """Another one appended first: read on and decide again."""

    code = "ledger_moved"
    retryable = True


@frozen
class Identity:
    """Whose ledger it is, and the key that opens its events."""

    vault: bytes
    store: bytes
    owner_verify: bytes
    vault_key: bytes
    roles_sequence: int = 0  # the keyring's: no older roles are believed


@frozen
class Signer:
    """The Ed25519 pair that signs new records."""

    verify: bytes
    signing: bytes


@mutable
class Ledger:
    """A store's ledger, read up to `state.head`."""

    storage: Storage
    identity: Identity
    state: LedgerState = field(default_factory=LedgerState)
    # Numbers of records that could not be read or did not fit, with the reason.
    broken: dict[int, str] = field(default_factory=dict)
    without_twin: set[int] = field(default_factory=set)
    digests: dict[int, bytes] = field(default_factory=dict)
    gap: str | None = None  # why part of the ledger is known to be missing
    # Digest of the newest record that this client knows to be durable with its twin.
    settled: bytes = b""
    on_settled: Callable[[bytes], None] = lambda _: None
    # What records say that were opened to see whether one is a checkpoint, by their digest.
    _opened: dict[bytes, tuple[Event, ...]] = field(default_factory=dict, repr=False)

    def resume(self, state: LedgerState, digests: dict[int, bytes]) -> bool:
        """Goes on from a state as it was read before; False where the store does not fit it.

        It fits if all records since the checkpoint are there, and the last one is the same.
        """
        there = set(self._numbers())
        if not there.issuperset(digests) or self._load(state.head)[1] != state.head_digest:
            self.broken.clear()
            self.without_twin.clear()
            return False
        self.state, self.digests = state, digests
        self._read_on(sorted(n for n in there if n > state.head))
        return True

    def read(self) -> None:
        """Reads everything from the newest checkpoint on; `state` is then up to date."""
        chain: list[tuple[int, ledger.Record | None, bytes]] = []
        self.broken.clear()
        self.digests.clear()
        self.gap = None
        for n in reversed(self._numbers()):
            record, digest = self._load(n)
            chain.append((n, record, digest))
            if record is not None and self._may_begin(record, digest):
                break
        self.state = LedgerState()
        for n, record, digest in reversed(chain):
            self._fold(n, record, digest)
        self._opened.clear()
        if self.state.head == 0:
            raise DamageError(
                "the ledger of this store cannot be read: every record is missing or damaged. "
                "Nothing was changed. Next: kluis verify, kluis repair"
            )

    def read_on(self) -> bool:
        """Reads what others appended since; True if anything of it counts.

        Where a checkpoint took the place of what was not read yet, all is read again: who
        calls has to list packs and segments again in any case.
        """
        before = self.state.head, self.state.head_digest
        self._read_on([n for n in self._numbers() if n > self.state.head])
        return (self.state.head, self.state.head_digest) != before

    def _read_on(self, fresh: list[int]) -> None:
        if fresh and fresh != list(range(self.state.head + 1, fresh[-1] + 1)):
            self.read()
            fresh = []
        for n in fresh:
            record, digest = self._load(n)
            if record is not None and record.previous != self.state.head_digest:
                self.read()
                break
            self._fold(n, record, digest)

    def append(self, events: tuple[Event, ...], signer: Signer, surroundings: Surroundings) -> None:
        """Appends one record to the head that was read; durable, with its twin, on return.

        Raises `LedgerMovedError` if the head is not the newest one, `RefusedError` if this key
        may not say it: a record that readers would skip is not written. `DamageError` for a
        deletion while part of the ledger is missing.
        """
        if not self.state.entitled(signer.verify, self.identity.owner_verify, events):
            raise RefusedError(
                "this key may not do that: the owner has not given it the right, or took it "
                "back. Nothing was recorded. Next: use a key of a role that may"
            )
        if self.gap is not None and any(isinstance(event, _DELETIONS) for event in events):
            raise DamageError(
                f"nothing was deleted: part of the ledger is missing or forked ({self.gap}), so "
                "what may go is not known. Next: kluis verify, kluis repair"
            )
        self.complete_twins()
        n = max([self.state.head, *self.broken]) + 1
        data = self._seal(n, events, signer, surroundings)
        digest = crypt.digest(data)
        try:
            self.storage.create(names.ledger(n), data)
        except AlreadyExistsError:
            raise LedgerMovedError(f"somebody else wrote ledger record {n} first") from None
        self._refuse_if_passed(n, digest)
        self._create_twin(n, data)
        self._fold(n, ledger.decode(data, names.ledger(n)), digest)
        self._note_settled()

    def _create_twin(self, n: int, data: bytes) -> None:
        """Creates the twin of a record that is there; on a full medium the reserve gives way."""
        twin = names.twin(names.ledger(n))
        try:
            self.storage.create(twin, data)
        except AlreadyExistsError:
            # Somebody completed the record for us; the same bytes, or he read another one.
            if read_or_none(self.storage, twin) != data:
                raise LedgerMovedError(f"ledger record {n} exists in two versions") from None
        except NoSpaceError as full:
            try:
                self.storage.delete(names.RESERVE)
                self.storage.barrier()
                self.storage.create(twin, data)
            except (AlreadyExistsError, StorageError):
                raise full from None

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
        last: set[str] = set()
        for folder in (names.LEDGER, names.twin(names.LEDGER)):
            last.update(name.rpartition("/")[2] for name in self.storage.names(folder))
        found = []
        for name in last:
            if len(name) == 8 and name.isascii() and name.isdecimal():
                found.append(int(name))  # what `parse_number` says of almost all, at once
                continue
            try:
                found.append(names.parse_number(name))
            except FormatError:
                continue
        return sorted(found)

    def _load(self, n: int) -> tuple[ledger.Record | None, bytes]:
        """The record and its digest: the twin counts where two whole copies differ."""
        name = names.ledger(n)
        reason = "missing"
        twin = read_or_none(self.storage, names.twin(name))
        for first in (False, True):
            data = read_or_none(self.storage, name) if first else twin
            if data is None:
                continue
            if first and not twin:
                self.without_twin.add(n)  # on FAT a power cut can leave an empty one
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

    def _may_begin(self, record: ledger.Record, digest: bytes) -> bool:
        """True if reading can begin with this record: the first, or a checkpoint to believe."""
        if record.n == 1:
            return True
        try:
            events = self._events(record)
        except FormatError:
            return False
        self._opened[digest] = events
        first = events[0]
        return isinstance(first, Checkpoint) and self._is_vouched(record, first)

    def _is_vouched(self, record: ledger.Record, point: Checkpoint) -> bool:
        """True if a checkpoint's roles are the owner's word, and entitle its author.

        A checkpoint names the roles itself. Unless the owner signed it, they must be those
        that he granted, and no older ones than the keyring knows of.
        """
        who = self.identity
        if record.author == who.owner_verify:
            return True
        granted = point.granted()
        roles = {role.verify_key: role for role in granted.roles}
        trial = LedgerState(roles=roles)
        return (
            ledger.vouched(granted, who.vault, who.owner_verify)
            and granted.sequence >= who.roles_sequence
            and trial.entitled(record.author, who.owner_verify, (point,))
        )

    def _fold(self, n: int, record: ledger.Record | None, digest: bytes) -> None:
        if record is None:
            return
        try:
            events = self._opened.pop(digest, None) or self._events(record)
        except FormatError as error:
            self.broken[n] = str(error)
            return
        first = events[0]
        if not self.state.head and n > 1:
            if isinstance(first, Checkpoint) and self._is_vouched(record, first):
                self.state.roles = {role.verify_key: role for role in first.roles}
            else:
                self.gap = self.gap or f"records before {n} are missing"
        if not self.state.entitled(record.author, self.identity.owner_verify, events):
            self.broken[n] = "signed by a key that may not say this"
            return
        if self.state.head and record.previous != self.state.head_digest:
            # Signed by who may: it counts, but what lies between is gone, so nothing is deleted.
            self.gap = self.gap or f"record {n} does not follow {self.state.head}"
        self.digests[n] = digest
        self.state.apply(n, digest, record, events)

    def _note_settled(self) -> None:
        if self.settled != self.state.head_digest:
            self.settled = self.state.head_digest
            self.on_settled(self.settled)

    def complete_twins(self) -> None:
        """Makes durable, with twins, what others appended and did not finish."""
        if self.settled != self.state.head_digest and self.state.head not in self.without_twin:
            name = names.ledger(self.state.head)  # its author may have come no further than this
            try:
                for copy in (name, names.twin(name)):
                    self.storage.sync(copy)
            except NotFoundError:
                pass  # a checkpoint has taken its place, or it is damaged: verify tells
        for n in sorted(self.without_twin):
            name = names.ledger(n)
            data = read_or_none(self.storage, name)
            if data is not None and n not in self.broken:
                try:
                    self.storage.sync(name)
                    self._complete_twin(names.twin(name), data)
                except NotFoundError:
                    pass  # a checkpoint has taken its place
            self.without_twin.discard(n)
        self._note_settled()

    def _complete_twin(self, twin: str, data: bytes) -> None:
        try:
            self.storage.create(twin, data)
        except AlreadyExistsError:
            if read_or_none(self.storage, twin) == b"":  # left by a power cut: nobody writes it
                self.storage.replace(twin, data)

    def _refuse_if_passed(self, n: int, digest: bytes) -> None:
        """Raises if the name was free only since a checkpoint past it deleted the record."""
        for later in self._numbers():
            if later <= n:
                continue
            record, later_digest = self._load(later)
            if record is None or not self._may_begin(record, later_digest):
                continue
            point = self._opened.pop(later_digest, (None,))[0]
            if isinstance(point, Checkpoint) and digest not in point.replaced:
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
