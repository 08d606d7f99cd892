"""Making a new vault with its first store, so that a crash leaves either one or none."""

from __future__ import annotations

from importlib import resources

from kluis.errors import AlreadyExistsError, BusyError
from kluis.format import crypt, domain, keyring, ledger, names, store
from kluis.format.domain import DomainSecrets
from kluis.format.keyring import ChunkSizes
from kluis.repository import keys
from kluis.repository.foreign import foreign
from kluis.repository.keys import Owner
from kluis.repository.ledger import Identity, Ledger
from kluis.repository.small import listed, put_with_twin, read_copies, read_whole
from kluis.storage.base import Storage
from kluis.surroundings import Surroundings

# Enough for a record, its twin and their folders, also where a cluster has 128 KiB.
RESERVE_BYTES = 2 << 20
HOME = "home"
# What only commands after `init` write.
_FILLED_LATER = (names.PACKS, names.PARITY, names.INDEX, names.SNAPSHOTS)
# Enough to tell which cipher this CPU is made for: about 1 ms.
TRIAL_BYTES = 1 << 20
CHUNK_SIZES = (
    ("default", ChunkSizes(4 << 10, 16 << 10, 64 << 10)),
    ("large", ChunkSizes(64 << 10, 256 << 10, 1 << 20)),
)


def make_vault(
    storage: Storage, passphrase: bytes, label: str, memory_bytes: int, surroundings: Surroundings
) -> store.Store:
    """Writes keyring, first domain, documents, reserve, first ledger record, and `store` last.

    Until `store` is there, nothing is a repository. Raises `AlreadyExistsError` where one is.
    """
    _require_room(storage)
    storage.make_folders(names.FOLDERS)
    owner = Owner(surroundings.random(crypt.KEY_BYTES))
    signer = owner.signer()
    vault = crypt.digest(signer.verify)
    vault_key = surroundings.random(crypt.KEY_BYTES)
    ring = _keyring(owner, vault_key, passphrase, memory_bytes, surroundings)
    first = _domain(owner, vault_key, HOME, surroundings)
    _write_pair(storage, names.keyring(1), keyring.encode(ring, signer.signing))
    _write_pair(storage, names.domain(first.domain, 1), domain.encode(first, signer.signing))
    documents = _write_documents(storage)
    storage.put(names.RESERVE, [bytes(RESERVE_BYTES)])
    identity = store.Store(
        features=ring.features,
        vault=vault,
        store=surroundings.random(crypt.RUN_BYTES),
        owner_verify=signer.verify,
        created_ns=surroundings.now(),
        label=label,
        documents=documents,
    )
    storage.barrier()
    book = Ledger(storage, Identity(vault, identity.store, signer.verify, vault_key))
    book.append((ledger.Roles(()),), signer, surroundings)
    _require_own(storage, ring)
    data = store.encode(identity, signer.signing)
    storage.create(names.twin(names.STORE), data)
    storage.create(names.STORE, data)
    return identity


def complete_store(storage: Storage) -> None:
    """Finishes an `init` that was interrupted before its last step."""
    copies = read_copies(storage, names.STORE)
    if copies.first is None and copies.twin:
        storage.create(names.STORE, copies.twin)
    elif copies.first == b"" and copies.twin:  # what a power cut on FAT can leave
        storage.replace(names.STORE, copies.twin)


def _require_room(storage: Storage) -> None:
    """Raises where a repository is or something is in its way; an interrupted init is cleared."""
    copies = read_copies(storage, names.STORE)
    if copies.first or copies.twin:
        raise AlreadyExistsError(
            f"there already is a kluis repository at {storage.location}; nothing was changed. "
            "Next: kluis snapshots -r PATH to see what it holds"
        )
    if any(True for folder in _FILLED_LATER for _ in storage.list(folder)):
        raise AlreadyExistsError(
            f"there is a kluis repository without its file `store` at {storage.location}; nothing "
            "was changed. Next: take `store` from another copy of it"
        )
    if not listed(storage, names.KEYRING):
        for name in names.DOCUMENTS:
            if storage.exists(name):
                raise AlreadyExistsError(
                    f"{name} lies at {storage.location} already, and every repository has a file "
                    "of that name; nothing was changed. Next: give an empty folder"
                )
        _require_alone(storage)
        return
    # `store` comes last, so what lies here was never a repository; the keyring, which tells so,
    # comes first and goes last.
    rest = [name for folder in (names.DOMAINS, names.LEDGER) for name in listed(storage, folder)]
    for some in ((names.STORE, names.RESERVE, *names.DOCUMENTS, *rest), (names.keyring(1),)):
        for name in some:
            storage.delete(name)
            storage.delete(names.twin(name))
        storage.barrier()


