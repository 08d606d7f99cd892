"""The writing half of a run: chunks are looked up, new ones fill frames, frames fill packs.

The control thread hashes and looks up; a pool compresses and seals. Frames become packs in
the order of their numbers, whichever is sealed first.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from blake3 import blake3

from kluis.format import crypt, pack
from kluis.format.frame import DATA, HASH_BYTES, TREE
from kluis.format.tree import Extent, hole
from kluis.repository.content import ChunkKeys
from kluis.repository.dedup import UNKNOWN, DedupCache
from kluis.repository.packer import (
    PackBuilder,
    PlainFrame,
    SealedFrame,
    looks_compressible,
    seal_frame,
)
from kluis.repository.run import Run
from kluis.repository.uploader import Uploader
from kluis.surroundings import Surroundings

FRAME_TARGET_BYTES = 1 << 20
# Incompressible data gains nothing from company, and small frames waste less when it dies.
DENSE_FRAME_TARGET_BYTES = 128 << 10
FRAMES_IN_FLIGHT = 4
# From here on trees get packs of their own; below they share a pack with data.
TREE_PACK_BYTES = 8 << 20

_PLACE = struct.Struct("<IIII")


@dataclass
class OpenFrame:
    """A frame that still takes chunks."""

    n: int
    target: int
    level: int
    parts: bytearray = field(default_factory=bytearray)
    chunks: list[tuple[bytes, int]] = field(default_factory=list)


@dataclass
class RunWriter:
    """Stores chunks for one run."""

    run: Run
    keys: ChunkKeys
    cache: DedupCache
    uploader: Uploader
    pool: ThreadPoolExecutor
    surroundings: Surroundings
    level: int
    probe: bool = True
    frame_target: int = FRAME_TARGET_BYTES
    # A run of zeros is cut at the largest chunk: those are stored nowhere.
    largest_chunk: int = 64 << 10
    bytes_new: int = 0
    _open: dict[tuple[int, bool], OpenFrame] = field(default_factory=dict)
    _sealing: deque[tuple[int, Future[SealedFrame]]] = field(default_factory=deque)
    _zeros: bytes | None = None
    _packs: dict[int, PackBuilder] = field(default_factory=dict)

    def store(
        self,
        kind: int,
        data: bytes | bytearray | memoryview,
        ends: Sequence[int],
        groups: Sequence[int] = (),
    ) -> list[tuple[bytes, Extent]]:
        """Each chunk's hash and where it lies, new ones stored; `ends` cut `data` from 0 on.

        `groups` are ends of stretches that are asked apart whether they can be compressed;
        without any, all of it counts as compressible.
        """
        view = memoryview(data)
        hashes = self._hashes(kind, view, ends)
        found = self.cache.table.lookup(b"".join(hashes))
        fill = Filling(self, kind, view, groups)
        runs, zeros = self.cache.runs, self._zero_hash()
        result: list[tuple[bytes, Extent]] = []
        fresh: dict[bytes, Extent] = {}
        start = 0
        for hash16, end, place in zip(hashes, ends, _PLACE.iter_unpack(found), strict=True):
            local, n, offset, length = place
            if hash16 == zeros:
                extent = hole(end - start)
            elif local != UNKNOWN and length == end - start:
                extent = Extent(runs[local], n, offset, length)
            elif hash16 in fresh:
                extent = fresh[hash16]
            else:
                extent = fresh[hash16] = fill.append(hash16, start, end)
            result.append((hash16, extent))
            start = end
        if fresh:
            self.bytes_new += fill.bytes_new
            record = self.cache.record
            pending = [record(hash16, extent) for hash16, extent in fresh.items()]
            self.cache.table.add_pending(b"".join(pending))
            # Not before: a chunk that becomes durable unknown to the table is stored again.
            while len(self._sealing) > FRAMES_IN_FLIGHT:
                self._pack_oldest()
        return result

    def _hashes(self, kind: int, view: memoryview, ends: Sequence[int]) -> list[bytes]:
        key = self.keys.hash_key(kind)
        hashes = []
        start = 0
        for end in ends:
            hashes.append(blake3(view[start:end], key=key).digest(HASH_BYTES))
            start = end
        return hashes

    def _zero_hash(self) -> bytes:
        if self._zeros is None:
            self._zeros = blake3(bytes(self.largest_chunk), key=self.keys.data).digest(HASH_BYTES)
        return self._zeros

    def frontier(self) -> Frontier:
        """How far the frames are filled; for `added_since`."""
        filled = {frame.n: len(frame.parts) for frame in self._open.values()}
        return Frontier(self.run.id, self.run.next_frame, filled)

    def flush(self) -> None:
        """All frames sealed, packed, stored and listed in a durable segment."""
        for kind, dense in list(self._open):
            self.close_frame(kind, dense)
        while self._sealing:
            self._pack_oldest()
        trees = self._packs.get(TREE)
        data = self._packs.get(DATA)
        if trees and data and trees.size + data.size <= pack.PACK_TARGET_BYTES:
            for sealed in trees.frames:
                data.add(sealed, self.run.certificate)
            del self._packs[TREE]
        for kind in list(self._packs):
            self._close_pack(kind)
        self.uploader.close_set()

    def open_frame(self, kind: int, dense: bool) -> OpenFrame:
        """The frame that takes the next chunk."""
        current = self._open.get((kind, dense))
        if current is None:
            target = DENSE_FRAME_TARGET_BYTES if dense else self.frame_target
            level = 0 if dense else self.level
            current = self._open[kind, dense] = OpenFrame(self.run.take_frame(), target, level)
        return current

    def close_frame(self, kind: int, dense: bool) -> None:
        """Gives a frame to the pool."""
        done = self._open.pop((kind, dense))
        plain = PlainFrame(
            done.n, kind, done.parts, done.chunks, self.keys.hash_key(kind), done.level
        )
        sealing = self.pool.submit(seal_frame, self.run, plain, self.surroundings)
        self._sealing.append((kind, sealing))

    def _pack_oldest(self) -> None:
        kind, sealing = self._sealing.popleft()
        sealed = sealing.result()
        builder = self._packs.get(kind)
        if builder is None:
            builder = self._packs[kind] = new_pack(self.run)
        builder.add(sealed, self.run.certificate)
        limit = pack.PACK_TARGET_BYTES if kind == DATA else TREE_PACK_BYTES
        if builder.size >= limit:
            self._close_pack(kind)

    def _close_pack(self, kind: int) -> None:
        builder = self._packs.pop(kind)
        self.uploader.store(builder.finish(self.run.shelf(), self.surroundings))


class Filling:
    """Puts the new chunks of one buffer into frames."""

    __slots__ = ("_dense", "_group_end", "_groups", "_kind", "_view", "_writer", "bytes_new")

    def __init__(
        self, writer: RunWriter, kind: int, view: memoryview, groups: Sequence[int]
    ) -> None:
        self._writer = writer
        self._kind = kind
        self._view = view
        self._groups = iter(groups) if writer.probe else iter(())
        self._group_end = 0
        self._dense = False
        self.bytes_new = 0

    def append(self, hash16: bytes, start: int, end: int) -> Extent:
        """Adds the chunk that lies there in the buffer."""
        if start >= self._group_end:
            self._next_group(start)
        writer = self._writer
        frame = writer.open_frame(self._kind, self._dense)
        length = end - start
        extent = Extent(writer.run.id, frame.n, len(frame.parts), length)
        frame.parts += self._view[start:end]
        frame.chunks.append((hash16, length))
        self.bytes_new += length
        if len(frame.parts) >= frame.target:
            writer.close_frame(self._kind, self._dense)
        return extent

    def _next_group(self, start: int) -> None:
        group_start, end = self._group_end, self._group_end
        while end <= start:
            group_start, end = end, next(self._groups, len(self._view) + 1)
        self._group_end = end
        if end <= len(self._view):
            self._dense = not looks_compressible(self._view[group_start:end])
        else:
            self._dense = False


@dataclass(frozen=True, slots=True)
class Frontier:
    """How far a run's frames were filled at some time."""

    run: bytes
    next_frame: int
    filled: dict[int, int]

    def added(self, chunks: Iterable[tuple[bytes, Extent]]) -> int:
        """How many bytes of these chunks were stored since then, each counted once."""
        new = {
            (n, offset): length
            for _, (run, n, offset, length) in chunks
            if run == self.run and (n >= self.next_frame or offset >= self.filled.get(n, 1 << 32))
        }
        return sum(new.values())


def new_pack(run: Run) -> PackBuilder:
    """An empty pack of the run's domain."""
    keys = run.domain
    return PackBuilder(
        run.vault,
        keys.id,
        keys.epoch,
        crypt.derive(keys.meta(), "directories"),
        keys.algorithm,
        {run.id: run.certificate},
    )
