"""Who opens a vault, and with which secrets: every piece of work asks for the one it needs."""

from __future__ import annotations

from kluis.errors import FormatError, PasswordError, RefusedError
from kluis.format import crypt, domain, keyring, names
from kluis.format.domain import DomainSecrets
from kluis.format.ledger import OWNER
from kluis.frozen import field, frozen
from kluis.repository.ledger import Identity, Signer
from kluis.surroundings import Surroundings

# Argon2id passes over 64 MiB: 75-150 ms of one core, the most that a list of snapshots may wait.
PASSPHRASE_PASSES = 1


@frozen
class DomainKeys:
    """A domain and those of its secrets that this session has."""

    id: bytes
    epoch: int
    public_key: bytes
    algorithm: int
    name: str
    secrets: DomainSecrets

    def secret(self) -> bytes:
        """The half that reads content; `RefusedError` for a key that must not."""
        return self._need(self.secrets.secret, "reading content")

    def meta(self) -> bytes:
        """K_meta: directories, segments, facts of snapshots."""
        return self._need(self.secrets.meta, "reading directories and lists of frames")

    def dedup(self) -> bytes:
        """K_dedup: chunk hashes, cut table, chunk lists."""
        return self._need(self.secrets.dedup, "comparing chunks")

    def _need(self, value: bytes | None, what: str) -> bytes:
        if value is None:
            raise RefusedError(
                f"this key does not allow {what} in domain {self.name!r}; nothing was changed. "
                "Next: use a key of a role that may"
            )
        return value


@frozen
class Session:
    """All secrets that one key gives, and who signs."""

    vault: bytes
    owner_verify: bytes
    role: int
    signer: Signer
    vault_key: bytes = field(repr=False)
    domains: dict[bytes, DomainKeys] = field(repr=False)
    epoch: int = 1
    slot: bytes | None = field(default=None, repr=False)  # what its passphrase opened, as stored
    owner: Owner | None = field(default=None, repr=False)  # to wrap it for another passphrase
    roles_sequence: int = 0

    def identity(self, store: bytes) -> Identity:
        """What reading the ledger of a store needs."""
        return Identity(self.vault, store, self.owner_verify, self.vault_key, self.roles_sequence)

    def domain(self, domain_id: bytes) -> DomainKeys:
        """The domain's keys; `RefusedError` where this key has none of them."""
        keys = self.domains.get(domain_id)
        if keys is None:
            raise RefusedError(
                f"this key opens nothing of domain {names.base32(domain_id)}; nothing was changed"
            )
        return keys

    def home(self) -> DomainKeys:
        """The domain that this session writes to: the only one, or `home`."""
        writable = sorted(self.domains.values(), key=lambda keys: (keys.name != "home", keys.id))
        if not writable:
            raise RefusedError("this key opens no domain; nothing was changed")
        return writable[0]


@frozen
class Owner:
    """The owner's secret and the key pairs that follow from it."""

    secret: bytes = field(repr=False)

    def signer(self) -> Signer:
        return Signer(*crypt.signing_key(crypt.derive(self.secret, "owner signing")))

    def box(self) -> tuple[bytes, bytes]:
        """(public, secret) of X25519."""
        return crypt.box_key(crypt.derive(self.secret, "owner box"))


def wrap_owner(
    owner: Owner, vault: bytes, passphrase_key: bytes, surroundings: Surroundings
) -> bytes:
    """The owner's secret under one passphrase's key."""
    return crypt.seal(
        passphrase_key,
        crypt.XCHACHA20,
        surroundings.random(crypt.NONCE_LIMIT_BYTES),
        owner.secret,
        keyring.WRAP_CONTEXT + vault,
    )


def stretch(ring: keyring.Keyring, passphrase: bytes) -> bytes:
    """The key that a passphrase gives under the keyring's salt and cost."""
    return crypt.passphrase_key(passphrase, ring.salt, ring.passes, ring.memory_bytes)


def owner_by_passphrase(ring: keyring.Keyring, passphrase: bytes) -> tuple[Owner, int]:
    """The owner and the number of the slot that the passphrase opened, or `PasswordError`."""
    key = stretch(ring, passphrase)
    for number, slot in enumerate(ring.slots):
        try:
            secret = crypt.unseal(key, slot, keyring.WRAP_CONTEXT + ring.vault(), "passphrase slot")
        except FormatError:
            continue
        owner = Owner(secret)
        if owner.signer().verify == ring.owner_verify:
            return owner, number
    raise PasswordError(
        "wrong passphrase: it opens none of this repository's keys. Nothing was read or changed. "
        "Next: check the passphrase, its file, or KLUIS_PASSWORD"
    )


def open_domain(
    item: domain.Domain, box: tuple[bytes, bytes], vault_key: bytes
) -> DomainKeys | None:
    """The domain's secrets for the holder of `box`, or None if he was given none."""
    public, secret = box
    for wrapped in item.boxes:
        if wrapped.box_key == public:
            data = crypt.open_box(public, secret, wrapped.sealed, "domain")
            secrets = domain.unpack_secrets(wrapped.parts, data)
            break
    else:
        return None
    plain_name = crypt.unseal(
        crypt.derive(vault_key, "names"),
        item.name,
        domain.name_context(item.vault, item.domain, item.epoch),
        "domain name",
    )
    return DomainKeys(
        item.domain,
        item.epoch,
        item.public_key,
        item.algorithm,
        plain_name.decode("utf-8", "replace"),
        secrets,
    )


def open_session(
    ring: keyring.Keyring, domains: list[domain.Domain], owner: Owner, slot: int | None
) -> Session:
    """The owner's session: every secret."""
    box = owner.box()
    vault_key = b""
    for item in ring.vault_boxes:
        if item.box_key == box[0]:
            vault_key = crypt.open_box(*box, item.sealed, "keyring")
    if len(vault_key) != crypt.KEY_BYTES:
        raise FormatError("the keyring does not hold the vault's key for its owner")
    opened = [open_domain(item, box, vault_key) for item in domains]
    return Session(
        vault=ring.vault(),
        owner_verify=ring.owner_verify,
        role=OWNER,
        signer=owner.signer(),
        vault_key=vault_key,
        domains={keys.id: keys for keys in opened if keys is not None},
        epoch=ring.epoch,
        slot=None if slot is None else ring.slots[slot],
        roles_sequence=ring.roles_sequence,
        owner=owner,
    )


def restricted(session: Session, parts: int, role: int, signer: Signer) -> Session:
    """A session with only some of each domain's secrets, as a role's key would give."""

    def keep(keys: DomainKeys) -> DomainKeys:
        secrets = DomainSecrets(
            keys.secrets.secret if parts & domain.SECRET else None,
            keys.secrets.meta if parts & domain.META else None,
            keys.secrets.dedup if parts & domain.DEDUP else None,
        )
        return DomainKeys(keys.id, keys.epoch, keys.public_key, keys.algorithm, keys.name, secrets)

    return Session(
        vault=session.vault,
        owner_verify=session.owner_verify,
        role=role,
        signer=signer,
        vault_key=session.vault_key,
        domains={key: keep(value) for key, value in session.domains.items()},
        epoch=session.epoch,
        roles_sequence=session.roles_sequence,
    )
