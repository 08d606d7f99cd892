"""The writing half of a run: chunks are looked up, new ones fill frames, frames fill packs.

The control thread hashes and looks up; a pool compresses and seals. Frames become packs in
the order of their numbers, whichever is sealed first.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
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
        self, kind: int, data: bytes | bytearray | memoryview, ends: Sequence[int]
    ) -> list[tuple[bytes, Extent]]:
        """Each chunk's hash and where it lies, new ones stored; `ends` cut `data` from 0 on."""
        view = memoryview(data)
        key = self.keys.hash_key(kind)
        hashes = []
        start = 0
        for end in ends:
            hashes.append(blake3(view[start:end], key=key).digest(HASH_BYTES))
            start = end
        found = self.cache.table.lookup(b"".join(hashes))
        if self._zeros is None:
            self._zeros = blake3(bytes(self.largest_chunk), key=self.keys.data).digest(HASH_BYTES)
        dense = self.probe and kind == DATA and not looks_compressible(view)
        result: list[tuple[bytes, Extent]] = []
        fresh: dict[bytes, Extent] = {}
        pending = []
        start = 0
        for hash16, end, place in zip(hashes, ends, _PLACE.iter_unpack(found), strict=True):
            local, n, offset, length = place
            if hash16 == self._zeros:
                result.append((hash16, hole(end - start)))
            elif local != UNKNOWN and length == end - start:
                result.append((hash16, Extent(self.cache.runs[local], n, offset, length)))
            elif hash16 in fresh:
                result.append((hash16, fresh[hash16]))
            else:
                extent = self._append(kind, dense, hash16, view[start:end])
                fresh[hash16] = extent
                pending.append(self.cache.record(hash16, extent))
                result.append((hash16, extent))
            start = end
        if pending:
            self.cache.table.add_pending(b"".join(pending))
        return result

    def flush(self) -> None:
        """All frames sealed, packed, stored and listed in a durable segment."""
        for kind, dense in list(self._open):
            self._close_frame(kind, dense)
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

    def _append(self, kind: int, dense: bool, hash16: bytes, chunk: memoryview) -> Extent:
        current = self._open.get((kind, dense))
        if current is None:
            target = DENSE_FRAME_TARGET_BYTES if dense else self.frame_target
            level = 0 if dense else self.level
            current = OpenFrame(self.run.take_frame(), target, level)
            self._open[kind, dense] = current
        extent = Extent(self.run.id, current.n, len(current.parts), len(chunk))
        current.parts += chunk
        current.chunks.append((hash16, len(chunk)))
        self.bytes_new += len(chunk)
        if len(current.parts) >= current.target:
            self._close_frame(kind, dense)
        return extent

    def _close_frame(self, kind: int, dense: bool) -> None:
        done = self._open.pop((kind, dense))
        plain = PlainFrame(
            done.n, kind, done.parts, done.chunks, self.keys.hash_key(kind), done.level
        )
        sealing = self.pool.submit(seal_frame, self.run, plain, self.surroundings)
        self._sealing.append((kind, sealing))
        while len(self._sealing) > FRAMES_IN_FLIGHT:
            self._pack_oldest()

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
