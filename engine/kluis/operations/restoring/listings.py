"""Trees of any size read back entry by entry, in bounded memory, every byte checked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import field

from blake3 import blake3

from kluis.errors import DamageError
from kluis.format import tree
from kluis.format.frame import HASH_BYTES, TREE
from kluis.format.tree import Entry, Extent, extent_length
from kluis.frozen import frozen
from kluis.repository.content import Content, list_digest, record, stream_digest
from kluis.repository.trees import Piece, TreeReader

# A tree of up to 2,000 entries is kept while the walk is below it; a larger one is read again.
KEPT_TREE_BYTES = 256 << 10

_DIFFERENT = "the content is not the one that was recorded"


@frozen
class Listing:
    """What a tree holds: its entries, once, in order; and the names of owners."""

    entries: Iterator[Entry]
    users: dict[int, str] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)


def open_listing(trees: TreeReader, content: Content) -> Listing:
    """The tree at `content`; `DamageError`, at once or from the entries, if it is not whole."""
    if not content.extents:
        return Listing(iter(()))
    if content.size <= KEPT_TREE_BYTES and not content.listed:
        data = b"".join(trees.stream(content, TREE))

        def read(offset: int, size: int) -> bytes:
            return data[offset : offset + size]

        return Listing(tree.entries(read, len(data)), *tree.owners(read, len(data)))
    stream = _TreeStream(trees, content)
    return Listing(tree.entries(stream.read, content.size), *tree.owners(stream.read, content.size))


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
