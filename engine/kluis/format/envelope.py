"""What every small object has around it: kind, version, length, body, signature."""

from __future__ import annotations

from kluis.errors import FormatError, NewerFormatError
from kluis.format.crypt import SIGNATURE_BYTES, sign, signed_by

MAGIC = b"KLUIS"
VERSION = 1
HEADER_BYTES = 8
OVERHEAD_BYTES = HEADER_BYTES + 4 + SIGNATURE_BYTES
OBJECT_LIMIT_BYTES = 1 << 31

PACK = b"P"
PARITY = b"X"
SEGMENT = b"I"
SNAPSHOT = b"S"
RECORD = b"L"
KEYRING = b"K"
DOMAIN = b"D"
STORE = b"M"

SIGN_CONTEXT = b"kluis object"


def header(kind: bytes) -> bytes:
    """The first 8 bytes of every object: magic, kind, version and its complement.

    The complement keeps a flipped bit from passing for a newer version.
    """
    return MAGIC + kind + bytes((VERSION, VERSION ^ 0xFF))


def check_header(data: bytes | memoryview, kind: bytes, what: str) -> None:
    """Raises unless `data` begins as an object of this kind and a known version does."""
    start = bytes(data[:HEADER_BYTES])
    if len(start) < HEADER_BYTES or start[:6] != MAGIC + kind:
        raise FormatError(f"{what} is damaged or not a kluis object of this kind")
    version = start[6]
    if version == 0 or version ^ start[7] != 0xFF:
        raise FormatError(f"{what} is damaged: its version is none")
    if version > VERSION:
        raise NewerFormatError(
            f"{what} was written in format version {version}; this kluis knows up to {VERSION}. "
            "Nothing was changed. Install a newer kluis."
        )


def wrap(kind: bytes, body: bytes, signing: bytes) -> bytes:
    """header | length u32 | body | signature over all before it."""
    if len(body) + OVERHEAD_BYTES > OBJECT_LIMIT_BYTES:
        raise ValueError(f"an object of {len(body)} bytes, at most {OBJECT_LIMIT_BYTES} are read")
    message = header(kind) + len(body).to_bytes(4, "little") + body
    return message + sign(signing, SIGN_CONTEXT, message)


def unwrap(kind: bytes, data: bytes, what: str) -> bytes:
    """The body; its signature is not yet checked, since the key is found inside it."""
    check_header(data, kind, what)
    if len(data) < OVERHEAD_BYTES:
        raise FormatError(f"{what} is damaged: it ends early")
    length = int.from_bytes(data[HEADER_BYTES : HEADER_BYTES + 4], "little")
    if length + OVERHEAD_BYTES != len(data) or len(data) > OBJECT_LIMIT_BYTES:
        raise FormatError(f"{what} is damaged: its length is not what it says")
    return data[HEADER_BYTES + 4 : HEADER_BYTES + 4 + length]


def check_signature(data: bytes, verify: bytes, what: str) -> None:
    """Raises unless the object was signed by the holder of `verify`."""
    message, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    if not signed_by(verify, SIGN_CONTEXT, message, signature):
        raise FormatError(f"{what} is damaged or forged: its signature does not fit")
