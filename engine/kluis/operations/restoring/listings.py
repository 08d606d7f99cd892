"""Trees of any size read back entry by entry, in bounded memory, every byte checked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blake3 import blake3

from kluis.errors import DamageError
from kluis.format import tree
from kluis.format.frame import HASH_BYTES, TREE
from kluis.format.tree import Entry, Extent, ReadAt, extent_length
from kluis.operations.restoring.spans import Files
from kluis.operations.restoring.windows import Rules, planned
from kluis.repository.content import Content, list_digest, record, stream_digest
from kluis.repository.trees import Piece, TreeReader

# A tree of up to 2,000 entries is kept while the walk is below it; a larger one is read again.
KEPT_TREE_BYTES = 256 << 10

OwnerNames = tuple[dict[int, str], dict[int, str]]

_DIFFERENT = "the content is not the one that was recorded"


_NO_OWNERS: OwnerNames = ({}, {})


@dataclass(slots=True)
class Listing:
    """A tree, to be gone through once, in order; and the names of users and groups in it."""

    read: ReadAt
    size: int
    owners: OwnerNames = _NO_OWNERS

    def entries(self) -> Iterator[Entry]:
        """Each entry; `DamageError` from it if the tree is not whole."""
        return tree.entries(self.read, self.size) if self.size else iter(())

    def planned(self, rules: Rules) -> Iterator[Entry | Files]:
        """The same entries, small files many at a time and before the others near them."""
        return planned(self.read, self.size, rules) if self.size else iter(())


class Listings:
    """Opens the trees of one snapshot, most of which name the same few owners."""

    def __init__(self, trees: TreeReader) -> None:
        self._trees = trees
        self._last = b"", _NO_OWNERS

    def open(self, content: Content) -> Listing:
        """The tree at `content`; `DamageError`, at once or from the entries, if it is not whole."""
        if not content.extents:
            return Listing(_nothing, 0)
        if content.size > KEPT_TREE_BYTES or content.listed:
            stream = _TreeStream(self._trees, content)
            return Listing(stream.read, content.size, self._owners(stream.read, content.size))
        data = b"".join(self._trees.stream(content, TREE))

        def read(offset: int, size: int) -> bytes:
            return data[offset : offset + size]

        return Listing(read, len(data), self._owners(read, len(data)))

    def _owners(self, read: ReadAt, size: int) -> OwnerNames:
        """The names at the end of a tree; the same object as before for the same ones."""
        at = tree.layout(read(0, tree.HEADER_BYTES), size).owners_at()
        packed = read(at, min(size - at, KEPT_TREE_BYTES))
        known, owners = self._last
        if packed != known or size - at > KEPT_TREE_BYTES:
            owners = tree.owners(read, size)
            self._last = packed, owners
        return owners


def _nothing(_offset: int, _size: int) -> bytes:
    return b""


def blocks_of(trees: TreeReader, content: Content) -> Iterator[tuple[bytes, tuple[Extent, ...]]]:
    """(digest, extents) of each block, one at a time; raises at the end if one was not meant."""
    if not content.listed:
        yield content.digest, content.extents
        return
    digests = []
    for digest, extents in tree.read_list_pieces(_list_pieces(trees, content.extents)):
        yield digest, extents
        digests.append(digest)
    if list_digest(trees.keys, digests) != content.digest:
        raise DamageError(_DIFFERENT)


def _list_pieces(trees: TreeReader, extents: Iterable[Extent]) -> Iterator[bytes]:
    """An extent list in pieces; its blocks' digests check it."""
    for extent in extents:
        opened = trees.frames.open(extent.run, extent.n)
        piece = opened.plain[extent.offset : extent.offset + extent.length]
        if len(piece) != extent.length:
            raise DamageError("an extent list is not the one that was recorded")
        yield piece


class _TreeStream:
    """Reads any part of a large tree; its chunk lists were compared with its digest before."""

    def __init__(self, trees: TreeReader, content: Content) -> None:
        self._trees = trees
        self._key = trees.keys.hash_key(TREE)
        self._pieces: list[Piece] = []
        self._starts: list[int] = []
        position = 0
        for digest, extents in blocks_of(trees, content):
            records = bytearray()
            for piece in trees.pieces(extents):
                length = extent_length(piece.extent)
                records += record(piece.hash16, length)
                self._pieces.append(piece)
                self._starts.append(position)
                position += length
            if stream_digest(trees.keys, records) != digest:
                raise DamageError(_DIFFERENT)
        if position != content.size:
            raise DamageError("a directory is not as long as its extents")

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end."""
        parts = []
        place = bisect_right(self._starts, offset) - 1
        while size > 0 and place < len(self._pieces):
            start = offset - self._starts[place]
            part = self._piece(self._pieces[place])[start : start + size]
            parts.append(part)
            offset += len(part)
            size -= len(part)
            place += 1
        return b"".join(parts)

    def _piece(self, piece: Piece) -> bytes:
        extent = piece.extent
        if extent.run == tree.HOLE_RUN:
            raise DamageError("a directory with holes, which none has")
        opened = self._trees.frames.open(extent.run, extent.n)
        data = opened.plain[extent.offset : extent.offset + extent.length]
        if blake3(data, key=self._key).digest(HASH_BYTES) != piece.hash16:
            raise DamageError(_DIFFERENT)
        return data
