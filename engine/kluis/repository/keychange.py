"""A new epoch of the keyring: a passphrase more or less, or another instead. Older epochs go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from kluis.errors import (
    AlreadyExistsError,
    FormatError,
    KluisError,
    NotFoundError,
    PasswordError,
    RefusedError,
)
from kluis.format import crypt, keyring, names
from kluis.format.keyring import Keyring, Private
from kluis.frozen import frozen
from kluis.repository.access import Repository, read_keyring
from kluis.repository.keys import Owner, owner_by_passphrase, stretch, wrap_owner
from kluis.repository.small import listed, read_or_none

ATTEMPTS = 4
ID_CHARACTERS = 8


@frozen
class Slots:
    """The passphrases of an epoch: what each wraps the owner's secret in, and its name."""

    ring: Keyring
    private: Private

    def names(self) -> list[str]:
        """A name for each slot, in their order."""
        given = list(self.private.slot_names[: len(self.ring.slots)])
        return given + [""] * (len(self.ring.slots) - len(given))

    def ids(self) -> list[str]:
        """An id for each slot, in their order: it changes with the passphrase."""
        return [names.base32(crypt.digest(slot))[:ID_CHARACTERS] for slot in self.ring.slots]


Change = Callable[[Slots, Owner], tuple[Keyring, list[str]]]


def read_slots(repository: Repository) -> Slots:
    """The newest epoch."""
    session = repository.session
    ring = read_keyring(repository.storage, session.vault)
    plain = crypt.unseal(
        crypt.derive(session.vault_key, "names"),
        ring.private,
        keyring.private_context(session.vault, ring.epoch),
        "keyring",
    )
    return Slots(ring, keyring.decode_private(plain))


def added(repository: Repository, passphrase: bytes, name: str) -> Change:
    """The change that gives one more passphrase."""

    def change(slots: Slots, owner: Owner) -> tuple[Keyring, list[str]]:
        ring, taken = slots.ring, slots.names()
        if len(ring.slots) >= keyring.SLOTS_LIMIT:
            raise KluisError(
                f"there are {len(ring.slots)} passphrases already, and no more fit; "
                "nothing was changed"
            )
        if name and name in taken:
            raise AlreadyExistsError(
                f"there already is a passphrase named {name!r}; nothing was changed. "
                "Next: kluis key list, then give another name"
            )
        _refuse_known(ring, passphrase)
        key = stretch(ring, passphrase)
        wrapped = wrap_owner(owner, ring.vault(), key, repository.surroundings)
        fresh = replace(ring, slots=(*ring.slots, wrapped))
        return fresh, [*taken, name or _free_name(taken)]

    return change


def replaced(repository: Repository, passphrase: bytes, memory_bytes: int) -> Change:
    """The change that puts a passphrase in the place of the one that opened the session.

    Salt and cost are those of all passphrases: they can change only while there is one.
    """
    slot = repository.session.slot

    def change(slots: Slots, owner: Owner) -> tuple[Keyring, list[str]]:
        ring = slots.ring
        if slot is None:
            raise RefusedError(
                "this repository was not opened with a passphrase, so none can be changed; "
                "nothing was written. Next: kluis key add"
            )
        if slot not in ring.slots:
            raise RefusedError(
                "the passphrase that opened this repository was changed or removed by somebody "
                "else meanwhile; nothing was written. Next: kluis key list"
            )
        if len(ring.slots) == 1:
            salt = repository.surroundings.random(keyring.SALT_BYTES)
            ring = replace(ring, salt=salt, memory_bytes=memory_bytes)
        else:
            _refuse_known(ring, passphrase)
        key = stretch(ring, passphrase)
        wrapped = wrap_owner(owner, ring.vault(), key, repository.surroundings)
        kept = tuple(wrapped if one == slot else one for one in ring.slots)
        return replace(ring, slots=kept), slots.names()

    return change


def removed(repository: Repository, name: str) -> Change:
    """The change that takes away the passphrase of this name or id, unless it is in use."""

    def change(slots: Slots, owner: Owner) -> tuple[Keyring, list[str]]:  # noqa: ARG001 - a Change
        ring, taken = slots.ring, slots.names()
        number = _number_of(slots, name)
        if len(ring.slots) == 1:
            raise RefusedError(
                f"{name!r} is the only passphrase: without it nobody could open this repository "
                "any more; nothing was changed. Next: kluis key add, or kluis key passwd"
            )
        if ring.slots[number] == repository.session.slot:
            raise RefusedError(
                f"{name!r} is the passphrase that this command was given; nothing was changed. "
                "Next: give another one to remove it, or kluis key passwd to change it"
            )
        del taken[number]
        return replace(ring, slots=(*ring.slots[:number], *ring.slots[number + 1 :])), taken

    return change


