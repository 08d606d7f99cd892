"""Chunks of frames: their lists kept for the frames used last, their bytes against their hashes."""

from __future__ import annotations

import struct
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress, pairwise
from operator import eq, or_

from blake3 import blake3

from kluis._native import plan
from kluis.errors import DamageError
from kluis.format.frame import DATA, HASH_BYTES
from kluis.format.tree import HOLE_RUN, Extent
from kluis.operations.restoring.spans import FILE_BYTES, START_AT, Span
from kluis.repository.content import ChunkKeys, record, stream_digest
from kluis.repository.reader import OpenFrame
from kluis.repository.trees import Piece, TreeReader

NO_HASH = bytes(HASH_BYTES)
# Some hundred frames; each chunk takes about 200 bytes.
CHUNKS_KEPT = 32 << 10

NOT_ALIGNED = "an extent does not begin and end with chunks of its frame"
NOT_AS_RECORDED = "a chunk is not the one that was recorded"
DIFFERENT = "the content is not the one that was recorded"

Stretch = tuple[int, int]
"""(offset, length) in a frame's plain bytes."""

_STRETCH = struct.Struct("=II")
_BOUND = struct.Struct(plan.BOUND_FORMAT)
_SEVERAL = bytes((plan.SEVERAL,))
_REASONS = {
    plan.UNALIGNED: NOT_ALIGNED,
    plan.WRONG: NOT_AS_RECORDED,
    plan.DIFFERENT: DIFFERENT,
}


def reason_of(state: int) -> str:
    """Why a file of a span is not right."""
    return _REASONS[state]


class FrameProof:
    """Whether the bytes of an open frame are those that were recorded; each is hashed once."""

    def __init__(
        self,
        opened: OpenFrame,
        keys: ChunkKeys,
        stretches: Sequence[Stretch],
        spans: Sequence[Span],
    ) -> None:
        self._keys = keys
        self._spans = spans
        chunks = opened.chunks
        starts = array("I", accumulate((size for _, size in chunks), initial=0))
        self._chunks = b"".join([record(*chunk) for chunk in chunks])
        packed = b"".join([_STRETCH.pack(*stretch) for stretch in stretches])
        fields = b"".join([span.fields for span in spans])
        self._stretches, marks = plan.locate(starts.tobytes(), packed, _STRETCH.size, 0)
        self._files, others = plan.locate(starts.tobytes(), fields, FILE_BYTES, START_AT)
        if stretches and spans:
            marks = bytes(map(or_, marks, others))
        elif spans:
            marks = others
        self._right = self._proved(opened, starts, marks)

    def _proved(self, opened: OpenFrame, starts: array[int], marks: bytes) -> bytes:
        """A byte for each chunk: 1 if its bytes have its hash; unknown ones have 0."""
        view, key = memoryview(opened.plain), self._keys.hash_key(DATA)
        found = [
            blake3(view[start:end], key=key).digest(HASH_BYTES)
            for start, end in compress(pairwise(starts), marks)
        ]
        wanted = [hash16 for hash16, _ in compress(opened.chunks, marks)]
        if found == wanted:
            return marks
        right = bytearray(marks)
        for place, is_right in zip(
            compress(range(len(marks)), marks), map(eq, found, wanted), strict=True
        ):
            right[place] = is_right
        return bytes(right)

    def stretches(self) -> list[bytes | str]:
        """For each stretch the records of its chunks, or why it is not right."""
        results: list[bytes | str] = []
        for first, end in _BOUND.iter_unpack(self._stretches):
            if first == end:
                results.append(NOT_ALIGNED)
            elif 0 in self._right[first:end]:
                results.append(NOT_AS_RECORDED)
            else:
                results.append(self._records(first, end))
        return results

    def spans(self) -> list[bytes]:
        """For each span a byte for each file: `plan.RIGHT`, or what `reason_of` explains."""
        if not self._spans:
            return []
        digests = b"".join([span.digests for span in self._spans])
        states = bytearray(plan.check(self._files, digests, self._chunks, self._right))
        place = states.find(_SEVERAL)
        while place >= 0:
            first, end = _BOUND.unpack_from(self._files, place * _BOUND.size)
            at = place * plan.DIGEST_BYTES
            same = (
                stream_digest(self._keys, self._records(first, end))
                == (digests[at : at + plan.DIGEST_BYTES])
            )
            states[place] = plan.RIGHT if same else plan.DIFFERENT
            place = states.find(_SEVERAL, place)
        results, at = [], 0
        for span in self._spans:
            results.append(bytes(states[at : at + span.count]))
            at += span.count
        return results

    def _records(self, first: int, end: int) -> bytes:
        return self._chunks[first * plan.CHUNK_BYTES : end * plan.CHUNK_BYTES]


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
