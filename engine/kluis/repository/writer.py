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
from kluis.frozen import frozen
from kluis.options import LEVEL_AUTO
from kluis.repository.content import ChunkKeys, make_extent
from kluis.repository.dedup import UNKNOWN, DedupCache
from kluis.repository.packer import (
    QUICK,
    PackBuilder,
    PlainFrame,
    SealedFrame,
    looks_compressible,
    seal_frame,
)
from kluis.repository.room import make_room
from kluis.repository.run import Run
from kluis.repository.uploader import Uploader
from kluis.surroundings import Surroundings

FRAME_TARGET_BYTES = 2 << 20
# Incompressible data gains nothing from company, and small frames waste less when it dies.
DENSE_FRAME_TARGET_BYTES = 128 << 10
# A shorter end of a large file is not worth a frame of its own.
DENSE_TAIL_BYTES = 32 << 10
FRAMES_IN_FLIGHT = 3
# A frame closes with the chunk that takes it to its target; no chunk has more than 8 MiB.
ROOM_BYTES = FRAME_TARGET_BYTES + (8 << 20)

# After a frame that shrank to more than this, the next is compressed the quick way: what lies
# near is alike.
QUICK_SHARE = 0.4

# A stretch shorter than this is not asked whether it can be compressed.
PROBE_LEAST_BYTES = 4 << 10

_PLACE = struct.Struct("<IIII")


@dataclass
class OpenFrame:
    """A frame that still takes chunks: the first `size` bytes of the buffer."""

    n: int
    target: int
    level: int
    buffer: memoryview
    size: int = 0
    chunks: list[tuple[bytes, int]] = field(default_factory=list)


@frozen
class Sealing:
    """A frame on its way through the pool; its buffer is used again afterwards."""

    kind: int
    dense: bool
    result: Future[SealedFrame]
    buffer: memoryview


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
    _shrunk: float = 0.0  # to which share the last frame did that was to be compressed
    _open: dict[tuple[int, bool], OpenFrame] = field(default_factory=dict)
    _sealing: deque[Sealing] = field(default_factory=deque)
    # By whether they are for dense frames: those never touch more than their first pages.
    _free: dict[bool, list[memoryview]] = field(default_factory=lambda: {False: [], True: []})
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
        append, runs, zeros = fill.append, self.cache.runs, self._zero_hash()
        result: list[tuple[bytes, Extent]] = []
        fresh: dict[bytes, Extent] = {}
        start = 0
        for hash16, end, place in zip(hashes, ends, _PLACE.iter_unpack(found), strict=True):
            local, n, offset, length = place
            if hash16 in fresh:
                extent = fresh[hash16]
            elif local != UNKNOWN and length == end - start:
                extent = make_extent((runs[local], n, offset, length))
            elif hash16 == zeros:
                extent = hole(end - start)
            else:
                extent = fresh[hash16] = append(hash16, start, end)
            result.append((hash16, extent))
            start = end
        fill.release()
        if fresh:
            self.bytes_new += fill.bytes_new
            self.cache.table.add_pending(self.cache.records(self.run.id, fresh))
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
        """How far the frames are filled."""
        filled = {frame.n: frame.size for frame in self._open.values()}
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
            data.take_all(trees)
            del self._packs[TREE]
        for kind in list(self._packs):
            self._close_pack(kind)
        self.uploader.close_set()

    def open_frame(self, kind: int, dense: bool) -> OpenFrame:
        """The frame that takes the next chunk."""
        current = self._open.get((kind, dense))
        if current is None:
            target = DENSE_FRAME_TARGET_BYTES if dense else self.frame_target
            level = QUICK if dense and self.level else self.level
            free = self._free[dense]
            buffer = free.pop() if free else make_room(ROOM_BYTES)
            current = OpenFrame(self.run.take_frame(), target, level, buffer)
            self._open[kind, dense] = current
        return current

    def end_file(self) -> None:
        """A large file is stored: what comes next gets dense frames of its own.

        When one of two files goes, a frame that holds both stays.
        """
        tail = self._open.get((DATA, True))
        if tail is not None and tail.size >= DENSE_TAIL_BYTES:
            self.close_frame(DATA, True)

    def close_frame(self, kind: int, dense: bool) -> None:
        """Gives a frame to the pool."""
        done = self._open.pop((kind, dense))
        content = done.buffer[: done.size]
        level = done.level
        if level == LEVEL_AUTO and kind == DATA and self._shrunk > QUICK_SHARE:
            level = QUICK
        plain = PlainFrame(done.n, kind, content, done.chunks, self.keys.hash_key(kind), level)
        result = self.pool.submit(seal_frame, self.run, plain, self.surroundings)
        self._sealing.append(Sealing(kind, dense, result, done.buffer))

    def _pack_oldest(self) -> None:
        oldest = self._sealing.popleft()
        sealed, kind = oldest.result.result(), oldest.kind
        self._free[oldest.dense].append(oldest.buffer)
        if kind == DATA and not oldest.dense:
            self._shrunk = sealed.entry.stored_bytes / sealed.entry.plain_bytes
        builder = self._packs.get(kind)
        if builder is None:
            builder = self._packs[kind] = new_pack(self.run)
        builder.add(sealed, self.run.certificate)
        if builder.size >= pack.PACK_TARGET_BYTES:
            self._close_pack(kind)

    def _close_pack(self, kind: int) -> None:
        builder = self._packs.pop(kind)
        self.uploader.store(builder.finish(self.run.shelf(), self.surroundings))


