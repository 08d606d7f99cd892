"""docs/format.md says what the code does: vectors, names of keys, sizes and limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kluis.format import (
    certificate,
    codec,
    crypt,
    envelope,
    extent,
    frame,
    keyring,
    names,
    pack,
    parity,
    segment,
    snapshot,
    tree,
    tree_entry,
)
from kluis.format.ledger import EVENT_TYPES

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "format.md").read_text()
ENGINE = "\n".join(path.read_text() for path in sorted((ROOT / "engine").rglob("*.py")))

KEY, NONCE, TEXT = bytes(range(32)), bytes(range(32, 64)), b"kluis"
VERIFY, SIGNING = crypt.signing_key(KEY)


def row(start: str) -> str:
    """The last cell of the table row whose first cell begins so."""
    (found,) = re.findall(rf"^\| {re.escape(start)}.*\| (.+) \|$", DOCUMENT, re.MULTILINE)
    assert isinstance(found, str)
    return found.strip("`")


@pytest.mark.parametrize(
    ("start", "value"),
    [
        ("H(text)", crypt.digest(TEXT)),
        ("K(key, text)", crypt.keyed(KEY, TEXT)),
        ("derive(key", crypt.derive(KEY, "data chunks")),
        ("seal(key, 1", crypt.seal(KEY, 1, NONCE, TEXT, b"place")),
        ("seal(key, 2", crypt.seal(KEY, 2, NONCE, TEXT, b"place")),
        ("Ed25519 verify key", VERIFY),
        ("its signature", crypt.sign(SIGNING, envelope.SIGN_CONTEXT, b"message")),
        ("X25519 public key", crypt.box_key(KEY)[0]),
        ("Argon2id", crypt.passphrase_key(b"passphrase", KEY[:16], 1, 8 << 20)),
    ],
)
def test_the_vectors_are_those_of_the_code(start: str, value: bytes) -> None:
    assert row(start) == value.hex()


def test_the_example_name_is_that_of_the_code() -> None:
    assert row("b32(first 16") == names.base32(KEY[:16])


def test_every_purpose_that_the_engine_derives_a_key_for_is_specified() -> None:
    purposes = set(re.findall(r'derive\([^"]*?, "([a-z ]+)"\)', ENGINE))
    assert len(purposes) >= 14
    assert [purpose for purpose in sorted(purposes) if f"`{purpose}`" not in DOCUMENT] == []


def test_every_context_is_specified() -> None:
    seals = set(re.findall(r'b"(kluis [a-z ]+)\\0"', ENGINE))
    signatures = set(re.findall(r'_CONTEXT = b"(kluis [a-z]+)"', ENGINE))
    seals.remove("kluis client cache")  # of no repository: each client keeps its own
    assert len(seals) == 10
    assert len(signatures) == 4
    assert [name for name in sorted(seals) if f"`{name}\\0`" not in DOCUMENT] == []
    assert [name for name in sorted(signatures) if f"`{name}`" not in DOCUMENT] == []


def test_every_event_has_its_number() -> None:
    for number, event in enumerate(EVENT_TYPES, 1):
        assert re.search(rf"^\| {number} \| {event.__name__.lower()} \|", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            certificate.CERTIFICATE_BYTES,
            "{} bytes:\n\n| field | type | |\n| --- | --- | --- |\n| va",
        ),
        (certificate.BODY_BYTES, "H(the {} bytes before the signature)"),
        (keyring.WRAPPED_SECRET_BYTES, "list of bytes[{}], at most"),
        (keyring.SLOTS_LIMIT, "], at most {}: the owner's secret"),
        (keyring.PASSES_LIMIT, "u32, 1 to {} |"),
        (keyring.MEMORY_LIMIT_BYTES >> 20, "from 8 KiB to {} MiB"),
        (pack.ENTRY_BYTES, "of a frame, {} bytes"),
        (pack.HEADER_BYTES, "| header | {} | below |"),
        (pack.TRAILER_BYTES, "| trailer | {} | below |"),
        (pack.PACK_LIMIT_BYTES >> 20, "| pack | {} MiB"),
        (pack.DIRECTORY_LIMIT_BYTES // pack.ENTRY_BYTES, " MiB, {:,} frames"),
        (pack.CERTIFICATES_LIMIT, "frames, {} certificates"),
        (frame.CHUNK_ENTRY_BYTES, "length u32 ({} bytes"),
        (frame.FRAME_LIMIT_BYTES >> 20, "| frame, chunk | {} MiB"),
        (tree.HEADER_BYTES, "Header, {} bytes: `tree`"),
        (tree.RECORD_BYTES, "Record, {} bytes"),
        (tree.EXTENT_BYTES, "{} bytes: run id, n u32, offset u32"),
        (extent.INLINE_EXTENTS, "of more than {} extents is **listed**"),
        (extent.LIST_BLOCK_EXTENTS, "| extents | u32, 1 to {} |"),
        (tree_entry.EXTRAS_LIMIT_BYTES >> 20, "extras of an entry | 65,535 bytes, {} MiB"),
        (parity.BLOCK_BYTES, "| block | u32 | {} |"),
        (parity.MEMBERS_LIMIT, "| members | u16 | 1 to {} |"),
        (parity.SET_PACKS, "at most {} packs"),
        (codec.EXPANDED_LIMIT_BYTES >> 20, "| Z of ledger events, of facts | {} MiB"),
        (snapshot.FACTS_LIMIT_BYTES >> 20, "| Z of ledger events, of facts | {} MiB"),
        (snapshot.ROOT_LIMIT_BYTES >> 20, "| Z of a root | {} MiB"),
        (segment.INNER_LIMIT_BYTES >> 20, "| Z of a segment | {} MiB"),
        (envelope.OBJECT_LIMIT_BYTES >> 30, "| any object | {} GiB"),
    ],
)
def test_sizes_and_limits_are_those_of_the_code(value: int, sentence: str) -> None:
    assert sentence.format(value) in DOCUMENT


def test_the_signed_message_of_a_frame_has_the_size_that_is_specified() -> None:
    message = frame.signed_message((bytes(16), 0), (1, 0), (1, 1, 1), (bytes(32), bytes(32)))
    assert f"The signed message is {len(message)} bytes" in DOCUMENT
