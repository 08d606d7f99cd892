"""A stored file as a readable, seekable binary file. Every byte given out was checked."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from typing import TYPE_CHECKING

from blake3 import blake3

from kluis.errors import DamageError, NotFoundError
from kluis.format import tree
from kluis.format.frame import DATA, HASH_BYTES
from kluis.format.tree import Extent, extent_length
from kluis.repository.content import Content, list_digest, record, stream_digest
from kluis.repository.listing import locate, root_of, shown
from kluis.repository.snapshots import resolve
from kluis.repository.trees import Piece, TreeReader, content_of, open_trees

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from kluis.repository.access import Repository

# Smaller reads are served from a buffer, so that a chunk is hashed about once.
BUFFER_BYTES = 1 << 18


class StoredFile(io.RawIOBase):
    """One file of a snapshot; a read opens the frames that it touches, and no others.

    The chunk lists of a block are compared with the recorded digest before its first byte is
    given out, and each chunk with its hash in them.
    """

    def __init__(self, trees: TreeReader, content: Content, name: bytes) -> None:
        super().__init__()
        self.name = name
        self._trees = trees
        self._key = trees.keys.hash_key(DATA)
        self._position = 0
        self._blocks: list[tuple[bytes, tuple[Extent, ...]]] = []
        self._block_starts: list[int] = []
        self._size = 0
        for digest, extents in trees.blocks(content):
            self._blocks.append((digest, extents))
            self._block_starts.append(self._size)
            self._size += sum(map(extent_length, extents))
        digests = [digest for digest, _ in self._blocks]
        if content.listed and list_digest(trees.keys, digests) != content.digest:
            raise self._damage()
        self._block = -1
        self._pieces: list[Piece] = []
        self._starts: list[int] = []  # where each piece of the current block begins

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self._size:
            count = self._some(view[done:])
            done += count
            self._position += count
        return done

    def _some(self, view: memoryview) -> int:
        """Fills in bytes of the one piece that holds the position; returns how many."""
        block = bisect_right(self._block_starts, self._position) - 1
        if block != self._block:
            self._enter(block)
        place = bisect_right(self._starts, self._position) - 1
        extent = self._pieces[place].extent
        offset = self._position - self._starts[place]
        count = min(len(view), extent_length(extent) - offset)
        if extent.run == tree.HOLE_RUN:
            view[:count] = bytes(count)
            return count
        opened = self._trees.frames.open(extent.run, extent.n)
        piece = memoryview(opened.plain)[extent.offset : extent.offset + extent.length]
        if blake3(piece, key=self._key).digest(HASH_BYTES) != self._pieces[place].hash16:
            raise self._damage()
        view[:count] = piece[offset : offset + count]
        return count

    def _enter(self, block: int) -> None:
        """Takes the chunk lists of a block, if they are those that were recorded."""
        digest, extents = self._blocks[block]
        pieces, starts, records = [], [], bytearray()
        position = self._block_starts[block]
        for piece in self._trees.pieces(extents):
            length = extent_length(piece.extent)
            pieces.append(piece)
            starts.append(position)
            records += record(piece.hash16, length)
            position += length
        if stream_digest(self._trees.keys, records) != digest:
            raise self._damage()
        self._block, self._pieces, self._starts = block, pieces, starts

    def _damage(self) -> DamageError:
        return DamageError(
            f"the content of {shown(self.name)} is not the one that was recorded. "
            "Next: kluis verify --level 2, kluis repair"
        )


def open_file(repository: Repository, snapshot: str, path: bytes) -> io.BufferedReader:
    """The file at `path` in a snapshot, opened for reading.

    `NotFoundError` if there is none; reading raises `DamageError` before it gives a wrong byte.
    """
    opened = resolve(repository, snapshot)
    trees = open_trees(repository, opened.certificate.domain)
    found = locate(trees, root_of(opened), path)
    if found is None or found.entry.kind != tree.FILE:
        raise NotFoundError(f"{shown(path)} is no file in snapshot {opened.id()}")
    return io.BufferedReader(StoredFile(trees, content_of(found.entry), path), BUFFER_BYTES)
