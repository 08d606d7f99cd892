"""Packs, parity and segments onto the storage, one barrier a segment.

Order: packs, then the shard over them, then the segment, then the barrier. Nobody learns of
a pack before the segment that lists it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from kluis._native.xor import xor_into
from kluis.format import crypt, names, parity, segment
from kluis.format.ledger import PackName
from kluis.format.pack import PACK_LIMIT_BYTES
from kluis.format.parity import Member
from kluis.format.segment import PackPlace, ParitySet, Replaced, Segment
from kluis.repository.packer import BuiltPack
from kluis.repository.room import make_room
from kluis.repository.run import Run
from kluis.storage.base import Buffer
from kluis.surroundings import Surroundings

SEGMENT_SECONDS = 300.0
# Packs on their way to a slow medium: one is written while the next is filled, no more, since
# each takes 8 MiB.
WRITES_IN_FLIGHT = 1


class Target(Protocol):
    """What an uploader needs of a storage."""

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Stores a new object; durable once `barrier` has returned."""

    def barrier(self) -> None:
        """Returns when everything put before is durable."""


class Nowhere:
    """Takes what a dry run would store, and forgets it."""

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        pass

    def barrier(self) -> None:
        pass


@dataclass
class ShardBuilder:
    """The parity of one set, built while its packs pass by."""

    shard: memoryview | bytearray = field(default_factory=lambda: make_room(PACK_LIMIT_BYTES))
    members: list[Member] = field(default_factory=list)
    checks: list[bytes] = field(default_factory=list)

    def add(self, built: BuiltPack) -> None:
        """XORs one more pack in."""
        place = built.place
        position = 0
        for part in built.parts:
            xor_into(self.shard, part, position)
            position += len(part)
        self.members.append(Member(place.shelf, place.digest, place.size))
        self.checks.append(_checks_of_parts(built.parts))

    def finish(self, run: bytes, k: int) -> list[bytes | memoryview]:
        """The parity file as parts."""
        shard = memoryview(self.shard)[: max(member.size for member in self.members)]
        checks = [*self.checks, parity.block_checks(shard)]
        return [parity.encode_shard_head(run, k, tuple(self.members), checks), shard]


def _checks_of_parts(parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """`parity.block_checks` of parts that lie back to back, without joining them all."""
    checks = []
    pending = bytearray()
    for part in parts:
        view = memoryview(part)
        if pending:
            missing = min(parity.BLOCK_BYTES - len(pending), len(view))
            pending += view[:missing]
            view = view[missing:]
            if len(pending) == parity.BLOCK_BYTES:
                checks.append(parity.block_checks(pending))
                pending = bytearray()
        whole = len(view) - len(view) % parity.BLOCK_BYTES
        if whole:
            checks.append(parity.block_checks(view[:whole]))
        pending += view[whole:]
    checks.append(parity.block_checks(pending))
    return b"".join(checks)


@dataclass
class Uploader:
    """Stores what one run writes, set by set."""

    storage: Target
    run: Run
    client: bytes
    surroundings: Surroundings
    pool: ThreadPoolExecutor
    with_parity: bool = True
    # Called with each segment once it is durable: the dedup cache and the index learn from it.
    durable: Callable[[Segment], None] = lambda _: None
    stands_for: tuple[Replaced, ...] = ()
    bytes_stored: int = 0
    segments: int = 0
    packs: dict[PackName, int] = field(default_factory=dict)  # all that this run stored, sizes
    _shard: ShardBuilder = field(default_factory=ShardBuilder)
    _places: list[PackPlace] = field(default_factory=list)
    _set_bytes: int = 0
    _writes: list[Future[None]] = field(default_factory=list)
    _since: float | None = None

    def store(self, built: BuiltPack) -> None:
        """Takes a pack; closes the set when it is full or old."""
        if self._since is None:
            self._since = self.surroundings.monotonic()
        while len(self._writes) >= WRITES_IN_FLIGHT:
            self._writes.pop(0).result()
        place = built.place
        name = names.pack(place.shelf, place.digest)
        self._writes.append(self.pool.submit(self.storage.put, name, built.parts))
        if self.with_parity:
            self._shard.add(built)
        self._places.append(place)
        self.packs[PackName(place.shelf, place.digest)] = place.size
        self.bytes_stored += place.size
        self._set_bytes += place.size
        age = self.surroundings.monotonic() - self._since
        full = len(self._places) >= parity.SET_PACKS or self._set_bytes >= parity.SET_BYTES
        if full or age >= SEGMENT_SECONDS:
            self.close_set()

    def unlisted(self) -> list[PackName]:
        """The packs that were taken and that no segment lists yet."""
        return [PackName(place.shelf, place.digest) for place in self._places]

    def close_set(self) -> None:
        """Makes all that was stored so far durable and listed."""
        if not self._places and not self.stands_for:
            return
        sets = (self._finish_set(),) if self._places else ()
        self.write_segment(sets)
        self._places.clear()
        self._set_bytes = 0
        self._since = None

    def _finish_set(self) -> ParitySet:
        run, k = self.run, self.run.next_segment
        parity_digest, parity_bytes = None, 0
        if self.with_parity:
            parts = self._shard.finish(run.id, k)
            hasher = crypt.hasher()
            for part in parts:
                hasher.update(part)
            parity_digest, parity_bytes = hasher.digest(), sum(map(len, parts))
            self.storage.put(names.numbered(names.PARITY, run.id, k), parts)
            self.bytes_stored += parity_bytes
            self._shard = ShardBuilder()
        return ParitySet(run.id, k, parity_digest, parity_bytes, tuple(self._places))

    def write_segment(self, sets: tuple[ParitySet, ...]) -> Segment:
        """Stores the run's next segment and waits until all it lists is durable."""
        run = self.run
        listed = Segment(
            run.certificate,
            run.next_segment,
            self.client,
            run.previous_segment,
            self.stands_for,
            sets,
        )
        sealed = crypt.seal(
            segment.meta_key(run.domain.meta()),
            crypt.XCHACHA20,
            self.surroundings.random(crypt.NONCE_LIMIT_BYTES),
            segment.encode_inner(listed),
            segment.context(run.vault, run.id, listed.k),
        )
        data = segment.wrap(run.certificate, sealed, run.signer.signing)
        for write in self._writes:
            write.result()
        self._writes.clear()
        self.storage.put(names.numbered(names.INDEX, run.id, listed.k), [data])
        self.storage.barrier()
        self.bytes_stored += len(data)
        run.previous_segment = crypt.digest(data)
        run.next_segment += 1
        self.segments += 1
        self.stands_for = ()
        self.durable(listed)
        return listed