def _number_of(slots: Slots, name: str) -> int:
    for known in (slots.names(), slots.ids()):
        if name and name in known:
            return known.index(name)
    raise NotFoundError(
        f"there is no passphrase with the name or id {name!r}; nothing was changed. "
        "Next: kluis key list"
    )


def write_epoch(repository: Repository, change: Change) -> Slots:
    """The keyring after the change, durable with its twin; older epochs are deleted."""
    owner = repository.session.owner
    if owner is None:
        raise RefusedError(
            "only the owner changes passphrases, and this key is not the owner's; "
            "nothing was written"
        )
    for _ in range(ATTEMPTS):
        before = read_slots(repository)
        before.ring.features.check_write("the keyring")
        ring, slot_names = change(before, owner)
        private = replace(before.private, slot_names=tuple(slot_names))
        after = Slots(_next_epoch(repository, ring, private), private)
        if _is_newest(repository, before.ring.epoch) and _publish(
            repository, before.ring, after.ring, owner
        ):
            _delete_before(repository, after.ring.epoch)
            session = repository.session
            slot = _slot_after(session.slot, before.ring, after.ring)
            repository.session = replace(session, epoch=after.ring.epoch, slot=slot)
            repository.remember()
            return after
    raise KluisError(
        "others changed the keys of this repository at the same time, again and again; "
        "nothing was changed by this command. Next: kluis key list, then run it again"
    )


def _next_epoch(repository: Repository, ring: Keyring, private: Private) -> Keyring:
    session = repository.session
    # A power cut can leave a later number that is no keyring: it is passed over.
    epoch = max([ring.epoch, *_numbers(repository)]) + 1
    sealed = crypt.seal(
        crypt.derive(session.vault_key, "names"),
        crypt.XCHACHA20,
        repository.surroundings.random(crypt.NONCE_LIMIT_BYTES),
        keyring.encode_private(private),
        keyring.private_context(session.vault, epoch),
    )
    return replace(ring, epoch=epoch, private=sealed)


def _numbers(repository: Repository) -> list[int]:
    found = []
    for name in listed(repository.storage, names.KEYRING):
        with suppress(FormatError):
            found.append(names.parse_number(name))
    return found


def _is_newest(repository: Repository, epoch: int) -> bool:
    """False if somebody else wrote an epoch since: a change of the older one would undo his.

    Asked after the next number was chosen: who comes later than this takes it, or one beyond.
    """
    return read_keyring(repository.storage, repository.session.vault).epoch == epoch


def _slot_after(slot: bytes | None, before: Keyring, after: Keyring) -> bytes | None:
    """What the session's passphrase opens in the new epoch, if it opened something."""
    if slot is None or slot in after.slots or slot not in before.slots:
        return slot
    return after.slots[before.slots.index(slot)]


def _publish(repository: Repository, before: Keyring, ring: Keyring, owner: Owner) -> bool:
    """Stores the epoch and its twin; False if somebody else was faster and knows nothing of it."""
    storage, name = repository.storage, names.keyring(ring.epoch)
    data = keyring.encode(ring, owner.signer().signing)
    try:
        storage.create(name, data)
    except AlreadyExistsError:
        return False
    if max(_numbers(repository)) > ring.epoch:
        # Either the name was free only by deletion, or somebody already built on this epoch.
        newest = set(read_keyring(storage, repository.session.vault).slots)
        given, taken = set(ring.slots) - set(before.slots), set(before.slots) - set(ring.slots)
        storage.delete(name)
        return given <= newest and not taken & newest
    try:
        storage.create(names.twin(name), data)
    except AlreadyExistsError:
        return read_or_none(storage, names.twin(name)) == data
    return True


def _delete_before(repository: Repository, epoch: int) -> None:
    """Older epochs open with passphrases that were changed."""
    storage = repository.storage
    for name in listed(storage, names.KEYRING):
        if names.parse_number(name) < epoch:
            storage.delete(name)
            storage.delete(names.twin(name))
    storage.barrier()


def _refuse_known(ring: Keyring, passphrase: bytes) -> None:
    try:
        owner_by_passphrase(ring, passphrase)
    except PasswordError:
        return
    raise AlreadyExistsError(
        "this passphrase opens the repository already; nothing was changed. "
        "Next: choose another one"
    )


def _free_name(taken: list[str]) -> str:
    number = len(taken) + 1
    while f"passphrase-{number}" in taken:
        number += 1
    return f"passphrase-{number}"
