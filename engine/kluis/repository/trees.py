"""Snapshots read back: trees, entries by path, and the checked bytes of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from kluis.errors import DamageError, NotFoundError
from kluis.format import tree
from kluis.format.crypt import DIGEST_BYTES
from kluis.format.frame import DATA, HASH_BYTES, TREE
from kluis.format.snapshot import Root
from kluis.format.tree import HOLE_RUN, Entry, Extent, Tree, decode_list, extent_length
from kluis.frozen import frozen
from kluis.repository.access import Repository
from kluis.repository.content import (
    ChunkKeys,
    Content,
    chunk_keys,
    list_digest,
    record,
    stream_digest,
)
from kluis.repository.index import Index, load_index
from kluis.repository.reader import FrameReader

ZEROS_BYTES = 1 << 20
_ZEROS = bytes(ZEROS_BYTES)
# What follows the hash in the digest of a stream that is one chunk.
_NO_MORE = bytes(DIGEST_BYTES - HASH_BYTES)


@frozen
class Piece:
    """A chunk of a stream: its hash, its place, or a hole (`extent.run` is zero)."""

    hash16: bytes
    extent: Extent


@dataclass
class TreeReader:
    """Reads what the snapshots of one domain hold. Every byte given out is checked."""

    frames: FrameReader
    keys: ChunkKeys

    def tree(self, content: Content) -> Tree:
        """The tree that lies at `content`; `DamageError` if it cannot be had whole."""
        if not content.extents:
            return Tree(())
        return tree.decode(self.data(content))

    def data(self, content: Content) -> bytes:
        """The same as stored, not decoded."""
        return self._one_chunk(content) or b"".join(self.stream(content, TREE))

    def _one_chunk(self, content: Content) -> bytes | None:
        """A tree that is one chunk, as most are, in a fifth of the time of `stream`.

        None for others, and for what is damaged, of which `stream` says how.
        """
        if content.listed or len(content.extents) != 1:
            return None
        run, n, offset, length = content.extents[0]
        if run == HOLE_RUN:
            return None
        opened = self.frames.open(run, n)
        place = opened.starts.get(offset)
        if place is None or opened.chunks[place][1] != length:
            return None
        piece = opened.plain[offset : offset + length]
        hash16 = blake3(piece, key=self.keys.hash_key(TREE)).digest(HASH_BYTES)
        if hash16 != opened.chunks[place][0] or hash16 + _NO_MORE != content.digest:
            return None
        return bytes(piece)

    def root(self, root: Root) -> Tree:
        """The tree of `/`."""
        return self.tree(root_content(root))

    def stream(self, content: Content, kind: int = DATA) -> Iterator[bytes | memoryview]:
        """The bytes of a file or tree, in order, each chunk checked against its hash.

        Raises `DamageError` before it gives a wrong byte, and at the end if the whole is not
        what was recorded. Holes come as zeros, at most 1 MiB at a time.
        """
        digests = []
        for block_digest, extents in self.blocks(content):
            records = bytearray()
            for extent in extents:
                yield from self._extent(extent, kind, records)
            if stream_digest(self.keys, records) != block_digest:
                raise DamageError("the content is not the one that was recorded")
            digests.append(block_digest)
        if content.listed and list_digest(self.keys, digests) != content.digest:
            raise DamageError("the content is not the one that was recorded")

    def blocks(self, content: Content) -> Iterator[tuple[bytes, tuple[Extent, ...]]]:
        """(digest, extents) of each block: one for most files, several for listed ones."""
        if not content.listed:
            yield content.digest, content.extents
            return
        size = sum(extent_length(extent) for extent in content.extents)
        listing = b"".join(self._unchecked(extent) for extent in content.extents)
        if len(listing) != size:
            raise DamageError("an extent list is not the one that was recorded")
        yield from decode_list(listing)

    def pieces(self, extents: tuple[Extent, ...]) -> Iterator[Piece]:
        """The chunks of extents, from the frames' chunk lists alone: no content is read."""
        for extent in extents:
            if extent.run == HOLE_RUN:
                yield Piece(bytes(HASH_BYTES), extent)
                continue
            position, end = 0, extent.offset + extent.length
            covered = extent.offset
            for hash16, length in self.frames.chunks(extent.run, extent.n):
                if position >= extent.offset and position + length <= end:
                    yield Piece(hash16, Extent(extent.run, extent.n, position, length))
                    covered += length
                position += length
            if covered != end:
                raise DamageError("an extent does not begin and end with chunks of its frame")

    def find(self, root: Root, path: bytes) -> Entry | None:
        """The entry at a path; None for `/` itself. `NotFoundError` names what is missing."""
        entry: Entry | None = None
        content = root_content(root)
        done = b""
        for name in (part for part in path.split(b"/") if part):
            if entry is not None and entry.kind != tree.DIRECTORY:
                raise NotFoundError(f"{_shown(done)} is not a folder in this snapshot")
            done += b"/" + name
            entry = next((e for e in self.tree(content).entries if e.name == name), None)
            if entry is None:
                raise NotFoundError(
                    f"there is no {_shown(done)} in this snapshot. Next: kluis ls SNAPSHOT"
                )
            content = content_of(entry)
        return entry

    def _extent(
        self, extent: Extent, kind: int, records: bytearray
    ) -> Iterator[bytes | memoryview]:
        if extent.run == HOLE_RUN:
            left = extent_length(extent)
            records += record(bytes(HASH_BYTES), left)
            while left > 0:
                yield memoryview(_ZEROS)[: min(left, ZEROS_BYTES)]
                left -= ZEROS_BYTES
            return
        opened = self.frames.open(extent.run, extent.n)
        view = memoryview(opened.plain)
        place = opened.starts.get(extent.offset)
        position, end = extent.offset, extent.offset + extent.length
        key = self.keys.hash_key(kind)
        while place is not None and position < end and place < len(opened.chunks):
            hash16, length = opened.chunks[place]
            piece = view[position : position + length]
            if position + length > end or blake3(piece, key=key).digest(HASH_BYTES) != hash16:
                raise DamageError("a chunk is not the one that was recorded")
            records += record(hash16, length)
            position += length
            place += 1
        if position != end:
            raise DamageError("an extent does not begin and end with chunks of its frame")
        yield view[extent.offset : end]

    def _unchecked(self, extent: Extent) -> bytes:
        """Bytes of an extent list: its blocks' digests check it, through the file's digest."""
        opened = self.frames.open(extent.run, extent.n)
        return opened.plain[extent.offset : extent.offset + extent.length]


def content_of(entry: Entry) -> Content:
    """Where an entry's bytes are."""
    return Content(entry.size, entry.digest, entry.extents, bool(entry.flags & tree.LISTED))


def root_content(root: Root) -> Content:
    """Where the tree of `/` lies."""
    return Content(root.tree_bytes, root.tree_digest, root.tree, root.tree_listed)


def open_trees(repository: Repository, domain: bytes, index: Index | None = None) -> TreeReader:
    """A reader for the snapshots of one domain; `RefusedError` for keys that do not read."""
    storage, session, state = repository.storage, repository.session, repository.ledger.state
    known = index if index is not None else load_index(storage, session, state)
    return TreeReader(
        FrameReader(storage, session, state, known),
        chunk_keys(session.domain(domain).dedup()),
    )


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
