"""A pack: header | certificates | frames | chunk lists | directory | padding | trailer.

The first certificate is that of the run that wrote the pack, even if no frame is its own
(a mover's). Frames lie back to back in the order of the directory, so offsets are running sums;
so do their chunk lists.
The file's name is its BLAKE3, so anyone can check it without a key.
"""

from __future__ import annotations

import struct

from kluis.errors import FormatError
from kluis.format import crypt, envelope
from kluis.format.certificate import CERTIFICATE_BYTES, run_of
from kluis.format.frame import (
    CHUNK_ENTRY_BYTES,
    CHUNKS_LIMIT,
    KINDS,
    NUMBER_LIMIT,
    PLAIN,
    ZSTD,
    FrameEntry,
    sizes_fit,
)
from kluis.frozen import frozen

PACK_TARGET_BYTES = 8 << 20
# A run's first packs are smaller, and grow with what it has stored: the shard over them is as
# long as the longest, and shall be no more than such a share of the run.
PACK_LEAST_BYTES = 2 << 20
PACKS_TO_A_SHARD = 8
PADDING_BYTES = 64 << 10
PACK_LIMIT_BYTES = 1 << 28
CERTIFICATES_LIMIT = 4096
SEAL_BYTES = tuple(map(crypt.overhead, crypt.NONCE_BYTES))
LIST_LIMIT_BYTES = CHUNKS_LIMIT * CHUNK_ENTRY_BYTES + crypt.OVERHEAD_LIMIT_BYTES

_HEADER = struct.Struct("<8s32s16sIHH")
HEADER_BYTES = _HEADER.size
_TRAILER = struct.Struct("<IIII40s8s")
TRAILER_BYTES = _TRAILER.size
_TRAILER_MAGIC = b"KLUISEND"
_ENTRY = struct.Struct("<HHIBBHIII32s32s64s")
ENTRY_BYTES = _ENTRY.size
# A pack of the smallest frames holds no more than this many.
DIRECTORY_LIMIT_BYTES = ENTRY_BYTES << 16

assert HEADER_BYTES == 64
assert TRAILER_BYTES == 64
assert ENTRY_BYTES == 152