def _require_alone(storage: Storage) -> None:
    """Raises where others keep files: `verify` would call each of them foreign for ever."""
    other = next(foreign(storage), None)
    if other is not None:
        raise AlreadyExistsError(
            f"other files lie at {storage.location}, such as {other}; a repository has its folder "
            "for itself, so that anything foreign in it is seen. Nothing was changed. Next: give "
            "an empty or a new folder, such as one in there"
        )


def _require_own(storage: Storage, ring: keyring.Keyring) -> None:
    """Raises if another init cleared away meanwhile what this one has written."""
    if read_whole(storage, names.keyring(1), keyring.decode) != ring:
        raise BusyError(
            f"another init works at {storage.location}; this one made nothing. Next: look whether "
            "it succeeds"
        )


def _write_pair(storage: Storage, name: str, data: bytes) -> None:
    storage.create(name, data)
    storage.create(names.twin(name), data)


def _keyring(
    owner: Owner,
    vault_key: bytes,
    passphrase: bytes,
    memory_bytes: int,
    surroundings: Surroundings,
) -> keyring.Keyring:
    signer, (box_public, _) = owner.signer(), owner.box()
    vault = crypt.digest(signer.verify)
    salt = surroundings.random(keyring.SALT_BYTES)
    stretched = crypt.passphrase_key(passphrase, salt, keys.PASSPHRASE_PASSES, memory_bytes)
    private = keyring.Private(slot_names=("first",), chunk_sizes=CHUNK_SIZES)
    return keyring.Keyring(
        features=keyring.Features(),
        owner_verify=signer.verify,
        owner_box=box_public,
        epoch=1,
        salt=salt,
        passes=keys.PASSPHRASE_PASSES,
        memory_bytes=memory_bytes,
        slots=(keys.wrap_owner(owner, vault, stretched, surroundings),),
        vault_boxes=(keyring.VaultBox(box_public, crypt.seal_to(box_public, vault_key)),),
        private=crypt.seal(
            crypt.derive(vault_key, "names"),
            crypt.XCHACHA20,
            surroundings.random(crypt.NONCE_LIMIT_BYTES),
            keyring.encode_private(private),
            keyring.private_context(vault, 1),
        ),
    )


def _domain(owner: Owner, vault_key: bytes, name: str, surroundings: Surroundings) -> domain.Domain:
    signer, (owner_box, _) = owner.signer(), owner.box()
    vault = crypt.digest(signer.verify)
    public, secret = crypt.box_key(surroundings.random(crypt.KEY_BYTES))
    secrets = DomainSecrets(
        secret, surroundings.random(crypt.KEY_BYTES), surroundings.random(crypt.KEY_BYTES)
    )
    parts, packed = domain.pack_secrets(secrets)
    domain_id = domain.id_of(public)
    return domain.Domain(
        vault=vault,
        domain=domain_id,
        epoch=1,
        public_key=public,
        algorithm=fast_algorithm(surroundings),
        owner_verify=signer.verify,
        boxes=(domain.DomainBox(owner_box, parts, crypt.seal_to(owner_box, packed)),),
        name=crypt.seal(
            crypt.derive(vault_key, "names"),
            crypt.XCHACHA20,
            surroundings.random(crypt.NONCE_LIMIT_BYTES),
            name.encode("utf-8"),
            domain.name_context(vault, domain_id, 1),
        ),
    )


def fast_algorithm(machine: Surroundings) -> int:
    """AEGIS-256, or XChaCha20-Poly1305 where the CPU has no AES and so is faster with it."""
    seconds = {}
    for algorithm in (crypt.XCHACHA20, crypt.AEGIS256):
        begun = machine.monotonic()
        crypt.seal(bytes(32), algorithm, bytes(32), bytes(TRIAL_BYTES), b"")
        seconds[algorithm] = machine.monotonic() - begun
    faster = seconds[crypt.AEGIS256] <= seconds[crypt.XCHACHA20]
    return crypt.AEGIS256 if faster else crypt.XCHACHA20


def read_document(name: str) -> bytes:
    """A file for people that is put on every medium."""
    return resources.files("kluis.documents").joinpath(name).read_bytes()


def _write_documents(storage: Storage) -> tuple[store.Document, ...]:
    written = []
    for name in names.DOCUMENTS:
        data = read_document(name)
        put_with_twin(storage, name, data)
        written.append(store.Document(name, len(data), crypt.digest(data)))
    return tuple(written)
