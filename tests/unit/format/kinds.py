"""Every stored kind as one table: a sample, how it is written, how it is read back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from kluis.errors import FormatError
from kluis.format import (
    certificate,
    codec,
    domain,
    envelope,
    frame,
    keyring,
    ledger,
    pack,
    parity,
    segment,
    snapshot,
    store,
    tree,
    usemap,
)
from tests.unit.format import samples

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """How values of one kind become bytes and come back."""

    name: str
    sample: Any
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    signed: bool = False  # the bytes prove themselves: a signature or a digest covers them all
    compressed: bool = False  # one zstd frame around the fields


def write_frames(frames: usemap.FrameSet) -> bytes:
    writer = codec.Writer()
    usemap.write_frames(writer, frames)
    return writer.bytes()


def read_frames(data: bytes) -> usemap.FrameSet:
    reader = codec.Reader(data, "frame set")
    frames = usemap.read_frames(reader)
    reader.finish()
    return frames


def open_segment(data: bytes) -> tuple[bytes, bytes]:
    encoded, sealed = segment.unwrap(data, "segment")
    envelope.check_signature(data, certificate.decode(encoded).verify_key, "segment")
    return encoded, sealed


def open_snapshot(data: bytes) -> tuple[bytes, bytes, bytes]:
    encoded, facts, root = snapshot.unwrap(data, "snapshot")
    envelope.check_signature(data, certificate.decode(encoded).verify_key, "snapshot")
    return encoded, facts, root


def encode_shard(shard: parity.Shard) -> bytes:
    return parity.encode_shard_head(shard.run, shard.k, shard.members, list(shard.checks))


def decode_shard(data: bytes) -> parity.Shard:
    shard = parity.decode_shard(data)
    if len(data) != shard.data_offset:
        raise FormatError("a parity file goes on behind its shard")
    return shard


def encode_trailer(trailer: pack.Trailer) -> bytes:
    return pack.encode_tail(trailer.lists_offset, trailer.lists_bytes, trailer.directory_bytes)


def decode_trailer(data: bytes) -> pack.Trailer:
    """The trailer of a pack of which only the tail is at hand."""
    trailer = codec.Reader(data[-pack.TRAILER_BYTES :], "trailer")
    lists, lists_bytes, directory, directory_bytes = (trailer.u32() for _ in range(4))
    end = directory + directory_bytes
    found = pack.decode_trailer(data[-pack.TRAILER_BYTES :], end + len(data))
    assert found == pack.Trailer(lists, lists_bytes, directory, directory_bytes)
    pack.check_padding(data[: -pack.TRAILER_BYTES])
    return found


SHARD = parity.Shard(
    samples.RUN,
    2,
    samples.MEMBERS,
    tuple(samples.CHECKS),
    parity.head_bytes(samples.MEMBERS),
)
TRAILER = pack.Trailer(70_000, 255, 70_255, 500)

KINDS = (
    Kind(
        "certificate",
        samples.CERTIFICATE,
        lambda value: certificate.encode(value, samples.OWNER_SIGNING),
        certificate.decode,
        signed=True,
    ),
    Kind(
        "keyring",
        samples.KEYRING,
        lambda value: keyring.encode(value, samples.OWNER_SIGNING),
        lambda data: keyring.decode(data, "keyring"),
        signed=True,
    ),
    Kind("keyring private", samples.PRIVATE, keyring.encode_private, keyring.decode_private),
    Kind(
        "domain",
        samples.DOMAIN_OBJECT,
        lambda value: domain.encode(value, samples.OWNER_SIGNING),
        lambda data: domain.decode(data, "domain"),
        signed=True,
    ),
    Kind(
        "store",
        samples.STORE_OBJECT,
        lambda value: store.encode(value, samples.OWNER_SIGNING),
        lambda data: store.decode(data, "store"),
        signed=True,
    ),
    Kind(
        "ledger record",
        samples.RECORD,
        lambda value: ledger.encode(value, samples.OWNER_SIGNING),
        lambda data: ledger.decode(data, "ledger record"),
        signed=True,
    ),
    Kind(
        "ledger events",
        samples.EVENTS,
        ledger.encode_events,
        ledger.decode_events,
        compressed=True,
    ),
    Kind(
        "ledger checkpoint",
        (samples.CHECKPOINT,),
        ledger.encode_events,
        ledger.decode_events,
        compressed=True,
    ),
    Kind(
        "segment",
        (samples.ENCODED_CERTIFICATE, samples.pattern("sealed segment", 99)),
        lambda value: segment.wrap(value[0], value[1], samples.RUN_SIGNING),
        open_segment,
        signed=True,
    ),
    Kind(
        "segment inner",
        samples.SEGMENT,
        segment.encode_inner,
        lambda data: segment.decode_inner(samples.ENCODED_CERTIFICATE, data),
        compressed=True,
    ),
    Kind(
        "snapshot",
        (
            samples.ENCODED_CERTIFICATE,
            samples.pattern("sealed facts", 99),
            samples.pattern("sealed root", 101),
        ),
        lambda value: snapshot.wrap(value[0], value[1], value[2], samples.RUN_SIGNING),
        open_snapshot,
        signed=True,
    ),
    Kind(
        "snapshot facts",
        samples.FACTS,
        snapshot.encode_facts,
        snapshot.decode_facts,
        compressed=True,
    ),
    Kind(
        "snapshot root", samples.ROOT, snapshot.encode_root, snapshot.decode_root, compressed=True
    ),
    Kind("pack head", samples.HEAD, pack.encode_head, pack.decode_head),
    Kind(
        "pack directory",
        samples.ENTRIES,
        lambda value: pack.encode_directory(value, (samples.ENCODED_CERTIFICATE,)),
        lambda data: pack.decode_directory(data, (samples.ENCODED_CERTIFICATE,)),
    ),
    Kind("pack trailer", TRAILER, encode_trailer, decode_trailer),
    Kind("parity head", SHARD, encode_shard, decode_shard, signed=True),
    Kind(
        "chunk list",
        samples.CHUNKS,
        frame.encode_chunks,
        lambda data: frame.decode_chunks(data, 1000),
    ),
    Kind("tree", samples.TREE, tree.encode, tree.decode),
    Kind(
        "extent list",
        samples.EXTENT_LIST,
        tree.encode_list,
        lambda data: list(tree.decode_list(data)),
    ),
    Kind("frame set", samples.FRAMES, write_frames, read_frames),
)
BY_NAME = {kind.name: kind for kind in KINDS}
SIGNED = tuple(kind for kind in KINDS if kind.signed)


def fields_of(kind: Kind) -> bytes:
    """The sample's encoded fields, without compression, whose bytes a library may choose."""
    data = kind.encode(kind.sample)
    return codec.expand_small(data, kind.name) if kind.compressed else data


def decode_fields(kind: Kind, fields: bytes) -> Any:
    """The value of fields that may be damaged inside an intact compressed part."""
    return kind.decode(codec.compress_small(fields) if kind.compressed else fields)


def replace(value: T, **changes: Any) -> T:
    """The value with some fields changed; what is not a dataclass fails."""
    return cast(T, dataclasses.replace(cast(Any, value), **changes))
