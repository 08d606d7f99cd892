"""Digests of contents computed again from the chunk lists of frames: no content is read."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import accumulate

from kluis.errors import DamageError
from kluis.format.extent import HOLE_RUN, Extent, extent_length
from kluis.format.frame import HASH_BYTES
from kluis.repository.content import Content, list_digest, record, stream_digest
from kluis.repository.trees import TreeReader

# Of all chunk lists some are kept as records, 28 bytes a chunk: these are of 2 GiB or more.
KEPT_CHUNKS = 1 << 17
RECORD_BYTES = len(record(bytes(HASH_BYTES), 0))
_NO_HASH = bytes(HASH_BYTES)


OTHER = "its content is not the one that was recorded"
SPLIT = "an extent does not begin and end with chunks of its frame"
OTHER_KIND = "its content lies in a frame of another kind"

Number = tuple[bytes, int, int]  # run, n, kind
# Where each chunk of a frame begins, and the frame ends; what a digest takes in of each chunk.
FrameRecords = tuple["array[int]", bytes]


@dataclass
class Streams:
    """Checks what is recorded of contents; keeps the chunk lists that were used last."""

    trees: TreeReader
    _kept: OrderedDict[Number, FrameRecords] = field(default_factory=OrderedDict)
    _chunks: int = 0

    def check(self, content: Content, kind: int) -> None:
        """Raises `DamageError` unless the chunks that the extents name are those recorded.

        They have to lie in frames of this kind.
        """
        digests = []
        for digest, extents in self.trees.blocks(content):
            if self._digest(extents, kind) != digest:
                raise DamageError(OTHER)
            digests.append(digest)
        if content.listed and list_digest(self.trees.keys, digests) != content.digest:
            raise DamageError(OTHER)

    def _digest(self, extents: tuple[Extent, ...], kind: int) -> bytes:
        """The digest of what lies there."""
        parts = []
        for extent in extents:
            run, n, offset, length = extent
            if run == HOLE_RUN:
                parts.append(record(_NO_HASH, extent_length(extent)))
                continue
            starts, records = self._kept.get((run, n, kind)) or self._read((run, n, kind))
            first = bisect_left(starts, offset)
            last = bisect_left(starts, offset + length, first)
            if last == len(starts) or starts[first] != offset or starts[last] != offset + length:
                raise DamageError(SPLIT)
            parts.append(records[first * RECORD_BYTES : last * RECORD_BYTES])
        return stream_digest(self.trees.keys, parts[0] if len(parts) == 1 else b"".join(parts))

    def _read(self, number: Number) -> FrameRecords:
        run, n, kind = number
        chunks = self.trees.frames.chunks(run, n)
        if any(place.kind != kind for place in self.trees.frames.places(run, n)):
            raise DamageError(OTHER_KIND)
        starts = array("I", accumulate((length for _, length in chunks), initial=0))
        records = b"".join([record(hash16, length) for hash16, length in chunks])
        found = self._kept[number] = starts, records
        self._chunks += len(chunks)
        while self._chunks > KEPT_CHUNKS and len(self._kept) > 1:
            _, (dropped, _) = self._kept.popitem(last=False)
            self._chunks -= len(dropped) - 1
        return found
