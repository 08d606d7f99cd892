"""A frame: about 2 MiB of chunks, compressed at once, sealed as one message, numbered (run, n)."""

from __future__ import annotations

import struct

from kluis.errors import FormatError
from kluis.format import crypt
from kluis.format.codec import expand
from kluis.format.crypt import LEAST_OVERHEAD_BYTES, OVERHEAD_LIMIT_BYTES
from kluis.frozen import frozen

DATA = 1
TREE = 2
KINDS = (DATA, TREE)

PLAIN = 0
ZSTD = 1

HASH_BYTES = 16
CHUNK_ENTRY = struct.Struct("<16sI")  # hash16, length
CHUNK_ENTRY_BYTES = CHUNK_ENTRY.size
# A frame never expands beyond this: a chunk is at most 8 MiB and frames close at 2 MiB or less.
FRAME_LIMIT_BYTES = 1 << 24
CHUNKS_LIMIT = 1 << 20
# The largest n: one past it still fits where ranges of frames are kept.
NUMBER_LIMIT = (1 << 32) - 2

SIGN_CONTEXT = b"kluis frame"
_SIGNED = struct.Struct("<16sIBBHIII32s32s")
_CONTEXT = struct.Struct("<32s16sIBB")


@frozen
class FrameEntry:
    """What a pack's directory says of one frame; signed by the run, moves with the frame."""

    run: bytes
    n: int
    kind: int
    compression: int
    stored_bytes: int
    plain_bytes: int
    list_bytes: int
    digest: bytes
    list_digest: bytes
    signature: bytes

    def message(self) -> bytes:
        """The bytes that the run signs."""
        return signed_message(
            (self.run, self.n),
            (self.kind, self.compression),
            (self.stored_bytes, self.plain_bytes, self.list_bytes),
            (self.digest, self.list_digest),
        )


def signed_message(
    number: tuple[bytes, int],
    sort: tuple[int, int],
    lengths: tuple[int, int, int],
    digests: tuple[bytes, bytes],
) -> bytes:
    """run, n, kind, compression, zero, stored, plain and list bytes, both digests."""
    return _SIGNED.pack(*number, *sort, 0, *lengths, *digests)


def context(vault: bytes, number: tuple[bytes, int], sort: tuple[int, int]) -> bytes:
    """What a frame's seal authenticates besides its bytes: it fits no other place."""
    return b"kluis frame\0" + _CONTEXT.pack(vault, *number, *sort)


def list_context(vault: bytes, number: tuple[bytes, int]) -> bytes:
    """The same for a frame's sealed chunk list."""
    return b"kluis chunks\0" + _CONTEXT.pack(vault, *number, 0, 0)


def expand_frame(
    payload: bytes | bytearray | memoryview, compression: int, plain_bytes: int
) -> bytes:
    """The chunks of an opened frame, back to back: exactly `plain_bytes`."""
    if not 0 < plain_bytes <= FRAME_LIMIT_BYTES:
        raise FormatError(f"a frame claims {plain_bytes} bytes, which none holds")
    if compression == PLAIN:
        plain = bytes(payload)
    elif compression == ZSTD:
        plain = expand(payload, plain_bytes, "frame")
    else:
        raise FormatError(f"a frame is compressed in an unknown way ({compression})")
    if len(plain) != plain_bytes:
        raise FormatError(f"a frame holds {len(plain)} bytes, its entry says {plain_bytes}")
    return plain


def sizes_fit(stored_bytes: int, plain_bytes: int) -> bool:
    """True if a frame may have these lengths: compression that gains nothing is not kept."""
    if not 0 < plain_bytes <= FRAME_LIMIT_BYTES:
        return False
    return LEAST_OVERHEAD_BYTES < stored_bytes <= plain_bytes + OVERHEAD_LIMIT_BYTES


def encode_chunks(chunks: list[tuple[bytes, int]]) -> bytes:
    """A chunk list: (hash16, length) of each chunk in its frame, in order."""
    return b"".join(CHUNK_ENTRY.pack(hash16, length) for hash16, length in chunks)


def decode_chunks(data: bytes, plain_bytes: int) -> list[tuple[bytes, int]]:
    """The chunks of a list; their lengths are positive and fill the frame."""
    count, odd = divmod(len(data), CHUNK_ENTRY_BYTES)
    if odd or not 0 < count <= CHUNKS_LIMIT:
        raise FormatError("a chunk list has a length that no chunk list has")
    chunks = list(CHUNK_ENTRY.iter_unpack(data))
    if any(length == 0 for _, length in chunks):
        raise FormatError("a chunk list names an empty chunk")
    if sum(length for _, length in chunks) != plain_bytes:
        raise FormatError("a chunk list does not fill its frame")
    return chunks


def seal_frame(key: bytes, algorithm: int, nonce: bytes, payload: bytes, place: bytes) -> bytes:
    """The stored bytes of a frame; `place` is from `context`."""
    return crypt.seal(key, algorithm, nonce, payload, place)
