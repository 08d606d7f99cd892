"""The cryptography of the format: which primitive, which key, which context. Pure functions.

Randomness is always handed in, so that tests and golden repositories can repeat it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import nacl.bindings as sodium
import nacl.exceptions
from blake3 import blake3
from nacl._sodium import ffi, lib  # decision 11: frames without PyNaCl's copies

from kluis.errors import FormatError

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEY_BYTES = 32
DIGEST_BYTES = 32
RUN_BYTES = 16
SIGNATURE_BYTES = 64
SEALED_KEY_BYTES = 80  # an X25519 sealed box around one key

AEGIS256 = 1
XCHACHA20 = 2
NONCE_BYTES = {AEGIS256: 32, XCHACHA20: 24}
TAG_BYTES = {AEGIS256: 32, XCHACHA20: 16}
NONCE_LIMIT_BYTES = 32
OVERHEAD_LIMIT_BYTES = 1 + 32 + 32
_SEAL = {
    AEGIS256: lib.crypto_aead_aegis256_encrypt,
    XCHACHA20: lib.crypto_aead_xchacha20poly1305_ietf_encrypt,
}
_UNSEAL = {
    AEGIS256: lib.crypto_aead_aegis256_decrypt,
    XCHACHA20: lib.crypto_aead_xchacha20poly1305_ietf_decrypt,
}


def digest(data: bytes | memoryview | bytearray) -> bytes:
    """32-byte BLAKE3, without a key: names of packs, digests in chains."""
    return blake3(data).digest()


def hasher() -> blake3:
    """The same digest, for bytes that come in parts."""
    return blake3()


def keyed(key: bytes, data: bytes | memoryview | bytearray) -> bytes:
    """32-byte BLAKE3 under a key: of chunks, of contents."""
    return blake3(data, key=key).digest()


@lru_cache(maxsize=256)
def derive(key: bytes, purpose: str) -> bytes:
    """The subkey of `key` for one purpose (BLAKE3 key derivation)."""
    return blake3(key, derive_key_context=f"kluis 2026 v1 {purpose}").digest()


def seal(key: bytes, algorithm: int, nonce: bytes, plain: Buffer, context: bytes) -> bytes:
    """algorithm | nonce | ciphertext and tag; `context` is authenticated, not stored.

    Of `nonce` the first `NONCE_BYTES` are used. The algorithm is authenticated as well.
    """
    return bytes(seal_large(key, algorithm, nonce, plain, context))


def seal_large(
    key: bytes, algorithm: int, nonce: bytes, plain: Buffer, context: bytes
) -> bytearray:
    """What `seal` makes, without a copy."""
    count = NONCE_BYTES[algorithm]
    if len(key) != KEY_BYTES or len(nonce) < count:
        raise ValueError("a key has 32 bytes, a nonce not less than its algorithm takes")
    view = memoryview(plain)
    sealed = bytearray(overhead(algorithm) + view.nbytes)
    sealed[0] = algorithm
    sealed[1 : 1 + count] = nonce[:count]
    context += bytes((algorithm,))
    with memoryview(sealed)[1 + count :] as body:
        failed = _SEAL[algorithm](
            ffi.from_buffer(body),
            ffi.NULL,
            ffi.from_buffer(view),
            view.nbytes,
            context,
            len(context),
            ffi.NULL,
            nonce,
            key,
        )
    if failed:
        raise ValueError("more than the cipher can seal")
    return sealed


def unseal(key: bytes, sealed: Buffer, context: bytes, what: str) -> bytes:
    """What `seal` was given, or `FormatError` if a single bit or the context differs."""
    return bytes(unseal_large(key, sealed, context, what))


def unseal_large(key: bytes, sealed: Buffer, context: bytes, what: str) -> bytearray:
    """What `unseal` gives, without a copy."""
    plain = bytearray(max(0, memoryview(sealed).nbytes - LEAST_OVERHEAD_BYTES))
    with unseal_into(plain, key, sealed, context, what) as filled:
        size = len(filled)
    del plain[size:]
    return plain


def unseal_into(
    room: bytearray, key: bytes, sealed: Buffer, context: bytes, what: str
) -> memoryview:
    """What `unseal` gives, in the first bytes of `room`, which grows if it has to."""
    view = memoryview(sealed)
    algorithm = view[0] if len(view) else 0
    if algorithm not in NONCE_BYTES or len(view) < overhead(algorithm):
        raise FormatError(f"{what} is damaged: it does not begin as a sealed part does")
    if len(key) != KEY_BYTES:
        raise ValueError("a key has 32 bytes")
    end, size = 1 + NONCE_BYTES[algorithm], len(view) - overhead(algorithm)
    if len(room) < size:
        room.extend(bytes(size - len(room)))
    context += bytes((algorithm,))
    plain, body = memoryview(room)[:size], view[end:]
    failed = _UNSEAL[algorithm](
        ffi.from_buffer(plain),
        ffi.NULL,
        ffi.NULL,
        ffi.from_buffer(body),
        len(body),
        context,
        len(context),
        bytes(view[1:end]),
        key,
    )
    if failed:
        raise FormatError(f"{what} is damaged or was sealed with another key")
    return plain


def overhead(algorithm: int) -> int:
    """Bytes that `seal` adds."""
    return 1 + NONCE_BYTES[algorithm] + TAG_BYTES[algorithm]


LEAST_OVERHEAD_BYTES = min(map(overhead, NONCE_BYTES))


def signing_key(seed: bytes) -> tuple[bytes, bytes]:
    """(verify key, signing key) of Ed25519 from a 32-byte seed."""
    return sodium.crypto_sign_seed_keypair(seed)


def box_key(seed: bytes) -> tuple[bytes, bytes]:
    """(public key, secret key) of X25519 from a 32-byte seed."""
    return sodium.crypto_box_seed_keypair(seed)


def box_public(secret: bytes) -> bytes:
    """The public half of an X25519 secret key."""
    return sodium.crypto_scalarmult_base(secret)


def sign(signing: bytes, context: bytes, message: bytes) -> bytes:
    """64-byte Ed25519 signature; `context` keeps kinds of message apart."""
    signed = sodium.crypto_sign(context + b"\0" + message, signing)
    return signed[:SIGNATURE_BYTES]


def signed_by(verify: bytes, context: bytes, message: bytes, signature: bytes) -> bool:
    """True if `signature` was made by the holder of `verify` for just this message."""
    try:
        sodium.crypto_sign_open(signature + context + b"\0" + message, verify)
    except (nacl.exceptions.CryptoError, ValueError):
        return False
    return True


def seal_to(public: bytes, plain: bytes) -> bytes:
    """A sealed box: only the holder of the secret half opens it; the sender is not named."""
    return sodium.crypto_box_seal(plain, public)


def open_box(public: bytes, secret: bytes, box: bytes, what: str) -> bytes:
    """What `seal_to` was given, or `FormatError`."""
    try:
        return sodium.crypto_box_seal_open(box, public, secret)
    except (nacl.exceptions.CryptoError, ValueError):
        raise FormatError(f"{what} is damaged or was sealed for another key") from None


def passphrase_key(passphrase: bytes, salt: bytes, passes: int, memory_bytes: int) -> bytes:
    """Argon2id of a passphrase: 32 bytes that wrap the owner's secret."""
    return sodium.crypto_pwhash_alg(
        KEY_BYTES, passphrase, salt, passes, memory_bytes, sodium.crypto_pwhash_ALG_ARGON2ID13
    )
