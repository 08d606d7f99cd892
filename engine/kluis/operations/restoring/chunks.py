"""Chunks of frames: their lists kept for the frames used last, their bytes against their hashes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from kluis.errors import DamageError
from kluis.format.frame import HASH_BYTES
from kluis.format.tree import HOLE_RUN, Extent
from kluis.repository.content import record
from kluis.repository.reader import OpenFrame
from kluis.repository.trees import Piece, TreeReader

NO_HASH = bytes(HASH_BYTES)
# Some hundred frames; each chunk takes about 200 bytes.
CHUNKS_KEPT = 32 << 10

NOT_ALIGNED = "an extent does not begin and end with chunks of its frame"
NOT_AS_RECORDED = "a chunk is not the one that was recorded"

Stretch = tuple[int, int]
"""(offset, length) in a frame's plain bytes."""


def check_stretches(
    opened: OpenFrame, key: bytes, stretches: Sequence[Stretch]
) -> list[bytes | str]:
    """For each stretch the records of its chunks, every byte hashed; or why it is not right.

    A chunk that several stretches cover is hashed once.
    """
    view = memoryview(opened.plain)
    known: dict[int, bytes] = {}
    results: list[bytes | str] = []
    for offset, length in stretches:
        end = offset + length
        place = opened.starts.get(offset)
        records = []
        reason = ""
        while offset < end and place is not None and place < len(opened.chunks):
            found = known.get(place)
            hash16, size = opened.chunks[place]
            if found is None:
                if blake3(view[offset : offset + size], key=key).digest(HASH_BYTES) != hash16:
                    reason = NOT_AS_RECORDED
                    break
                found = known[place] = record(hash16, size)
            records.append(found)
            offset += size
            place += 1
        if not reason and offset != end:
            reason = NOT_ALIGNED
        results.append(reason or (records[0] if len(records) == 1 else b"".join(records)))
    return results


@dataclass
class _List:
    chunks: list[tuple[bytes, int]]
    starts: dict[int, int]


@dataclass
class ChunkLists:
    """Which chunks an extent is made of, from the frames' chunk lists: no content is read."""

    trees: TreeReader
    _kept: OrderedDict[tuple[bytes, int], _List] = field(default_factory=OrderedDict)
    _count: int = 0

    def pieces(self, extent: Extent) -> Iterator[Piece]:
        """The chunks of one extent, in order; a hole is one piece."""
        if extent.run == HOLE_RUN:
            yield Piece(NO_HASH, extent)
            return
        listed = self._of(extent.run, extent.n)
        place = listed.starts.get(extent.offset)
        offset, end = extent.offset, extent.offset + extent.length
        while offset < end and place is not None and place < len(listed.chunks):
            hash16, size = listed.chunks[place]
            yield Piece(hash16, Extent(extent.run, extent.n, offset, size))
            offset += size
            place += 1
        if offset != end:
            raise DamageError(NOT_ALIGNED)

    def _of(self, run: bytes, n: int) -> _List:
        found = self._kept.get((run, n))
        if found is not None:
            self._kept.move_to_end((run, n))
            return found
        chunks = self.trees.frames.chunks(run, n)
        starts, position = {}, 0
        for place, (_, size) in enumerate(chunks):
            starts[position] = place
            position += size
        found = self._kept[run, n] = _List(chunks, starts)
        self._count += len(chunks)
        while self._count > CHUNKS_KEPT and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._count -= len(dropped.chunks)
        return found
