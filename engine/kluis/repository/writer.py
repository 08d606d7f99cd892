"""The writing half of a run: chunks are looked up, new ones fill frames, frames fill packs.

The control thread hashes and looks up; a pool compresses and seals. Frames become packs in
the order of their numbers, whichever is sealed first.
"""

from __future__ import annotations

import struct
from array import array
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from blake3 import blake3

from kluis._native import sum as sums
from kluis._native.fill import DONE, GROUP, HOLE, PLACE_FORMAT, Chunks, Fill
from kluis.format import crypt, pack
from kluis.format.frame import DATA, HASH_BYTES, TREE
from kluis.format.tree import Extent, hole
from kluis.frozen import frozen
from kluis.options import LEVEL_AUTO
from kluis.repository.content import ChunkKeys
from kluis.repository.dedup import DedupCache
from kluis.repository.packer import (
    DENSE,
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
# Of a file that has many such frames to itself, larger ones: what they cost each counts there.
LARGE_FILE_BYTES = 8 << 20
LARGE_DENSE_TARGET_BYTES = 512 << 10
# A shorter end of a large file is not worth a frame of its own.
DENSE_TAIL_BYTES = 32 << 10
FRAMES_IN_FLIGHT = 3
# A frame closes with the chunk that takes it to its target; no chunk has more than 8 MiB.
ROOM_BYTES = FRAME_TARGET_BYTES + (8 << 20)

# After a frame that shrank to more than this, the next is compressed the quick way: what lies
# near is alike.
QUICK_SHARE = 0.5

# A stretch shorter than this is not asked whether it can be compressed.
PROBE_LEAST_BYTES = 4 << 10

PLACE = struct.Struct(PLACE_FORMAT)


@dataclass
class OpenFrame:
    """A frame that still takes chunks: the first `size` bytes of the buffer."""

    n: int
    target: int
    level: int
    buffer: memoryview
    size: int = 0
    chunks: Chunks = field(default_factory=Chunks)


# Full before it has begun: the first new chunk asks for a real one.
NO_FRAME = OpenFrame(-1, 0, 0, memoryview(bytearray()))


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
    _dense_target: int = DENSE_FRAME_TARGET_BYTES
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
    ) -> bytes:
        """Where each chunk lies (`fill.PLACE_FORMAT`), new ones stored; `ends` cut `data` from 0.

        `groups` are ends of stretches that are asked apart whether they can be compressed;
        without any, all of it counts as compressible. `extents` reads the answer.
        """
        view = memoryview(data)
        bounds = array("I", ends)
        # Before the hashes: what changes in memory from now on is noticed when its frame is sealed.
        known = sums.each(view, bounds)
        hashes = self._hashes(kind, view, ends)
        found = self.cache.table.lookup(hashes)
        fill = Fill(view, bounds, hashes, (found, known), self._zero_hash())
        new = self._fill(fill, kind, Groups(view, groups if self.probe else ()))
        if new:
            self.bytes_new += new
            self.cache.table.add_pending(fill.fresh())
            # Not before: a chunk that becomes durable unknown to the table is stored again.
            while len(self._sealing) > FRAMES_IN_FLIGHT:
                self._pack_oldest()
        return fill.places

    def extents(self, places: bytes) -> list[tuple[bytes, Extent]]:
        """Each chunk's hash and where it lies."""
        runs = self.cache.runs
        return [
            (hash16, hole(length) if run == HOLE else Extent(runs[run], n, offset, length))
            for hash16, run, n, offset, length in PLACE.iter_unpack(places)
        ]

    def _fill(self, fill: Fill, kind: int, groups: Groups) -> int:
        """Puts the new chunks into frames; returns how many bytes they have."""
        frame, size, number = NO_FRAME, 0, (0, 0)
        filled = 0
        while True:
            size = fill.into(
                frame.buffer, frame.size, frame.target, number, frame.chunks, groups.end
            )
            filled += size - frame.size
            frame.size = size
            full = frame.size >= frame.target
            if full and frame is not NO_FRAME:
                self.close_frame(kind, groups.dense)
            if fill.wanted == DONE:
                return filled
            if fill.wanted == GROUP:
                groups.enter(fill.start())
            frame = self.open_frame(kind, groups.dense)
            number = (self.cache.number(self.run.id), frame.n)

    def _hashes(self, kind: int, view: memoryview, ends: Sequence[int]) -> bytes:
        # One hasher for all: half a microsecond a chunk less than a new one each.
        hasher = blake3(key=self.keys.hash_key(kind))
        update, digest, reset = hasher.update, hasher.digest, hasher.reset
        hashes = []
        start = 0
        for end in ends:
            update(view[start:end])
            hashes.append(digest(HASH_BYTES))
            reset()
            start = end
        return b"".join(hashes)

    def _zero_hash(self) -> bytes:
        if self._zeros is None:
            self._zeros = blake3(bytes(self.largest_chunk), key=self.keys.data).digest(HASH_BYTES)
        return self._zeros

    def frontier(self) -> Frontier:
        """How far the frames are filled."""
        filled = {frame.n: frame.size for frame in self._open.values()}
        return Frontier(self.cache.number(self.run.id), self.run.next_frame, filled)

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
            target = self._dense_target if dense else self.frame_target
            level = DENSE if dense and self.level else self.level
            free = self._free[dense]
            buffer = free.pop() if free else make_room(ROOM_BYTES)
            current = OpenFrame(self.run.take_frame(), target, level, buffer)
            self._open[kind, dense] = current
        return current

    def begin_file(self, size: int) -> None:
        """A large file of so many bytes comes next."""
        large = size >= LARGE_FILE_BYTES
        self._dense_target = LARGE_DENSE_TARGET_BYTES if large else DENSE_FRAME_TARGET_BYTES

    def end_file(self) -> None:
        """A large file is stored: what comes next gets dense frames of its own.

        When one of two files goes, a frame that holds both stays.
        """
        self._dense_target = DENSE_FRAME_TARGET_BYTES
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
        plain = PlainFrame(done.n, kind, content, done.chunks, level)
        result = self.pool.submit(seal_frame, self.run, plain, self.surroundings)
        self._sealing.append(Sealing(kind, dense, result, done.buffer))

    def _pack_oldest(self) -> None:
        oldest = self._sealing.popleft()
        sealed, kind = oldest.result.result(), oldest.kind
        self._free[oldest.dense].append(oldest.buffer)
        if kind == DATA and not oldest.dense:
            self._shrunk = sealed.entry.stored_bytes / sealed.entry.plain_bytes
        builder = self._packs.get(kind)
        # A pack is never longer, unless by one frame alone: the shard is as long as the longest.
        limit = pack.target_bytes(self.uploader.bytes_stored)
        if builder is not None and builder.size + sealed.size() > limit:
            self._close_pack(kind)
            builder = None
        if builder is None:
            builder = self._packs[kind] = new_pack(self.run)
        builder.add(sealed, self.run.certificate)

    def _close_pack(self, kind: int) -> None:
        builder = self._packs.pop(kind)
        self.uploader.store(builder.finish(self.run.shelf(), self.surroundings))


class Groups:
    """Which stretch of a buffer a chunk is in, and whether that one is dense."""

    def __init__(self, view: memoryview, ends: Sequence[int]) -> None:
        self._view = view
        self._ends = iter(ends)
        self.end = 0
        self.dense = False

    def enter(self, position: int) -> None:
        """Goes on to the stretch that the position lies in."""
        size = len(self._view)
        start, end = self.end, self.end
        while end <= position:
            start, end = end, next(self._ends, size + 1)
        self.end = end
        asked = end <= size and end - start >= PROBE_LEAST_BYTES
        self.dense = asked and not looks_compressible(self._view[start:end])


@frozen
class Frontier:
    """How far a run's frames were filled at some time."""

    run: int  # as places count runs
    next_frame: int
    filled: dict[int, int]

    def added(self, places: bytes) -> int:
        """How many bytes of these chunks were stored since then, each counted once."""
        new = {
            (n, offset): length
            for _, run, n, offset, length in PLACE.iter_unpack(places)
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
