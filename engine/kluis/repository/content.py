"""From chunks to what a tree records of a file: its extents and its digest, and back."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field

from blake3 import blake3

from kluis._native.fill import HOLE
from kluis._native.parts import CHUNK_BYTES, MERGED_FORMAT, merge
from kluis.errors import FormatError
from kluis.format import crypt
from kluis.format.frame import DATA, HASH_BYTES
from kluis.format.tree import (
    LIST_BLOCK_EXTENTS,
    NO_DIGEST,
    Extent,
    encode_list,
    hole,
)
from kluis.frozen import frozen

_MERGED = struct.Struct(MERGED_FORMAT)
_RECORD = struct.Struct("<16sQ")
_NO_HASH = bytes(HASH_BYTES)
_CUT_TABLE_BYTES = 2048
_STEADY_BITS = 10


@frozen
class ChunkKeys:
    """What a domain's K_dedup gives: hash keys, digest keys, the cut table."""

    data: bytes = field(repr=False)
    tree: bytes = field(repr=False)
    digests: bytes = field(repr=False)
    lists: bytes = field(repr=False)
    cut_table: bytes = field(repr=False)

    def hash_key(self, kind: int) -> bytes:
        """The key that hashes chunks of this kind of frame."""
        return self.data if kind == DATA else self.tree


def chunk_keys(dedup: bytes) -> ChunkKeys:
    """The keys that follow from a domain's K_dedup."""
    return ChunkKeys(
        crypt.derive(dedup, "data chunks"),
        crypt.derive(dedup, "tree chunks"),
        crypt.derive(dedup, "content digests"),
        crypt.derive(dedup, "list digests"),
        cut_table(crypt.derive(dedup, "cut table")),
    )


def cut_table(key: bytes) -> bytes:
    """256 64-bit numbers for the chunker: the first table that marks no constant run.

    The hash of a long run of byte b settles at -table[b]; were its top bits zero, every
    run of b would be cut at the minimum.
    """
    for counter in range(1 << 16):
        seed = blake3(counter.to_bytes(4, "little"), key=key)
        table: bytes = seed.digest(length=_CUT_TABLE_BYTES)
        steady = [-value % (1 << 64) for value in struct.unpack("<256Q", table)]
        if all(value >> (64 - _STEADY_BITS) for value in steady):
            return table
    raise AssertionError("one table in five is good: this cannot be reached")


@frozen
class Content:
    """A stream as stored: where its bytes are, and what they must hash to."""

    size: int
    digest: bytes
    extents: tuple[Extent, ...]
    listed: bool = False


EMPTY = Content(0, NO_DIGEST, ())

StoreList = Callable[[bytes], tuple[Extent, ...]]


class ContentBuilder:
    """Gathers the chunks of one stream, in order. `frames` are the numbers that it uses."""

    __slots__ = (
        "_blocks",
        "_extents",
        "_hole",
        "_keys",
        "_records",
        "_runs",
        "_size",
        "_store_list",
        "frames",
    )

    def __init__(self, keys: ChunkKeys, runs: Sequence[bytes], store_list: StoreList) -> None:
        self._keys = keys
        self._runs = runs  # what the places' numbers mean
        self._store_list = store_list
        self._size = 0
        self._hole = 0
        self._records = bytearray()  # of the block that is being gathered
        self._extents: list[Extent] = []
        self._blocks: list[tuple[bytes, tuple[Extent, ...]]] = []
        self.frames: set[tuple[bytes, int]] = set()

    def add(self, places: bytes) -> None:
        """More chunks, as `RunWriter.store` tells their places."""
        merged, chunks = merge(places)
        start = 0
        for run, n, offset, length, count in _MERGED.iter_unpack(merged):
            end = start + count * CHUNK_BYTES
            if run == HOLE:
                self.hole(length)
            else:
                self._extent(self._runs[run], n, offset, length)
                self._records += chunks[start:end]
                self._size += length
            start = end

    def _extent(self, run: bytes, n: int, offset: int, length: int) -> None:
        """One more stretch, which may go on from the last one."""
        if self._hole:
            self._close_hole()
        if self._extents:
            last_run, last_n, begin, size = self._extents[-1]
            if begin + size == offset and last_n == n and last_run == run:
                self._extents[-1] = Extent(run, n, begin, size + length)
                return
        self._append(Extent(run, n, offset, length))
        self.frames.add((run, n))

    def hole(self, length: int) -> None:
        """`length` zero bytes that are stored nowhere; neighbours become one."""
        self._hole += length
        self._size += length

    def finish(self) -> Content:
        """The whole stream."""
        if self._hole:
            self._close_hole()
        if not self._blocks:
            digest = stream_digest(self._keys, self._records)
            return Content(self._size, digest, tuple(self._extents))
        self._close_block()
        digest = list_digest(self._keys, [block for block, _ in self._blocks])
        extents = self._store_list(encode_list(self._blocks))
        self.frames.update((extent.run, extent.n) for extent in extents)
        return Content(self._size, digest, extents, listed=True)

    def _close_hole(self) -> None:
        length, self._hole = self._hole, 0
        self._append(hole(length))
        self._records += _RECORD.pack(_NO_HASH, length)

    def _append(self, extent: Extent) -> None:
        if len(self._extents) == LIST_BLOCK_EXTENTS:
            self._close_block()
        self._extents.append(extent)

    def _close_block(self) -> None:
        self._blocks.append((stream_digest(self._keys, self._records), tuple(self._extents)))
        self._extents = []
        self._records = bytearray()


def record(hash16: bytes, length: int) -> bytes:
    """What a digest takes in of one chunk; of a hole with 16 zero bytes for the hash."""
    return _RECORD.pack(hash16, length)


def check_chunks(plain: bytes, chunks: Iterable[tuple[bytes, int]], key: bytes) -> None:
    """Raises unless these chunks (hash16, length) are what lies back to back in a frame."""
    view, position = memoryview(plain), 0
    for hash16, length in chunks:
        end = position + length
        if blake3(view[position:end], key=key).digest(HASH_BYTES) != hash16:
            raise FormatError("a chunk is not what its list says")
        position = end


def stream_digest(keys: ChunkKeys, records: bytes | bytearray) -> bytes:
    """The digest over the records of a stream or of one block of a long one."""
    if not records:
        return NO_DIGEST
    if len(records) == _RECORD.size and any(records[:HASH_BYTES]):
        return bytes(records[:HASH_BYTES]) + bytes(len(NO_DIGEST) - HASH_BYTES)
    return blake3(records, key=keys.digests).digest()


def list_digest(keys: ChunkKeys, blocks: list[bytes]) -> bytes:
    """The digest of a long stream, over those of its blocks."""
    return blake3(b"".join(blocks), key=keys.lists).digest()
