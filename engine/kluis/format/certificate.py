"""Run certificate: who writes under which name, with a key that only the domain opens."""

from __future__ import annotations

from kluis.errors import FormatError
from kluis.format.codec import Reader, Writer
from kluis.format.crypt import (
    DIGEST_BYTES,
    KEY_BYTES,
    RUN_BYTES,
    SEALED_KEY_BYTES,
    SIGNATURE_BYTES,
    digest,
    sign,
    signed_by,
)
from kluis.frozen import frozen

BODY_BYTES = 32 + 16 + 16 + 4 + SEALED_KEY_BYTES + 32 + 8 + 32 + 32
CERTIFICATE_BYTES = BODY_BYTES + SIGNATURE_BYTES
SIGN_CONTEXT = b"kluis certificate"


@frozen
class Certificate:
    """Names a run: its id is the first 16 bytes of BLAKE3 over the body.

    `head` and `head_digest` are those of the store's ledger when the run began.
    """

    vault: bytes
    store: bytes
    domain: bytes
    domain_epoch: int
    sealed_run_key: bytes
    verify_key: bytes
    head: int
    head_digest: bytes
    maker: bytes

    def body(self) -> bytes:
        writer = Writer()
        writer.raw(self.vault, DIGEST_BYTES)
        writer.raw(self.store, RUN_BYTES)
        writer.raw(self.domain, RUN_BYTES)
        writer.u32(self.domain_epoch)
        writer.raw(self.sealed_run_key, SEALED_KEY_BYTES)
        writer.raw(self.verify_key, KEY_BYTES)
        writer.u64(self.head)
        writer.raw(self.head_digest, DIGEST_BYTES)
        writer.raw(self.maker, KEY_BYTES)
        return writer.bytes()


def run_of(certificate: bytes) -> bytes:
    """The run's name, from its encoded certificate."""
    return digest(certificate[:BODY_BYTES])[:RUN_BYTES]


def encode(certificate: Certificate, signing: bytes) -> bytes:
    """The certificate as stored, signed by its maker: always `CERTIFICATE_BYTES`."""
    body = certificate.body()
    return body + sign(signing, SIGN_CONTEXT, body)


def decode(data: bytes) -> Certificate:
    """The certificate, its maker's signature checked (not whether the maker may make one)."""
    if len(data) != CERTIFICATE_BYTES:
        raise FormatError("not a valid run certificate: wrong length")
    reader = Reader(data, "run certificate")
    certificate = Certificate(
        vault=reader.raw(DIGEST_BYTES),
        store=reader.raw(RUN_BYTES),
        domain=reader.raw(RUN_BYTES),
        domain_epoch=reader.u32(),
        sealed_run_key=reader.raw(SEALED_KEY_BYTES),
        verify_key=reader.raw(KEY_BYTES),
        head=reader.u64(),
        head_digest=reader.raw(DIGEST_BYTES),
        maker=reader.raw(KEY_BYTES),
    )
    if not signed_by(certificate.maker, SIGN_CONTEXT, data[:BODY_BYTES], data[BODY_BYTES:]):
        raise FormatError("not a valid run certificate: its signature does not fit")
    if certificate.domain_epoch == 0:
        raise FormatError("not a valid run certificate: epochs are counted from 1")
    return certificate
