"""A file that is there already, compared with what the snapshot has: chunk by chunk, by hash."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import itemgetter

from blake3 import blake3

from kluis.errors import DamageError
from kluis.format.frame import DATA, HASH_BYTES
from kluis.format.tree import HOLE_RUN, Extent, extent_length, hole
from kluis.operations.restoring.chunks import ChunkLists
from kluis.operations.restoring.listings import blocks_of
from kluis.repository.content import Content, record, stream_digest
from kluis.repository.trees import Piece, TreeReader
from kluis.source.read import File

WINDOW_BYTES = 1 << 20
# A file with more wrong stretches than this (3 MB of them) is written anew as a whole.
WRONG_LIMIT = 32 << 10


@dataclass
class Difference:
    """What of a file is not as it was recorded: (offset in the file, where the right bytes lie)."""

    wrong: list[tuple[int, Extent]] = field(default_factory=list)
    right_bytes: int = 0
    same_size: bool = True
    many: bool = False
    """There is too much of it to be listed."""

    @property
    def none(self) -> bool:
        """Whether the file is right to the last byte."""
        return self.same_size and not self.wrong

    def add(self, offset: int, extent: Extent) -> None:
        """Takes one more wrong stretch; those that go on where another ends become one."""
        if self.wrong:
            start, last = self.wrong[-1]
            if start + extent_length(last) == offset and _follows(last, extent):
                self.wrong[-1] = start, _joined(last, extent)
                return
        if len(self.wrong) >= WRONG_LIMIT:
            self.many = True
            return
        self.wrong.append((offset, extent))


def _follows(last: Extent, extent: Extent) -> bool:
    if last.run != extent.run or last.n != extent.n:
        return False
    return last.run == HOLE_RUN or last.offset + last.length == extent.offset


def _joined(last: Extent, extent: Extent) -> Extent:
    if last.run == HOLE_RUN:
        return hole(extent_length(last) + extent_length(extent))
    return Extent(last.run, last.n, last.offset, last.length + extent.length)


@dataclass
class Comparer:
    """Compares files with contents of one domain."""

    trees: TreeReader
    lists: ChunkLists
    check: Callable[[], None]
    """Called often; raises once the caller wants to stop."""

    def compare(self, file: File, content: Content) -> Difference:
        """What of the file is wrong; `DamageError` if that cannot be known.

        The chunk lists are compared with the recorded digest, so that a file that is right
        by them is right.
        """
        window = _Window(file)
        found = Difference()
        key = self.trees.keys.hash_key(DATA)
        position = 0
        for digest, extents in blocks_of(self.trees, content):
            records = bytearray()
            for piece in self._pieces(extents):
                self.check()
                length = extent_length(piece.extent)
                records += record(piece.hash16, length)
                if piece.extent.run == HOLE_RUN:
                    self._hole(window, (position, length), found)
                elif window.hash16(position, length, key) == piece.hash16:
                    found.right_bytes += length
                else:
                    found.add(position, piece.extent)
                position += length
            if stream_digest(self.trees.keys, records) != digest:
                raise DamageError("the content is not the one that was recorded")
        found.same_size = file.size == position
        return found

    def _pieces(self, extents: Iterable[Extent]) -> Iterable[Piece]:
        for extent in extents:
            yield from self.lists.pieces(extent)

    def _hole(self, window: _Window, place: tuple[int, int], found: Difference) -> None:
        """Looks at what should be zeros, in windows, leaving out what the file keeps as holes.

        Where the file ends too early, making it longer gives the zeros.
        """
        position, length = place
        for start, end in window.data_within(position, position + length):
            while start < end:
                self.check()
                size = min(end - start, WINDOW_BYTES)
                if not window.is_zero(start, size):
                    found.add(start, hole(size))
                start += size


class _Window:
    """Reads a file forwards, a window at a time."""

    def __init__(self, file: File) -> None:
        self._file = file
        self.size = file.size
        self._buffer = bytearray(min(WINDOW_BYTES, max(1, file.size)))
        self._start = 0
        self._filled = 0
        self._ranges: list[tuple[int, int]] | None = None

    def hash16(self, offset: int, length: int, key: bytes) -> bytes:
        """The hash of a stretch; of no chunk if the file ends before."""
        data = self._at(offset, length)
        if len(data) != length:
            return b""
        return blake3(data, key=key).digest(HASH_BYTES)

    def is_zero(self, offset: int, length: int) -> bool:
        """Whether the stretch is there and zero."""
        data = bytes(self._at(offset, length))
        return len(data) == length and not data.strip(b"\0")

    def data_within(self, start: int, end: int) -> list[tuple[int, int]]:
        """What the file stores of a stretch."""
        if self._ranges is None:
            self._ranges = self._file.data_ranges()
        found = []
        for low, high in self._ranges[bisect_right(self._ranges, start, key=itemgetter(1)) :]:
            if low >= end:
                break
            found.append((max(start, low), min(end, high)))
        return found

    def _at(self, offset: int, length: int) -> memoryview:
        if length > len(self._buffer) and offset + length <= self.size:
            self._buffer = bytearray(length)
            self._filled = 0
        inside = self._start <= offset and offset + length <= self._start + self._filled
        if not inside:
            self._start = offset
            self._filled = self._file.read_at(memoryview(self._buffer), offset)
        at = offset - self._start
        return memoryview(self._buffer)[at : min(at + length, self._filled)]
