"""Frames that others stored are relied on only once it is known that they survive a power cut.

A run that was made, or that wrote a later segment, has waited for its barrier. Of any other
one, the last segment may be visible before its packs are on the medium, and after a power cut
without them: it is looked at before anybody relies on it, and what is missing there is no
damage where no snapshot needs it.
"""

from __future__ import annotations

from collections.abc import Iterable

from kluis.errors import DamageError, NotFoundError, StorageError
from kluis.format import crypt, names
from kluis.format.ledger import PackName
from kluis.format.pack import PACK_LIMIT_BYTES
from kluis.format.segment import ParitySet
from kluis.repository.access import Repository
from kluis.repository.index import Index, ListedSegment
from kluis.repository.packs import check_name
from kluis.repository.rebuild import SHARD_LIMIT_BYTES
from kluis.repository.state import LedgerState

SYNCED = "synced"
_ENTRY_BYTES = 20


def reliable(
    repository: Repository, index: Index, listed: dict[PackName, int]
) -> dict[PackName, int]:
    """Of the packs listed after the ledger was read, those whose frames may be relied on.

    Reads and syncs what nobody knows to be durable, once for each index.
    """
    fresh = [item for item in unknown(repository, index) if _key(item) not in index.looked_at]
    known = read_durable(repository)
    weak = unknown_packs(repository, index) if fresh else set()
    for item in fresh:
        index.looked_at.add(_key(item))
        try:
            _sync(repository, item)
            known.add(_key(item))
        except (DamageError, NotFoundError, StorageError):
            index.unsafe.update(weak.intersection(item.packs()))
    if fresh:
        note_durable(repository, known & set(index.segments))
    return {pack: size for pack, size in listed.items() if pack not in index.unsafe}


def unknown(repository: Repository, index: Index) -> list[ListedSegment]:
    """The segments that this client does not know to be durable with all that they list."""
    state = repository.ledger.state
    made = state.counting().keys() | state.doomed_snapshots
    last: dict[bytes, int] = {}
    for run, k in index.segments:
        last[run] = max(k, last.get(run, 0))
    known = read_durable(repository)
    return [
        item
        for (run, k), item in index.segments.items()
        if run not in made
        and k == last[run]
        and (run, k) not in known
        and not _is_merged(item, state)
    ]


def _is_merged(item: ListedSegment, state: LedgerState) -> bool:
    """True for what stands for others: only what was known to be durable is listed there."""
    return bool(item.body.stands_for) and item.has_ended(state)


def unknown_packs(repository: Repository, index: Index) -> set[PackName]:
    """The packs that only such segments list."""
    weak = {_key(item) for item in unknown(repository, index)}
    firm = {
        pack for key, item in index.segments.items() if key not in weak for pack in item.packs()
    }
    return {pack for key in weak for pack in index.segments[key].packs()} - firm


def note_durable(repository: Repository, segments: Iterable[tuple[bytes, int]]) -> None:
    """Keeps in the client's cache that these segments and all they list are on the medium."""
    data = b"".join(run + k.to_bytes(4, "little") for run, k in sorted(segments))
    repository.cache.write(SYNCED, data)


def read_durable(repository: Repository) -> set[tuple[bytes, int]]:
    """What `note_durable` was given last."""
    data = repository.cache.read(SYNCED) or b""
    return {
        (data[i : i + 16], int.from_bytes(data[i + 16 : i + 20], "little"))
        for i in range(0, len(data) - _ENTRY_BYTES + 1, _ENTRY_BYTES)
    }


def _sync(repository: Repository, item: ListedSegment) -> None:
    storage, doomed = repository.storage, repository.ledger.state.doomed
    for parity_set in item.body.sets:
        for place in parity_set.packs:
            if PackName(place.shelf, place.digest) in doomed:
                continue
            name = names.pack(place.shelf, place.digest)
            check_name(name, storage.get(name, min(place.size, PACK_LIMIT_BYTES)))
            storage.sync(name)
        _sync_shard(repository, parity_set)
    storage.sync(item.name)


def _sync_shard(repository: Repository, parity_set: ParitySet) -> None:
    doomed = repository.ledger.state.doomed
    if parity_set.parity_digest is None or all(
        PackName(place.shelf, place.digest) in doomed for place in parity_set.packs
    ):
        return
    name = names.numbered(names.PARITY, parity_set.parity_run, parity_set.parity_k)
    data = repository.storage.get(name, min(parity_set.parity_bytes, SHARD_LIMIT_BYTES))
    if crypt.digest(data) != parity_set.parity_digest:
        raise DamageError(f"{name} is not the shard that was listed")
    repository.storage.sync(name)


def _key(item: ListedSegment) -> tuple[bytes, int]:
    return item.run, item.k
