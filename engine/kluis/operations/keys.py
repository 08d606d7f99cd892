"""Keys: what opens the repository, one passphrase more or less, another one instead."""

from __future__ import annotations

from kluis.errors import PasswordError
from kluis.events import Context
from kluis.format import names
from kluis.format.ledger import AGENT, AUDITOR, OPERATOR, OWNER, RESTORER
from kluis.listing import KeyInfo
from kluis.options import KeyAddOptions, KeyListOptions, KeyPasswdOptions, KeyRemoveOptions
from kluis.repository.access import Repository
from kluis.repository.keychange import (
    ID_CHARACTERS,
    Slots,
    added,
    read_slots,
    removed,
    replaced,
    write_epoch,
)
from kluis.results import KeysResult

ROLE_NAMES = {
    OWNER: "owner",
    AGENT: "agent",
    OPERATOR: "operator",
    RESTORER: "restorer",
    AUDITOR: "auditor",
}


def key_list(
    repository: Repository,
    options: KeyListOptions,  # noqa: ARG001 - as every operation
    context: Context,
) -> KeysResult:
    """Every passphrase of the owner, and every other key that may sign."""
    context.cancel.check()
    return _listed(repository, read_slots(repository))


def key_add(repository: Repository, options: KeyAddOptions, context: Context) -> KeysResult:
    """One passphrase more opens the repository when this returns; all others go on doing so."""
    _require(options.passphrase)
    context.cancel.check()
    return _listed(
        repository,
        write_epoch(repository, added(repository, options.passphrase, options.name)),
    )


def key_passwd(repository: Repository, options: KeyPasswdOptions, context: Context) -> KeysResult:
    """The passphrase that opened the repository opens nothing any more; the new one does."""
    _require(options.passphrase)
    context.cancel.check()
    change = replaced(repository, options.passphrase, options.kdf_memory_bytes)
    return _listed(repository, write_epoch(repository, change))


def key_remove(repository: Repository, options: KeyRemoveOptions, context: Context) -> KeysResult:
    """The passphrase that is named opens nothing any more; at least one is left that does."""
    context.cancel.check()
    return _listed(repository, write_epoch(repository, removed(repository, options.name)))


def _require(passphrase: bytes) -> None:
    if not passphrase:
        raise PasswordError("the new passphrase is empty; nothing was changed")


def _listed(repository: Repository, slots: Slots) -> KeysResult:
    session = repository.session
    keys = [
        KeyInfo(
            id=slot_id,
            role="owner",
            name=name,
            current=slot == session.slot,
        )
        for slot, slot_id, name in zip(slots.ring.slots, slots.ids(), slots.names(), strict=True)
    ]
    for role in repository.ledger.state.roles.values():
        domains = [session.domains[item].name for item in role.domains if item in session.domains]
        keys.append(
            KeyInfo(
                id=names.base32(role.verify_key)[:ID_CHARACTERS],
                role=ROLE_NAMES.get(role.role, str(role.role)),
                name=role.name,
                domain=", ".join(domains),
                current=role.verify_key == session.signer.verify,
            )
        )
    return KeysResult(tuple(keys))
