"""Room that is given up when the medium is full, so that a deletion can still be recorded."""

from __future__ import annotations

from kluis.errors import KluisError, MediumGoneError, NoSpaceError, StorageError
from kluis.format import names
from kluis.format.ledger import Event
from kluis.repository.access import Repository
from kluis.repository.create import RESERVE_BYTES

# A smaller one holds no record with its twin where a cluster has 128 KiB.
LEAST_BYTES = RESERVE_BYTES // 4


def append_deletion(repository: Repository, events: tuple[Event, ...]) -> None:
    """Appends a record that gives room back; on a full medium the reserve makes room for it."""
    ledger, signer = repository.ledger, repository.session.signer
    try:
        ledger.append(events, signer, repository.surroundings)
    except NoSpaceError as full:
        try:
            if not give_up(repository):
                raise
            ledger.append(events, signer, repository.surroundings)
        except MediumGoneError:
            raise
        except StorageError:
            raise full from None


def give_up(repository: Repository) -> bool:
    """Deletes the reserve; False if it is gone already."""
    storage = repository.storage
    if not storage.exists(names.RESERVE):
        return False
    storage.delete(names.RESERVE)
    storage.barrier()
    return True


def take_back(repository: Repository) -> None:
    """Fills the reserve again once there is room; no reason to fail."""
    storage = repository.storage
    free = storage.free_space()
    if storage.exists(names.RESERVE) or free is None:
        return
    size = min(RESERVE_BYTES, free // 2)  # it must not fill the medium again
    if size < LEAST_BYTES:
        return
    try:
        storage.put(names.RESERVE, [bytes(size)])
        storage.barrier()
    except KluisError:
        return
