"""Making and opening a repository: from a place and a secret to a `Repository`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from io import BufferedReader
from typing import Self

from kluis.errors import FormatError, NoRepositoryError, NotFoundError, PasswordError
from kluis.format import crypt, domain, keyring, names, store
from kluis.format.store import Store
from kluis.frozen import field, mutable
from kluis.options import Credentials
from kluis.repository import keys
from kluis.repository.cache import ClientCache, Seen
from kluis.repository.kept import open_ledger
from kluis.repository.keys import Session
from kluis.repository.ledger import Ledger
from kluis.repository.small import listed, read_or_none, read_whole
from kluis.storage.base import Storage
from kluis.surroundings import Surroundings

SETTLED = "settled"


@mutable
class Repository:
    """An opened store of a vault: its storage, what its key opens, its ledger as read."""

    storage: Storage
    store: Store
    session: Session
    ledger: Ledger
    cache: ClientCache
    surroundings: Surroundings
    # What this client had seen of the store and does not find any more, in words.
    regressions: tuple[str, ...] = ()
    _seen_at_open: Seen | None = field(default=None, repr=False)

    def remember(self) -> None:
        """Keeps the ledger's head, so that this client notices if the store goes back."""
        state = self.ledger.state
        if self.regressions or state.head in self.ledger.without_twin:
            return  # a record without its twin may not be durable yet
        seen, epoch = self.cache.seen(), self.session.epoch
        if (seen is None or epoch > seen.epoch) and not self._has_twin(epoch):
            epoch = seen.epoch if seen is not None else epoch - 1
        self.cache.remember(Seen(state.head, state.head_digest, epoch))

    def _has_twin(self, epoch: int) -> bool:
        return bool(read_or_none(self.storage, names.twin(names.keyring(epoch))))

    def tell_of_cache(self, tell: Callable[[str], None]) -> None:
        """`tell` hears why this client's cache takes nothing, now and again on `close`."""
        self.cache.tell = tell
        if self.cache.trouble:
            tell(self.cache.trouble)

    def open_file(self, snapshot: str, path: str | bytes | os.PathLike[str]) -> BufferedReader:
        """A stored file, readable and seekable, its bytes checked as they are read."""
        from kluis.repository.files import open_file  # it stands on this module

        return open_file(self, snapshot, os.fsencode(path))

    def close(self) -> None:
        """Lets go of the storage and of the cache."""
        self.storage.close()
        self.cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_store(storage: Storage) -> Store:
    """The identity of the store that lies here, or `NoRepositoryError`."""
    try:
        return read_whole(storage, names.STORE, store.decode)
    except NotFoundError:
        raise NoRepositoryError(
            f"there is no kluis repository at {storage.location}: it has no file `store`. "
            "Nothing was created. Next: check the path, or kluis init -r PATH"
        ) from None


def read_keyring(storage: Storage, vault: bytes) -> keyring.Keyring:
    """The newest keyring that is whole."""
    problem: FormatError | None = None
    for name in reversed(listed(storage, names.KEYRING)):
        try:
            ring = read_whole(storage, name, keyring.decode)
            if ring.vault() != vault or ring.epoch != names.parse_number(name):
                raise FormatError(f"{name} belongs to another vault or epoch")
            return ring
        except FormatError as error:
            problem = problem or error
    raise problem or FormatError(
        f"the keyring of {storage.location} is missing, and so is its twin. "
        "Without it nothing can be opened. Next: take it from another copy of this repository"
    )


def read_private(repository: Repository) -> keyring.Private:
    """The keyring's part for who holds K_vault: cut constants, names of passphrases."""
    session = repository.session
    ring = read_keyring(repository.storage, session.vault)
    plain = crypt.unseal(
        crypt.derive(session.vault_key, "names"),
        ring.private,
        keyring.private_context(session.vault, ring.epoch),
        "keyring",
    )
    return keyring.decode_private(plain)


def read_domains(storage: Storage, vault: bytes) -> tuple[list[domain.Domain], list[FormatError]]:
    """Every domain epoch that is whole, and what is wrong with the others."""
    whole, problems = [], []
    for name in listed(storage, names.DOMAINS):
        try:
            item = read_whole(storage, name, domain.decode)
            if item.vault != vault or names.domain(item.domain, item.epoch) != name:
                raise FormatError(f"{name} belongs to another vault or place")
            whole.append(item)
        except FormatError as error:
            problems.append(error)
    return whole, problems


def unlock(storage: Storage, vault: bytes, credentials: Credentials) -> Session:
    """The session that a passphrase opens, or `PasswordError`."""
    if credentials.passphrase is None and credentials.key_file is not None:
        raise PasswordError(
            "this key file opens nothing here: no key of this repository lies in a file. "
            "Nothing was read. Next: give the passphrase instead"
        )
    if credentials.passphrase is None:
        raise PasswordError(
            "no passphrase was given; nothing was read. "
            "Next: set KLUIS_PASSWORD or use --password-file"
        )
    ring = read_keyring(storage, vault)
    owner, slot = keys.owner_by_passphrase(ring, credentials.passphrase)
    domains, _ = read_domains(storage, vault)
    return keys.open_session(ring, domains, owner, slot)


def open_repository(
    storage: Storage, credentials: Credentials, cache_folder: str, surroundings: Surroundings
) -> Repository:
    """The repository on this storage; nothing is written to it."""
    identity = read_store(storage)
    session = unlock(storage, identity.vault, credentials)
    return open_with(storage, identity, session, (cache_folder, surroundings))


def open_with(
    storage: Storage, identity: Store, session: Session, client: tuple[str, Surroundings]
) -> Repository:
    """The repository for a session that is already unlocked; `client`: cache folder, machine."""
    cache_folder, surroundings = client
    # `init` made them durable: whoever finds them need not sync the folder above again.
    storage.trust_folders(names.FOLDERS)
    ledger = Ledger(storage, session.identity(identity.store))
    cache = ClientCache(cache_folder, identity.vault, identity.store)
    try:
        open_ledger(ledger, cache, surroundings)
    except BaseException:
        cache.close()
        raise
    ledger.settled = cache.read(SETTLED) or b""
    ledger.on_settled = partial(cache.write, SETTLED)  # lost, it costs two syncs
    repository = Repository(storage, identity, session, ledger, cache, surroundings)
    repository.regressions = tuple(_regressions(repository))
    return repository


def _regressions(repository: Repository) -> list[str]:
    """How the store is older than, or another branch of, what this client has seen."""
    seen = repository.cache.seen()
    if seen is None:
        return []
    state = repository.ledger.state
    found = []
    if state.head < seen.head:
        found.append(
            f"this store was rolled back: its ledger ends at record {state.head}, "
            f"this client has already seen {seen.head}; newer snapshots may be missing"
        )
    elif repository.ledger.gap is not None:
        found.append(f"part of this store's ledger is missing: {repository.ledger.gap}")
    elif not _holds(repository.ledger, seen.head, seen.head_digest):
        found.append(
            f"this store was forked: its ledger record {seen.head} is not the one that "
            "this client has seen"
        )
    if repository.session.epoch < seen.epoch:
        found.append(
            f"this store is behind: its keyring is of epoch {repository.session.epoch}, "
            f"this client has already seen {seen.epoch}"
        )
    return found


def _holds(ledger: Ledger, n: int, digest: bytes) -> bool:
    """True if the record n that the ledger holds, or a checkpoint replaced, has this digest."""
    if n in ledger.digests:
        return ledger.digests[n] == digest
    return digest in ledger.state.replaced
