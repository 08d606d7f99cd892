"""The dedup cache filled again from the chunk lists of packs that it does not know yet."""

from __future__ import annotations

from kluis.errors import DamageError, NotFoundError, RefusedError
from kluis.events import Cancel
from kluis.format.frame import TREE
from kluis.format.names import pack as pack_name
from kluis.format.segment import PackPlace
from kluis.format.tree import Extent
from kluis.repository.access import Repository
from kluis.repository.dedup import DedupCache
from kluis.repository.index import Index
from kluis.repository.packs import PackDirectories


def refill(
    repository: Repository, index: Index, dedup: DedupCache, cancel: Cancel | None = None
) -> int:
    """Learns every frame that the cache has never seen; returns how many packs were read.

    Those of other clients in the same domain too: their chunks are found from then on.
    """
    missing = {
        run: dedup.learned.get(run, 0)
        for run, frames in index.runs.items()
        if dedup.learned.get(run, 0) < len(frames.packs)
    }
    if not missing:
        return 0
    directories = PackDirectories(repository.storage, repository.session, repository.ledger.state)
    read = 0
    for place in index.packs:
        if cancel is not None:
            cancel.check()
        runs = _runs_missing(place, missing)
        if not runs:
            continue
        try:
            records = _records(directories, place, missing, dedup)
        except (DamageError, NotFoundError, RefusedError):
            continue  # what cannot be read is not reused: that costs space only
        dedup.table.add_pending(records)
        read += 1
        for run in runs:
            dedup.table.settle(dedup.number(run), len(index.runs[run].packs))
    dedup.keep({run: len(index.runs[run].packs) for run in missing})
    return read


def _runs_missing(place: PackPlace, missing: dict[bytes, int]) -> set[bytes]:
    """Runs of which the pack holds frames that the cache has not learned."""
    return {
        group.run
        for group in place.groups
        if group.run in missing and group.first_n + len(group.stored) // 4 > missing[group.run]
    }


def _records(
    directories: PackDirectories, place: PackPlace, missing: dict[bytes, int], dedup: DedupCache
) -> bytes:
    """Table entries for the chunks of a pack's new frames.

    Trees wait longer for their pack: of them even frames below what was learned can be new.
    """
    name = pack_name(place.shelf, place.digest)
    opened = directories.get(name, place.size)
    if opened.domain.secrets.dedup is None:
        return b""
    records = []
    for entry in opened.entries:
        learned = missing.get(entry.run)
        if learned is None or (entry.n < learned and entry.kind != TREE):
            continue
        offset = 0
        for hash16, length in directories.chunks(name, place.size, (entry.run, entry.n)):
            records.append(dedup.record(hash16, Extent(entry.run, entry.n, offset, length)))
            offset += length
    return b"".join(records)
