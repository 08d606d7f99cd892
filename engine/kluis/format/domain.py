"""A domain's secrets, wrapped for each key that needs them.

Apart from the keyring, so that they can be destroyed.
"""

from __future__ import annotations

from kluis.errors import FormatError
from kluis.format import envelope
from kluis.format.codec import Reader, Writer, in_order, read_list, sorted_strictly, write_list
from kluis.format.crypt import (
    AEGIS256,
    DIGEST_BYTES,
    KEY_BYTES,
    RUN_BYTES,
    SEALED_KEY_BYTES,
    XCHACHA20,
    digest,
)
from kluis.frozen import frozen

SECRET = 1  # the X25519 secret half: reads content
META = 2  # K_meta: directories, segments, facts of snapshots
DEDUP = 4  # K_dedup: chunk hashes, cut table, chunk lists
PARTS = (SECRET, META, DEDUP)


@frozen
class DomainSecrets:
    """Those secrets of a domain that a key was given."""

    secret: bytes | None
    meta: bytes | None
    dedup: bytes | None


@frozen
class DomainBox:
    """Some of the secrets, sealed for the holder of one X25519 key."""

    box_key: bytes
    parts: int
    sealed: bytes


@frozen
class Domain:
    """One epoch of a domain."""

    vault: bytes
    domain: bytes
    epoch: int
    public_key: bytes
    algorithm: int
    owner_verify: bytes
    boxes: tuple[DomainBox, ...]
    name: bytes  # sealed under K_vault


def id_of(public_key: bytes) -> bytes:
    """The id of the domain whose first epoch has this public key."""
    return digest(public_key)[:RUN_BYTES]


def pack_secrets(secrets: DomainSecrets) -> tuple[int, bytes]:
    """(parts mask, secrets back to back) to be sealed for one key."""
    values = (secrets.secret, secrets.meta, secrets.dedup)
    mask = sum(part for part, value in zip(PARTS, values, strict=True) if value is not None)
    return mask, b"".join(value for value in values if value is not None)


def unpack_secrets(parts: int, data: bytes) -> DomainSecrets:
    """What `pack_secrets` was given."""
    reader = Reader(data, "domain")
    values = [reader.raw(KEY_BYTES) if parts & part else None for part in PARTS]
    reader.finish()
    return DomainSecrets(*values)


def _write_box(writer: Writer, box: DomainBox) -> None:
    writer.raw(box.box_key, KEY_BYTES)
    writer.u8(box.parts)
    writer.blob(box.sealed)


def _read_box(reader: Reader) -> DomainBox:
    box = DomainBox(reader.raw(KEY_BYTES), reader.u8(), reader.blob())
    if not 0 < box.parts <= SECRET | META | DEDUP:
        raise reader.fail("secrets of an unknown kind")
    if len(box.sealed) != SEALED_KEY_BYTES + KEY_BYTES * (box.parts.bit_count() - 1):
        raise reader.fail("a box that does not hold what it says")
    return box


def encode(domain: Domain, signing: bytes) -> bytes:
    """The domain as stored; `signing` is the owner's."""
    writer = Writer()
    writer.raw(domain.vault, DIGEST_BYTES)
    writer.raw(domain.domain, RUN_BYTES)
    writer.u32(domain.epoch)
    writer.raw(domain.public_key, KEY_BYTES)
    writer.u8(domain.algorithm)
    writer.raw(domain.owner_verify, KEY_BYTES)
    write_list(writer, in_order(domain.boxes, lambda box: box.box_key), _write_box)
    writer.blob(domain.name)
    return envelope.wrap(envelope.DOMAIN, writer.bytes(), signing)


def decode(data: bytes, what: str) -> Domain:
    """The domain, its signature checked against the owner's key inside it.

    The caller compares `vault` with the vault that he means.
    """
    reader = Reader(envelope.unwrap(envelope.DOMAIN, data, what), what)
    domain = Domain(
        vault=reader.raw(DIGEST_BYTES),
        domain=reader.raw(RUN_BYTES),
        epoch=reader.u32(),
        public_key=reader.raw(KEY_BYTES),
        algorithm=reader.u8(),
        owner_verify=reader.raw(KEY_BYTES),
        boxes=read_list(reader, KEY_BYTES + 5, _read_box),
        name=reader.blob(),
    )
    reader.finish()
    envelope.check_signature(data, domain.owner_verify, what)
    if digest(domain.owner_verify) != domain.vault:
        raise FormatError(f"{what} is damaged: not a domain of its own vault")
    if domain.algorithm not in (AEGIS256, XCHACHA20) or domain.epoch == 0:
        raise FormatError(f"{what} is damaged: numbers that no kluis writes")
    if domain.epoch == 1 and id_of(domain.public_key) != domain.domain:
        raise FormatError(f"{what} is damaged: its id is not that of its first key")
    if not sorted_strictly(domain.boxes, lambda box: box.box_key):
        raise FormatError(f"{what} is damaged: its keys are out of order")
    return domain


def name_context(vault: bytes, domain: bytes, epoch: int) -> bytes:
    """What the seal of the name authenticates besides its bytes."""
    return b"kluis domain\0" + vault + domain + epoch.to_bytes(4, "little")
