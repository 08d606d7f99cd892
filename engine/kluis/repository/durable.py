"""Frames that others stored are reused only once it is known that they survive a power cut."""

from __future__ import annotations

from collections.abc import Iterable

from kluis.errors import DamageError, NotFoundError, StorageError
from kluis.format import names
from kluis.format.ledger import PackName
from kluis.format.pack import PACK_LIMIT_BYTES
from kluis.repository.access import Repository
from kluis.repository.index import Index, ListedSegment
from kluis.repository.packs import check_name

SYNCED = "synced"
_ENTRY_BYTES = 20


def make_durable(repository: Repository, index: Index) -> set[tuple[bytes, int]]:
    """Reads and syncs what the last segments of unfinished runs list; returns those that failed.

    A run that was made, or that wrote a later segment, has waited for its barrier. Of any
    other one, the segment may be visible before its packs are on the medium.
    """
    state = repository.ledger.state
    made = state.counting().keys() | state.doomed_snapshots
    last: dict[bytes, int] = {}
    for run, k in index.segments:
        last[run] = max(k, last.get(run, 0))
    known = read_durable(repository)
    unknown = [
        item
        for (run, k), item in index.segments.items()
        if run not in made and k == last[run] and (run, k) not in known
    ]
    failed = set()
    for item in unknown:
        try:
            _sync(repository, item)
            known.add((item.run, item.k))
        except (DamageError, NotFoundError, StorageError):
            failed.add((item.run, item.k))
    if unknown:
        note_durable(repository, known & set(index.segments))
    return failed


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
        if parity_set.parity_digest is not None:
            shard = names.numbered(names.PARITY, parity_set.parity_run, parity_set.parity_k)
            if storage.exists(shard):
                storage.sync(shard)
    storage.sync(item.name)
