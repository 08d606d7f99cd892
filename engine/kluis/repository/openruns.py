"""Runs that the ledger does not know to have ended, and which of them may be ended now."""

from __future__ import annotations

from dataclasses import dataclass, field

from kluis.errors import FormatError, NotFoundError
from kluis.format import certificate, names, pack
from kluis.format.codec import Reader, Writer
from kluis.format.ledger import PackName
from kluis.repository.access import Repository
from kluis.repository.index import Index

LOOKS = "looks"
LOOK_APART_NS = 24 * 3600 * 1_000_000_000


@dataclass
class StoredRuns:
    """What lies in the store without a segment that lists it, and who it belongs to."""

    # Packs in no segment, with the run that their header names; None if it cannot be read.
    strays: dict[PackName, bytes | None] = field(default_factory=dict)
    # Open runs and the ledger's head when they began.
    open: dict[bytes, int] = field(default_factory=dict)


def find_runs(repository: Repository, index: Index, listed: dict[PackName, int]) -> StoredRuns:
    """Open runs, from segments and from the headers of packs that no segment lists."""
    found = StoredRuns()
    state = repository.ledger.state
    for (run, _), item in index.segments.items():
        if not state.has_ended(run, item.certificate.head, item.certificate.maker):
            found.open[run] = item.certificate.head
    for name in listed:
        if name in index.pack_numbers or name in state.doomed:
            continue
        owner = _owner(repository, names.pack(name.shelf, name.digest))
        found.strays[name] = owner[0] if owner is not None else None
        if owner is not None and not state.has_ended(*owner):
            found.open[owner[0]] = owner[1]
    return found


def _owner(repository: Repository, name: str) -> tuple[bytes, int, bytes] | None:
    """(run, head at its start, maker) of who wrote a pack; None if it is torn."""
    size = pack.HEADER_BYTES + certificate.CERTIFICATE_BYTES
    try:
        data = repository.storage.read(name, 0, size)
        if len(data) < size or pack.head_bytes(data) < size:
            return None
        encoded = data[pack.HEADER_BYTES : size]
        body = certificate.decode(encoded)
        return certificate.run_of(encoded), body.head, body.maker
    except (FormatError, NotFoundError):
        return None


def may_end(repository: Repository, runs: StoredRuns, segments: int, now: bool) -> list[bytes]:
    """Open runs whose writer is known to be gone, or that stood still between two looks."""
    gone = set(repository.cache.open_runs())
    alive = set(repository.cache.living_runs())
    stood_still = set(_stood_still(repository, runs.open, segments))
    return sorted(
        run for run in runs.open if run not in alive and (now or run in gone or run in stood_still)
    )


def _stood_still(repository: Repository, runs: dict[bytes, int], segments: int) -> list[bytes]:
    """Runs that were seen open, with as many segments in the store, a day ago or earlier."""
    now = repository.surroundings.now()
    before = _read_looks(repository)
    looks: dict[bytes, tuple[int, int]] = {}
    still = []
    for run in runs:
        first, count = before.get(run, (now, segments))
        if count != segments or first > now:
            first, count = now, segments
        looks[run] = first, count
        if now - first >= LOOK_APART_NS:
            still.append(run)
    if looks != before:
        _write_looks(repository, looks)
    return still


def _read_looks(repository: Repository) -> dict[bytes, tuple[int, int]]:
    data = repository.cache.read(LOOKS)
    if data is None:
        return {}
    try:
        reader = Reader(data, "cache")
        return {reader.raw(16): (reader.i64(), reader.u32()) for _ in range(reader.count(28))}
    except FormatError:
        return {}


def _write_looks(repository: Repository, looks: dict[bytes, tuple[int, int]]) -> None:
    writer = Writer()
    writer.u32(len(looks))
    for run, (first, count) in looks.items():
        writer.raw(run, 16)
        writer.i64(first)
        writer.u32(count)
    repository.cache.write(LOOKS, writer.bytes())
