"""The dedup cache filled again from the chunk lists of packs that it does not know yet."""

from __future__ import annotations

from kluis.errors import DamageError, NotFoundError, RefusedError
from kluis.format.names import pack as pack_name
from kluis.format.tree import Extent
from kluis.repository.access import Repository
from kluis.repository.dedup import DedupCache
from kluis.repository.index import Index
from kluis.repository.packs import PackDirectories


def refill(repository: Repository, index: Index, dedup: DedupCache) -> int:
    """Learns every run that the cache has never seen; returns how many packs were read.

    Other clients' runs in the same domain too: their chunks are found from then on.
    """
    missing = {run for run in index.runs if run not in dedup.numbers}
    if not missing:
        return 0
    directories = PackDirectories(repository.storage, repository.session, repository.ledger.state)
    read = 0
    for place in index.packs:
        runs = {group.run for group in place.groups} & missing
        if not runs:
            continue
        name = pack_name(place.shelf, place.digest)
        try:
            opened = directories.get(name, place.size)
            if opened.domain.secrets.dedup is None:
                continue
            records = []
            for entry in opened.entries:
                if entry.run not in runs:
                    continue
                offset = 0
                for hash16, length in directories.chunks(name, place.size, (entry.run, entry.n)):
                    extent = Extent(entry.run, entry.n, offset, length)
                    records.append(dedup.record(hash16, extent))
                    offset += length
            dedup.table.add_pending(b"".join(records))
        except (DamageError, NotFoundError, RefusedError):
            continue  # what cannot be read is not reused: that costs space only
        read += 1
        for run in runs:
            dedup.table.settle(dedup.number(run), len(index.runs[run].packs))
    for run in sorted(missing):
        dedup.number(run)
    dedup.table.flush()
    return read