class Filling:
    """Puts the new chunks of one buffer into frames. Its `append` is the hot path: no calls."""

    __slots__ = (
        "_chunks",
        "_copied",
        "_dense",
        "_end",
        "_frame",
        "_group_end",
        "_groups",
        "_kind",
        "_n",
        "_run",
        "_size",
        "_target",
        "_view",
        "_writer",
        "bytes_new",
    )

    def __init__(
        self, writer: RunWriter, kind: int, view: memoryview, groups: Sequence[int]
    ) -> None:
        self._writer = writer
        self._kind = kind
        self._view = view
        self._groups = iter(groups) if writer.probe else iter(())
        self._group_end = 0
        self._dense = False
        self._run = writer.run.id
        self._target = -1  # no frame is open
        self._size = 0
        self._copied = self._end = 0  # what lies between them is still to be copied
        self.bytes_new = 0

    def append(self, hash16: bytes, start: int, end: int) -> Extent:
        """Adds the chunk that lies there in the buffer."""
        if start >= self._group_end:
            self._next_group(start)
        if self._size >= self._target:
            self._next_frame(start)
        elif start != self._end:
            self._copy(start)
        at, length = self._size, end - start
        self._chunks.append((hash16, length))
        self._size = at + length
        self._end = end
        return make_extent((self._run, self._n, at, length))

    def release(self) -> None:
        """Closes a full frame; any other one goes on with the next buffer."""
        if self._target >= 0:
            self._copy(self._end)
            if self._size >= self._target:
                self._writer.close_frame(self._kind, self._dense)
        self._target = -1

    def _next_frame(self, start: int) -> None:
        self.release()
        frame = self._frame = self._writer.open_frame(self._kind, self._dense)
        self._n, self._target, self._size = frame.n, frame.target, frame.size
        self._chunks = frame.chunks
        self._copied = self._end = start

    def _copy(self, start: int) -> None:
        """Copies what is still to be copied; more comes from `start` on."""
        frame, length = self._frame, self._end - self._copied
        end = frame.size + length
        frame.buffer[frame.size : end] = self._view[self._copied : self._end]
        frame.size = end
        self.bytes_new += length
        self._copied = self._end = start

    def _next_group(self, start: int) -> None:
        self.release()
        group_start, end = self._group_end, self._group_end
        while end <= start:
            group_start, end = end, next(self._groups, len(self._view) + 1)
        self._group_end = end
        asked = end <= len(self._view) and end - group_start >= PROBE_LEAST_BYTES
        self._dense = asked and not looks_compressible(self._view[group_start:end])


@frozen
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
