"""The content of files, cut into chunks and stored: many at once, large ones in windows."""

from __future__ import annotations

import errno
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kluis._native import parts
from kluis._native import read as native
from kluis._native.fill import PLACE_FORMAT
from kluis.events import Cancel
from kluis.format.frame import DATA, TREE
from kluis.format.tree import Extent
from kluis.frozen import frozen
from kluis.operations.archiving.telling import Teller
from kluis.repository.content import Content, ContentBuilder
from kluis.repository.writer import RunWriter
from kluis.source.metadata import RESTORABLE_FLAGS, Extras, extras_of
from kluis.source.problem import CHANGED_MEANWHILE, Problem, Report
from kluis.source.read import Change, Stream, open_file, small_files
from kluis.source.walk import Directory

WINDOW_BYTES = 1 << 20
# One call reads this much of small files: their buffer and frame stay in the processor's cache.
BATCH_BYTES = 1 << 20
BATCH_FILES = 1024
# Opening a file by itself costs 60 us more than in a batch: as much as hashing 256 KiB.
BATCH_FILE_BYTES = 256 << 10
# Files below this are asked together whether they can be compressed, others each.
PROBE_FILE_BYTES = 32 << 10

NO_EXTRAS = Extras()

_PLACE_BYTES = struct.calcsize(PLACE_FORMAT)
_RESULT_I32 = native.RESULT_SIZE // 4  # the length of what was read comes first


class Cuts(Protocol):
    """Finds where chunks end; what is no longer than `minimum` is one chunk."""

    minimum: int
    maximum: int

    def cut(self, data: memoryview, final: bool) -> list[int]:
        """End offsets of all chunks that are decided; the rest waits for more data."""


class FixedCutter:
    """Chunks of one size, for images whose blocks stay where they are."""

    def __init__(self, size: int) -> None:
        self.minimum = self.maximum = size

    def cut(self, data: memoryview, final: bool) -> list[int]:
        ends = list(range(self.maximum, len(data) + 1, self.maximum))
        if final and len(data) % self.maximum:
            ends.append(len(data))
        return ends


@frozen
class StoredFile:
    """A file's content as stored, and what else its reading told."""

    content: Content
    frames: frozenset[tuple[bytes, int]]
    incomplete: bool = False
    extras: Extras | None = None  # None: still to be read
    record: bytes | None = None  # the stat record of the moment it was opened


@frozen
class Batch:
    """Small files that were read and stored together: in their order, what trees hold of them."""

    states: bytes  # one of those of kluis._native.parts each
    records: bytes  # of those that are ONE or NONE, back to back
    extents: bytes  # of those that are ONE
    places: bytes
    bounds: array[int]  # for each file, how many places there are up to its end

    def places_of(self, position: int) -> bytes:
        """Where the chunks of one of the files lie."""
        first = self.bounds[position - 1] if position else 0
        return self.places[first * _PLACE_BYTES : self.bounds[position] * _PLACE_BYTES]