def target_bytes(stored_bytes: int) -> int:
    """How long the next pack of a run is to be that has stored so many bytes."""
    return min(PACK_TARGET_BYTES, max(PACK_LEAST_BYTES, stored_bytes // PACKS_TO_A_SHARD))


@frozen
class PackHead:
    """The clear beginning of a pack."""

    vault: bytes
    domain: bytes
    domain_epoch: int
    certificates: tuple[bytes, ...]

    def frames_offset(self) -> int:
        return HEADER_BYTES + CERTIFICATE_BYTES * len(self.certificates)


@frozen
class Trailer:
    """Where the parts of a pack lie: byte offsets and lengths in the file."""

    lists_offset: int
    lists_bytes: int
    directory_offset: int
    directory_bytes: int


def encode_head(head: PackHead) -> bytes:
    """The header and the certificates of all runs that have frames in the pack."""
    fixed = _HEADER.pack(
        envelope.header(envelope.PACK),
        head.vault,
        head.domain,
        head.domain_epoch,
        len(head.certificates),
        0,
    )
    return fixed + b"".join(head.certificates)


def head_bytes(data: bytes) -> int:
    """How many bytes of a pack its head takes, from its first `HEADER_BYTES`."""
    envelope.check_header(data, envelope.PACK, "pack")
    if len(data) < HEADER_BYTES:
        raise FormatError("not a valid pack: it ends early")
    count = _HEADER.unpack_from(data)[4]
    if not 0 < count <= CERTIFICATES_LIMIT:
        raise FormatError("not a valid pack: wrong number of certificates")
    return HEADER_BYTES + CERTIFICATE_BYTES * int(count)


def decode_head(data: bytes) -> PackHead:
    """The head of a pack from at least its first `head_bytes` bytes."""
    size = head_bytes(data)
    if len(data) < size:
        raise FormatError("not a valid pack: it ends early")
    _, vault, domain, epoch, _, zero = _HEADER.unpack_from(data)
    if zero:
        raise FormatError("not a valid pack: reserved bytes are not zero")
    certificates = tuple(
        bytes(data[start : start + CERTIFICATE_BYTES])
        for start in range(HEADER_BYTES, size, CERTIFICATE_BYTES)
    )
    if len({run_of(certificate) for certificate in certificates}) != len(certificates):
        raise FormatError("not a valid pack: two certificates of one run")
    return PackHead(vault, domain, epoch, certificates)


def directory_context(vault: bytes, domain: bytes) -> bytes:
    """What the seal of a directory authenticates besides its bytes."""
    return b"kluis directory\0" + vault + domain


def encode_directory(entries: list[FrameEntry], certificates: tuple[bytes, ...]) -> bytes:
    """The plain directory; each entry names its run by the place of its certificate."""
    places = {run_of(certificate): i for i, certificate in enumerate(certificates)}
    return b"".join(
        _ENTRY.pack(
            places[entry.run],
            0,
            entry.n,
            entry.kind,
            entry.compression,
            0,
            entry.stored_bytes,
            entry.plain_bytes,
            entry.list_bytes,
            entry.digest,
            entry.list_digest,
            entry.signature,
        )
        for entry in entries
    )


def decode_directory(data: bytes, certificates: tuple[bytes, ...]) -> list[FrameEntry]:
    """The entries of an opened directory; their signatures are not yet checked."""
    if len(data) % ENTRY_BYTES:
        raise FormatError("not a valid pack directory: wrong length")
    if not data or len(data) > DIRECTORY_LIMIT_BYTES:
        raise FormatError("not a valid pack directory: no frames, or too many")
    runs = [run_of(certificate) for certificate in certificates]
    entries = []
    for place, zero, n, kind, compression, zero2, *rest in _ENTRY.iter_unpack(data):
        if place >= len(runs) or zero or zero2 or kind not in KINDS:
            raise FormatError("not a valid pack directory: an entry that no kluis writes")
        if compression not in (PLAIN, ZSTD):
            raise FormatError("not a valid pack directory: unknown compression")
        entry = FrameEntry(runs[place], n, kind, compression, *rest)
        if not sizes_fit(entry.stored_bytes, entry.plain_bytes) or n > NUMBER_LIMIT:
            raise FormatError("not a valid pack directory: a frame of a size that none has")
        if compression == PLAIN and entry.stored_bytes - entry.plain_bytes not in SEAL_BYTES:
            raise FormatError("not a valid pack directory: a frame that is longer than it is")
        if not 0 < entry.list_bytes <= LIST_LIMIT_BYTES:
            raise FormatError("not a valid pack directory: a chunk list of a size that none has")
        entries.append(entry)
    if len({(entry.run, entry.n) for entry in entries}) != len(entries):
        raise FormatError("not a valid pack directory: it names a frame twice")
    return entries


def check_padding(padding: bytes) -> None:
    """Raises unless what lies between directory and trailer says nothing."""
    if len(padding) >= PADDING_BYTES or padding.count(0) != len(padding):
        raise FormatError("not a valid pack: its padding is not zeros")


def check_layout(head: PackHead, trailer: Trailer, entries: list[FrameEntry]) -> None:
    """Raises unless frames and chunk lists fill just the room between head and directory."""
    stored = sum(entry.stored_bytes for entry in entries)
    lists = sum(entry.list_bytes for entry in entries)
    if head.frames_offset() + stored != trailer.lists_offset or lists != trailer.lists_bytes:
        raise FormatError("not a valid pack: its frames do not fill the room between its parts")


def encode_tail(body_bytes: int, lists_bytes: int, directory_bytes: int) -> bytes:
    """Padding and trailer after head, frames (`body_bytes` in all), lists and directory."""
    end = body_bytes + lists_bytes + directory_bytes
    padding = -(end + TRAILER_BYTES) % PADDING_BYTES
    trailer = _TRAILER.pack(
        body_bytes,
        lists_bytes,
        body_bytes + lists_bytes,
        directory_bytes,
        bytes(40),
        _TRAILER_MAGIC,
    )
    return bytes(padding) + trailer


def decode_trailer(data: bytes, pack_bytes: int) -> Trailer:
    """The trailer from the last `TRAILER_BYTES` of a pack of `pack_bytes`."""
    if len(data) != TRAILER_BYTES or pack_bytes % PADDING_BYTES or pack_bytes > PACK_LIMIT_BYTES:
        raise FormatError("not a valid pack: wrong length")
    *numbers, zero, magic = _TRAILER.unpack(data)
    trailer = Trailer(*numbers)
    if magic != _TRAILER_MAGIC or any(zero):
        raise FormatError("not a valid pack: its trailer is damaged")
    end = trailer.directory_offset + trailer.directory_bytes
    if trailer.lists_offset + trailer.lists_bytes != trailer.directory_offset:
        raise FormatError("not a valid pack: its parts do not meet")
    if trailer.lists_offset < HEADER_BYTES + CERTIFICATE_BYTES:
        raise FormatError("not a valid pack: its frames begin inside its head")
    if pack_bytes - end - TRAILER_BYTES >= PADDING_BYTES:
        raise FormatError("not a valid pack: its parts do not fill it")
    if end + TRAILER_BYTES > pack_bytes:
        raise FormatError("not a valid pack: its parts lie outside it")
    return trailer


def seal_directory(key: bytes, algorithm: int, nonce: bytes, plain: bytes, place: bytes) -> bytes:
    """The stored directory; `key` is K_meta's for directories, `place` `directory_context`."""
    return crypt.seal(key, algorithm, nonce, plain, place)
