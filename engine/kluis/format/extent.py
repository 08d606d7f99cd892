"""Extents: where the bytes of a stream lie. Inline in trees, or in a list of their own."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kluis.errors import FormatError
from kluis.format.codec import Reader, Writer
from kluis.format.crypt import RUN_BYTES
from kluis.format.frame import FRAME_LIMIT_BYTES, NUMBER_LIMIT

# Files with more extents than this keep them in a list of their own.
INLINE_EXTENTS = 1024
LIST_BLOCK_EXTENTS = 1024

_EXTENT = struct.Struct("<16sIII")
EXTENT_BYTES = _EXTENT.size
_BLOCK = struct.Struct("<II32s")

assert EXTENT_BYTES == 28
assert _BLOCK.size == 40

HOLE_RUN = bytes(RUN_BYTES)


class Extent(NamedTuple):
    """A stretch of a frame's plain bytes; of run zero: that many zero bytes, stored nowhere."""

    run: bytes
    n: int
    offset: int
    length: int


def hole(length: int) -> Extent:
    """An extent of `length` zero bytes (64 bits, kept in offset and length)."""
    return Extent(HOLE_RUN, 0, length >> 32, length & 0xFFFFFFFF)


def extent_length(extent: Extent) -> int:
    """How many bytes of the file the extent covers."""
    if extent.run == HOLE_RUN:
        return extent.offset << 32 | extent.length
    return extent.length


def pack_extent(extent: Extent) -> bytes:
    """The extent's 28 bytes."""
    return _EXTENT.pack(extent.run, extent.n, extent.offset, extent.length)


def unpack_extents(data: bytes) -> Iterator[Extent]:
    """Extents that lie back to back, each checked."""
    return (checked_extent(*fields) for fields in _EXTENT.iter_unpack(data))


def frames_of(extents: bytes) -> set[tuple[bytes, int]]:
    """The frames (run, n) that encoded extents name."""
    return {(run, n) for run, n, _, _ in _EXTENT.iter_unpack(extents) if run != HOLE_RUN}


def write_extent(writer: Writer, extent: Extent) -> None:
    """Writes the extent as one field."""
    writer.raw(pack_extent(extent), EXTENT_BYTES)


def read_extent(reader: Reader) -> Extent:
    """What `write_extent` wrote, checked."""
    return checked_extent(*_EXTENT.unpack(reader.raw(EXTENT_BYTES)))


def checked_extent(run: bytes, n: int, offset: int, length: int) -> Extent:
    """The extent, if it is one that kluis writes."""
    if run == HOLE_RUN:
        if n or not (offset or length):
            raise FormatError("not a valid extent: it covers nothing")
    elif not length or offset + length > FRAME_LIMIT_BYTES or n > NUMBER_LIMIT:
        raise FormatError("not a valid extent: it ends beyond any frame")
    return Extent(run, n, offset, length)


def encode_list(blocks: list[tuple[bytes, tuple[Extent, ...]]]) -> bytes:
    """An extent list: for each block the digest of its chunks and its extents."""
    parts = []
    for block_digest, extents in blocks:
        parts.append(_BLOCK.pack(len(extents), 0, block_digest))
        parts += [pack_extent(extent) for extent in extents]
    return b"".join(parts)


def decode_list(data: bytes) -> Iterator[tuple[bytes, tuple[Extent, ...]]]:
    """The blocks of an extent list, one at a time."""
    return read_list_pieces((data,))


def read_list_pieces(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, tuple[Extent, ...]]]:
    """The blocks of an extent list that comes in pieces; holds one piece and one block."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        while (end := _block_end(kept)) <= len(kept):
            _, _, block_digest = _BLOCK.unpack_from(kept)
            yield block_digest, tuple(unpack_extents(bytes(kept[_BLOCK.size : end])))
            del kept[:end]
    if kept:
        raise FormatError("not a valid extent list: it ends early")


def _block_end(data: bytearray) -> int:
    """How long the block at the start is, as far as `data` tells."""
    if len(data) < _BLOCK.size:
        return _BLOCK.size
    count, zero, _ = _BLOCK.unpack_from(data)
    if zero or not 0 < count <= LIST_BLOCK_EXTENTS:
        raise FormatError("not a valid extent list: a block that no kluis writes")
    return _BLOCK.size + int(count) * EXTENT_BYTES
