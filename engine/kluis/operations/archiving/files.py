"""The content of files, cut into chunks and stored: many small ones at once, large in windows."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kluis._native import read as native
from kluis.events import Cancel
from kluis.format.frame import DATA, TREE
from kluis.format.tree import Extent
from kluis.repository.content import EMPTY, Content, ContentBuilder
from kluis.repository.writer import RunWriter
from kluis.source.metadata import RESTORABLE_FLAGS, Extras, extras_of
from kluis.source.problem import CHANGED_MEANWHILE, Problem, Report
from kluis.source.read import Change, Stream, open_file, small_files
from kluis.source.walk import Directory

WINDOW_BYTES = 1 << 20
# One call reads this much of small files: their buffer and frame stay in the cache.
BATCH_BYTES = 1 << 20
BATCH_FILES = 1024


# What `FileArchiver.small` says of a file.
PLAIN, EXTRAS, AGAIN = range(3)

Place = tuple[bytes, Extent]  # a chunk's hash16 and where it lies

_RESULT = struct.Struct(native.RESULT_FORMAT)
_NOT_AS_SCANNED = native.CHANGED | native.GREW


class Cuts(Protocol):
    """Finds where chunks end."""

    maximum: int

    def cut(self, data: memoryview, final: bool) -> list[int]:
        """End offsets of all chunks that are decided; the rest waits for more data."""


class FixedCutter:
    """Chunks of one size, for images whose blocks stay where they are."""

    def __init__(self, size: int) -> None:
        self.maximum = size

    def cut(self, data: memoryview, final: bool) -> list[int]:
        ends = list(range(self.maximum, len(data) + 1, self.maximum))
        if final and len(data) % self.maximum:
            ends.append(len(data))
        return ends


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file's content as stored, and what else its reading told."""

    content: Content
    frames: frozenset[tuple[bytes, int]]
    incomplete: bool = False
    extras: Extras | None = None  # None: still to be read
    record: bytes | None = None  # the stat record of the moment it was opened


@dataclass
class FileArchiver:
    """Stores contents through one run's writer."""

    writer: RunWriter
    cutter: Cuts
    tree_cutter: Cuts
    small_limit: int
    cancel: Cancel
    report: Report
    bytes_read: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def small(
        self, directory: Directory, indexes: Sequence[int]
    ) -> Iterator[tuple[int, Place | None, int]]:
        """(index, place of the one chunk or None if empty, state) of each of these small files.

        All are read in one system batch. The state is PLAIN, EXTRAS if there are more than
        content and stat record to it, or AGAIN if it has to be read by itself.
        """
        self.cancel.check()
        wanted = struct.pack(f"={len(indexes)}I", *indexes)
        data, results = small_files(directory, wanted, self.small_limit)
        self.bytes_read += len(data)
        ends, position = [], 0
        for length, _, _ in _RESULT.iter_unpack(results):
            if length > 0:
                position += length
                ends.append(position)
        places = iter(self.writer.store(DATA, data, ends) if ends else ())
        for index, (length, flags, attributes) in zip(
            indexes, _RESULT.iter_unpack(results), strict=True
        ):
            place = next(places) if length > 0 else None
            if length < 0 or flags & _NOT_AS_SCANNED:
                yield index, None, AGAIN
            elif flags & native.XATTRS or attributes & RESTORABLE_FLAGS:
                yield index, place, EXTRAS
            else:
                yield index, place, PLAIN

    def alone(self, place: Place | None) -> StoredFile:
        """The content of a small file that `small` stored, as any other's."""
        if place is None:
            return StoredFile(EMPTY, frozenset())
        builder = self._builder()
        builder.chunk(*place)
        return StoredFile(builder.finish(), frozenset(builder.frames))

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
            try:
                done = 0
                for start, end in opened.data_ranges():
                    if start > done:
                        builder.hole(start - done)
                    done = start + self._range(opened, builder, start, end)
                    if done < end:
                        break
                else:
                    if opened.size > done:
                        builder.hole(opened.size - done)
            except OSError as failure:
                self.report(Problem(path, "read", failure.errno or errno.EIO))
                return None
            change = opened.change()
            if change is not Change.NONE:
                self.report(Problem(path, "read", CHANGED_MEANWHILE))
            extras = extras_of(
                opened.descriptor,
                lambda what, number: self.report(Problem(path, what, number)),
            )
            return StoredFile(
                builder.finish(),
                frozenset(builder.frames),
                change is not Change.NONE,
                extras,
                opened.record,
            )

    def stream(self, source: Stream) -> StoredFile:
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
            kept = self._cut(builder, buffer, kept + count, final)
            if final:
                return StoredFile(builder.finish(), frozenset(builder.frames), extras=Extras())

    def tree(self, data: bytes) -> tuple[Content, frozenset[tuple[bytes, int]]]:
        """The encoded tree of a directory, stored in frames of trees."""
        builder = ContentBuilder(self.writer.keys, self._store_tree)
        for hash16, extent in self._tree_chunks(data):
            builder.chunk(hash16, extent)
        return builder.finish(), frozenset(builder.frames)

    def _builder(self) -> ContentBuilder:
        return ContentBuilder(self.writer.keys, self._store_tree)

    def _tree_chunks(self, data: bytes) -> list[tuple[bytes, Extent]]:
        return self.writer.store(TREE, data, self.tree_cutter.cut(memoryview(data), True))

    def _store_tree(self, data: bytes) -> tuple[Extent, ...]:
        """An extent list: stored as a tree is, and never listed itself (28 bytes per MiB)."""
        return tuple(extent for _, extent in self._tree_chunks(data))

    def _room(self) -> bytearray:
        size = WINDOW_BYTES + self.cutter.maximum
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        return self._buffer

    def _range(self, opened: Source, builder: ContentBuilder, start: int, end: int) -> int:
        """Stores bytes from `start` to `end`; returns how many there were."""
        buffer = self._room()
        position, kept = start, 0
        while True:
            self.cancel.check()
            window = memoryview(buffer)[kept : kept + min(len(buffer) - kept, end - position)]
            count = opened.read_at(window, position)
            position += count
            self.bytes_read += count
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
            for hash16, extent in self.writer.store(DATA, view[: ends[-1]], ends):
                builder.chunk(hash16, extent)
            left = filled - ends[-1]
            view[:left] = view[ends[-1] : filled]
            return left


class Source(Protocol):
    """A file that can be read at any place."""

    def read_at(self, buffer: memoryview, offset: int) -> int:
        """How many bytes from `offset` on are now in the buffer."""