@dataclass
class FileArchiver:
    """Stores contents through one run's writer."""

    writer: RunWriter
    cutter: Cuts
    tree_cutter: Cuts
    cancel: Cancel
    report: Report
    teller: Teller
    bytes_read: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def batch(self, directory: Directory, indexes: Sequence[int]) -> Batch:
        """What was stored of each of these files of at most `BATCH_FILE_BYTES`.

        All are read in one system batch. What is AGAIN has to be read by itself.
        """
        self.cancel.check()
        wanted = struct.pack(f"={len(indexes)}I", *indexes)
        data, answers = small_files(directory, wanted, BATCH_FILE_BYTES)
        self.bytes_read += len(data)
        places, bounds = self._store_batch(data, answers)
        stored = bounds.tobytes(), places, self.writer.cache.packed
        made = parts.small(directory.records, (wanted, answers), stored, RESTORABLE_FLAGS)
        self.teller.ahead(directory.path, len(indexes), len(data))
        return Batch(*made, places, bounds)

    def _store_batch(self, data: bytearray, answers: bytes) -> tuple[bytes, array[int]]:
        """The places of all files' chunks, and for each file how many there are up to its end."""
        minimum, cut = self.cutter.minimum, self.cutter.cut
        ends: list[int] = []
        bounds = array("I")
        groups: list[int] = []
        position = 0
        with memoryview(data) as view:
            for length in memoryview(answers).cast("i")[::_RESULT_I32].tolist():
                if length > 0:
                    end = position + length
                    if length >= PROBE_FILE_BYTES:
                        groups += (position, end)
                    if length <= minimum:
                        ends.append(end)
                    else:
                        ends += [position + at for at in cut(view[position:end], True)]
                    position = end
                bounds.append(len(ends))
        groups.append(position)
        return self.writer.store(DATA, data, ends, groups) if ends else b"", bounds

    def gathered(self, places: bytes, extras: Extras | None) -> StoredFile:
        """The content that the chunks at these places make."""
        builder = self._builder()
        builder.add(places)
        return StoredFile(builder.finish(), frozenset(builder.frames), extras=extras)

    def large(self, directory: Directory, name: bytes) -> StoredFile | None:
        """One file of any size, read in windows; None if it cannot be read (reported)."""
        path = b"%b/%b" % (directory.path.rstrip(b"/"), name)
        try:
            opened = open_file(directory.descriptor, name)
        except OSError as failure:
            self.report(Problem(path, "read", failure.errno or errno.EIO))
            return None
        with opened:
            builder = self._builder()
            self.writer.begin_file(opened.size)
            try:
                done = 0
                for start, end in opened.data_ranges():
                    if start > done:
                        builder.hole(start - done)
                    done = start + self._range(opened, builder, (start, end), path)
                    if done < end:
                        break
                else:
                    if opened.size > done:
                        builder.hole(opened.size - done)
                change = opened.change()
            except OSError as failure:
                self.report(Problem(path, "read", failure.errno or errno.EIO))
                return None
            finally:
                self.writer.end_file()
            if change is not Change.NONE:
                self.report(Problem(path, "read", CHANGED_MEANWHILE))
            extras = extras_of(
                opened.descriptor,
                lambda what, number: self.report(Problem(path, what, number)),
            )
            self.teller.ahead(path, 1, 0)
            return StoredFile(
                builder.finish(),
                frozenset(builder.frames),
                change is not Change.NONE,
                extras,
                opened.record,
            )

    def stream(self, source: Stream, name: bytes) -> StoredFile:
        """Everything that a stream gives."""
        builder = self._builder()
        buffer = self._room()
        kept = 0
        while True:
            self.cancel.check()
            wanted = memoryview(buffer)[kept:]
            count = source.read_into(wanted)
            final = count < len(wanted)
            self.bytes_read += count
            self.teller.ahead(name, 0, count)
            kept = self._cut(builder, buffer, kept + count, final)
            if final:
                return StoredFile(builder.finish(), frozenset(builder.frames), extras=NO_EXTRAS)

    def tree(self, data: bytes) -> tuple[Content, frozenset[tuple[bytes, int]]]:
        """The encoded tree of a directory, stored in frames of trees."""
        builder = self._builder()
        builder.add(self._tree_chunks(data))
        return builder.finish(), frozenset(builder.frames)

    def _builder(self) -> ContentBuilder:
        return ContentBuilder(self.writer.keys, self.writer.cache.runs, self._store_tree)

    def _tree_chunks(self, data: bytes) -> bytes:
        return self.writer.store(TREE, data, self.tree_cutter.cut(memoryview(data), True))

    def _store_tree(self, data: bytes) -> tuple[Extent, ...]:
        """An extent list: stored as a tree is, and never listed itself (28 bytes per MiB)."""
        return tuple(extent for _, extent in self.writer.extents(self._tree_chunks(data)))

    def _room(self) -> bytearray:
        size = WINDOW_BYTES + self.cutter.maximum
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        return self._buffer

    def _range(
        self, opened: Source, builder: ContentBuilder, span: tuple[int, int], path: bytes
    ) -> int:
        """Stores the bytes of a span; returns how many there were."""
        buffer = self._room()
        start, end = span
        position, kept = start, 0
        while True:
            self.cancel.check()
            window = memoryview(buffer)[kept : kept + min(len(buffer) - kept, end - position)]
            count = opened.read_at(window, position)
            position += count
            self.bytes_read += count
            self.teller.ahead(path, 0, count)
            final = count < len(window) or position >= end
            kept = self._cut(builder, buffer, kept + count, final)
            if final:
                return position - start

    def _cut(self, builder: ContentBuilder, buffer: bytearray, filled: int, final: bool) -> int:
        """Stores the chunks that are decided; moves the rest to the front, returns its length."""
        with memoryview(buffer) as view:
            ends = self.cutter.cut(view[:filled], final)
            if not ends:
                return filled
            builder.add(self.writer.store(DATA, view[: ends[-1]], ends, (ends[-1],)))
            left = filled - ends[-1]
            view[:left] = view[ends[-1] : filled]
            return left


class Source(Protocol):
    """A file that can be read at any place."""

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """How many bytes from `offset` on are now in the buffer."""
