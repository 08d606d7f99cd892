"""A parity shard: the XOR of the packs of one set, with a check for each 64 KiB block.

The checks tell which block of which pack is damaged, so that one damaged block in
each column is rebuilt; what is rebuilt is compared with the pack's own name.
"""

from __future__ import annotations

import struct

from kluis.errors import FormatError
from kluis.format import envelope
from kluis.format.crypt import DIGEST_BYTES, digest
from kluis.format.names import is_shelf
from kluis.format.names import pack as pack_name
from kluis.format.pack import PACK_LIMIT_BYTES
from kluis.frozen import frozen

BLOCK_BYTES = 64 << 10
SET_PACKS = 128
SET_BYTES = 512 << 20
CHECK_BYTES = 16
MEMBERS_LIMIT = 256

XOR = 1  # the one scheme so far: shard 0 of 1 is the XOR of the members, padded with zeros

_HEADER = struct.Struct("<8s16sIIHBBB3s")
_MEMBER = struct.Struct("<32sI1s3s")
HEADER_BYTES = _HEADER.size

assert HEADER_BYTES == 40
assert _MEMBER.size == 40


@frozen
class Member:
    """One pack of a set."""

    shelf: str
    digest: bytes
    size: int


@frozen
class Shard:
    """A parity file without its shard bytes, which begin at `data_offset`."""

    run: bytes
    k: int
    members: tuple[Member, ...]
    checks: tuple[bytes, ...]  # CHECK_BYTES for each block: of each member, then of the shard
    data_offset: int

    def data_bytes(self) -> int:
        """How long the shard is: as the longest member."""
        return max(member.size for member in self.members)

    def file_bytes(self) -> int:
        """How long the parity file is."""
        return self.data_offset + self.data_bytes()


def block_checks(data: bytes | memoryview | bytearray) -> bytes:
    """The 16-byte BLAKE3 of each 64 KiB block, back to back."""
    view = memoryview(data)
    return b"".join(
        digest(view[start : start + BLOCK_BYTES])[:CHECK_BYTES]
        for start in range(0, len(view), BLOCK_BYTES)
    )


def encode_shard_head(
    run: bytes, k: int, members: tuple[Member, ...], checks: list[bytes]
) -> bytes:
    """All of a parity file before its shard bytes; the last check belongs to the shard."""
    parts = [
        _HEADER.pack(
            envelope.header(envelope.PARITY),
            run,
            k,
            BLOCK_BYTES,
            len(members),
            1,  # shards of the set
            0,  # which of them this is
            XOR,
            bytes(3),
        )
    ]
    parts += [
        _MEMBER.pack(member.digest, member.size, member.shelf.encode("ascii"), bytes(3))
        for member in members
    ]
    parts += checks
    head = b"".join(parts)
    return head + digest(head)


def head_bytes(members: tuple[Member, ...]) -> int:
    """How long the head of a shard over these members is."""
    sizes = [member.size for member in members]
    blocks = sum(-(-size // BLOCK_BYTES) for size in [*sizes, max(sizes)])
    return HEADER_BYTES + _MEMBER.size * len(members) + CHECK_BYTES * blocks + DIGEST_BYTES


def decode_shard(data: bytes) -> Shard:
    """The shard's head, checked against its own digest; `data` may go on behind it."""
    envelope.check_header(data, envelope.PARITY, "parity shard")
    if len(data) < HEADER_BYTES:
        raise FormatError("not a valid parity shard: it ends early")
    _, run, k, block, count, *place, zero = _HEADER.unpack_from(data)
    table_end = HEADER_BYTES + _MEMBER.size * count
    if block != BLOCK_BYTES or not 0 < count <= MEMBERS_LIMIT:
        raise FormatError("not a valid parity shard: numbers that no kluis writes")
    if place != [1, 0, XOR] or any(zero):
        raise FormatError("not a valid parity shard: numbers that no kluis writes")
    if len(data) < table_end:
        raise FormatError("not a valid parity shard: it ends early")
    members = []
    for pack_digest, size, shelf, zero in _MEMBER.iter_unpack(data[HEADER_BYTES:table_end]):
        if size == 0 or size % BLOCK_BYTES or size > PACK_LIMIT_BYTES or any(zero):
            raise FormatError("not a valid parity shard: a member that is no pack")
        if not is_shelf(shelf.decode("latin-1")):
            raise FormatError("not a valid parity shard: a member that is no pack")
        members.append(Member(shelf.decode("ascii"), pack_digest, size))
    if len({member.digest for member in members}) != len(members):
        raise FormatError("not a valid parity shard: it names a pack twice")
    end = head_bytes(tuple(members))
    if len(data) < end or digest(data[: end - DIGEST_BYTES]) != data[end - DIGEST_BYTES : end]:
        raise FormatError("not a valid parity shard: its head is damaged")
    checks = []
    start = table_end
    for size in [*(m.size for m in members), max(m.size for m in members)]:
        length = CHECK_BYTES * (size // BLOCK_BYTES)
        checks.append(bytes(data[start : start + length]))
        start += length
    return Shard(run, k, tuple(members), tuple(checks), end)


def describe(member: Member) -> str:
    """The member's object name."""
    return pack_name(member.shelf, member.digest)
