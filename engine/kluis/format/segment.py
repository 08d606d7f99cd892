"""A segment: a run's signed list of packs and where their frames lie. Rebuilt from packs if lost.

Body: certificate | sealed under K_meta: zstd of the fields below.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from operator import sub

from kluis.errors import FormatError, NewerFormatError
from kluis.format import crypt, envelope
from kluis.format.certificate import CERTIFICATE_BYTES, run_of
from kluis.format.codec import (
    Reader,
    Writer,
    compress_small,
    expand_small,
    in_order,
    read_list,
    sorted_strictly,
    write_list,
)
from kluis.format.crypt import DIGEST_BYTES, OVERHEAD_LIMIT_BYTES, RUN_BYTES
from kluis.format.frame import FRAME_LIMIT_BYTES, KINDS, NUMBER_LIMIT, sizes_fit
from kluis.format.names import is_shelf
from kluis.format.pack import HEADER_BYTES, PACK_LIMIT_BYTES, PADDING_BYTES
from kluis.frozen import frozen

NO_DIGEST = bytes(DIGEST_BYTES)
# A pack takes some 100 bytes and 8 for each frame: half a million packs of one segment.
INNER_LIMIT_BYTES = 1 << 26


@frozen
class FrameGroup:
    """Frames first_n, first_n + 1, ... of one run and kind, back to back in a pack."""

    run: bytes
    first_n: int
    kind: int
    stored: bytes  # u32 little endian each: stored lengths, so that offsets are running sums
    plain: bytes  # u32 little endian each

    def lengths(self) -> tuple[int, ...]:
        return struct.unpack(f"<{len(self.stored) // 4}I", self.stored)

    def plain_lengths(self) -> tuple[int, ...]:
        return struct.unpack(f"<{len(self.plain) // 4}I", self.plain)


@frozen
class PackPlace:
    """One pack: its name, its size in bytes, and its frames from `frames_offset` on."""

    shelf: str
    digest: bytes
    size: int
    frames_offset: int
    groups: tuple[FrameGroup, ...]


@frozen
class ParitySet:
    """Packs that one shard protects; without a shard `parity_digest` is None."""

    parity_run: bytes
    parity_k: int
    parity_digest: bytes | None
    parity_bytes: int
    packs: tuple[PackPlace, ...]


@frozen
class Replaced:
    """A segment that a merged or rebuilt one stands for; its digest where it is known."""

    run: bytes
    k: int
    digest: bytes | None


@frozen
class Segment:
    """The k-th segment of the run that signs it."""

    certificate: bytes
    k: int
    client: bytes
    previous: bytes | None  # digest of the run's segment before it
    stands_for: tuple[Replaced, ...]
    sets: tuple[ParitySet, ...]

    def run(self) -> bytes:
        return run_of(self.certificate)


def _could_be_one(first: FrameGroup, second: FrameGroup) -> bool:
    """True if the second only goes on where the first ends."""
    next_n = first.first_n + len(first.stored) // 4
    return (first.run, next_n, first.kind) == (second.run, second.first_n, second.kind)


def _write_group(writer: Writer, group: FrameGroup) -> None:
    writer.raw(group.run, RUN_BYTES)
    writer.u32(group.first_n)
    writer.u8(group.kind)
    writer.blob(group.stored)
    writer.blob(group.plain)


def _read_group(reader: Reader) -> FrameGroup:
    group = FrameGroup(
        reader.raw(RUN_BYTES), reader.u32(), reader.u8(), reader.blob(), reader.blob()
    )
    frames = len(group.stored) // 4
    if group.kind not in KINDS or not frames or len(group.stored) % 4:
        raise reader.fail("a group of frames that no kluis writes")
    if len(group.plain) != len(group.stored) or group.first_n + frames - 1 > NUMBER_LIMIT:
        raise reader.fail("a group of frames that no kluis writes")
    if not _all_fit(group.lengths(), group.plain_lengths()):
        raise reader.fail("a frame of a size that none has")
    return group


def _all_fit(stored: tuple[int, ...], plain: tuple[int, ...]) -> bool:
    """What `sizes_fit` says of each, without a call for each."""
    if not sizes_fit(min(stored), FRAME_LIMIT_BYTES) or min(plain) == 0:
        return False
    return max(plain) <= FRAME_LIMIT_BYTES and max(map(sub, stored, plain)) <= OVERHEAD_LIMIT_BYTES


def _write_pack(writer: Writer, place: PackPlace) -> None:
    writer.raw(place.shelf.encode("ascii"), 1)
    writer.raw(place.digest, DIGEST_BYTES)
    writer.u32(place.size)
    writer.u32(place.frames_offset)
    write_list(writer, place.groups, _write_group)


def _read_pack(reader: Reader) -> PackPlace:
    shelf = reader.raw(1).decode("latin-1")
    if not is_shelf(shelf):
        raise reader.fail("a pack on a shelf that does not exist")
    place = PackPlace(
        shelf,
        reader.raw(DIGEST_BYTES),
        reader.u32(),
        reader.u32(),
        read_list(reader, RUN_BYTES + 13, _read_group),
    )
    if place.frames_offset + sum(sum(group.lengths()) for group in place.groups) > place.size:
        raise reader.fail("frames that lie outside their pack")
    if any(_could_be_one(a, b) for a, b in pairwise(place.groups)):
        raise reader.fail("two groups of frames that are one")
    if place.size % PADDING_BYTES or place.size > PACK_LIMIT_BYTES:
        raise reader.fail("a pack of a size that none has")
    if place.frames_offset < HEADER_BYTES + CERTIFICATE_BYTES:
        raise reader.fail("frames that begin inside the head of their pack")
    return place


def _write_set(writer: Writer, parity_set: ParitySet) -> None:
    """run, k, u8 shards; each shard: digest, size; then the packs."""
    writer.raw(parity_set.parity_run, RUN_BYTES)
    writer.u32(parity_set.parity_k)
    writer.u8(parity_set.parity_digest is not None)
    if parity_set.parity_digest is not None:
        writer.raw(parity_set.parity_digest, DIGEST_BYTES)
        writer.u32(parity_set.parity_bytes)
    write_list(writer, parity_set.packs, _write_pack)


def _read_set(reader: Reader) -> ParitySet:
    run, k, shards = reader.raw(RUN_BYTES), reader.u32(), reader.u8()
    if shards > 1:
        raise NewerFormatError(
            f"a segment has {shards} parity shards for a set; this kluis knows one. "
            "Nothing was changed. Install a newer kluis."
        )
    shard, size = (reader.raw(DIGEST_BYTES), reader.u32()) if shards else (None, 0)
    packs = read_list(reader, 45, _read_pack)
    if not packs:
        raise reader.fail("a set without packs")
    return ParitySet(run, k, shard, size, packs)


def _write_replaced(writer: Writer, replaced: Replaced) -> None:
    writer.raw(replaced.run, RUN_BYTES)
    writer.u32(replaced.k)
    writer.u8(replaced.digest is not None)
    writer.raw(replaced.digest or NO_DIGEST, DIGEST_BYTES)


def _read_replaced(reader: Reader) -> Replaced:
    run, k, known, name = reader.raw(RUN_BYTES), reader.u32(), reader.flag(), reader.raw(32)
    if not known and any(name):
        raise reader.fail("an unknown digest that is not zero")
    return Replaced(run, k, name if known else None)


def context(vault: bytes, run: bytes, k: int) -> bytes:
    """What the seal of a segment authenticates besides its bytes."""
    return b"kluis segment\0" + vault + run + k.to_bytes(4, "little")


def encode_inner(segment: Segment) -> bytes:
    """The part to be sealed under K_meta."""
    writer = Writer()
    writer.u32(segment.k)
    writer.raw(segment.client, RUN_BYTES)
    writer.u8(segment.previous is not None)
    writer.raw(segment.previous or NO_DIGEST, DIGEST_BYTES)
    stands_for = in_order(segment.stands_for, lambda item: (item.run, item.k))
    write_list(writer, stands_for, _write_replaced)
    write_list(writer, segment.sets, _write_set)
    return compress_small(writer.bytes(), INNER_LIMIT_BYTES)


def decode_inner(certificate: bytes, data: bytes) -> Segment:
    """The segment from its certificate and its opened part."""
    reader = Reader(expand_small(data, "segment", INNER_LIMIT_BYTES), "segment")
    k, client, known = reader.u32(), reader.raw(RUN_BYTES), reader.flag()
    previous = reader.raw(DIGEST_BYTES)
    stands_for = read_list(reader, RUN_BYTES + 37, _read_replaced)
    sets = read_list(reader, RUN_BYTES + 9, _read_set)
    reader.finish()
    if not known and any(previous):
        raise FormatError("not a valid segment: an unknown digest that is not zero")
    if not sorted_strictly(stands_for, lambda item: (item.run, item.k)):
        raise FormatError("not a valid segment: what it stands for is not in order")
    packs = [place.digest for parity_set in sets for place in parity_set.packs]
    if len(set(packs)) != len(packs):
        raise FormatError("not a valid segment: it lists a pack twice")
    return Segment(certificate, k, client, previous if known else None, stands_for, sets)


def wrap(certificate: bytes, sealed: bytes, signing: bytes) -> bytes:
    """The segment as stored; `signing` is the run's."""
    return envelope.wrap(envelope.SEGMENT, certificate + sealed, signing)


def unwrap(data: bytes, what: str) -> tuple[bytes, bytes]:
    """(certificate, sealed part); the run's signature is checked by the caller."""
    body = envelope.unwrap(envelope.SEGMENT, data, what)
    if len(body) < CERTIFICATE_BYTES:
        raise FormatError(f"{what} is damaged: it ends early")
    return body[:CERTIFICATE_BYTES], body[CERTIFICATE_BYTES:]


def meta_key(meta: bytes) -> bytes:
    """The key that seals segments, from K_meta."""
    return crypt.derive(meta, "segments")
