"""The cryptography of the format: which primitive, which key, which context. Pure functions.

Randomness is always handed in, so that tests and golden repositories can repeat it.
"""

from __future__ import annotations

from functools import lru_cache

import nacl.bindings as sodium
import nacl.exceptions
from blake3 import blake3

from kluis.errors import FormatError

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


def seal(key: bytes, algorithm: int, nonce: bytes, plain: bytes, context: bytes) -> bytes:
    """algorithm | nonce | ciphertext and tag; `context` is authenticated, not stored.

    Of `nonce` the first `NONCE_BYTES` are used. The algorithm is authenticated as well.
    """
    nonce = nonce[: NONCE_BYTES[algorithm]]
    context += bytes((algorithm,))
    if algorithm == AEGIS256:
        sealed = sodium.crypto_aead_aegis256_encrypt(plain, context, nonce, key)
    else:
        sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, nonce, key)
    return b"".join((bytes((algorithm,)), nonce, sealed))


def unseal(key: bytes, sealed: bytes | memoryview, context: bytes, what: str) -> bytes:
    """What `seal` was given, or `FormatError` if a single bit or the context differs."""
    algorithm = sealed[0] if len(sealed) else 0
    if algorithm not in NONCE_BYTES or len(sealed) < overhead(algorithm):
        raise FormatError(f"{what} is damaged: it does not begin as a sealed part does")
    end = 1 + NONCE_BYTES[algorithm]
    nonce = bytes(sealed[1:end])
    body = bytes(sealed[end:])
    context += bytes((algorithm,))
    try:
        if algorithm == AEGIS256:
            return sodium.crypto_aead_aegis256_decrypt(body, context, nonce, key)
        return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(body, context, nonce, key)
    except (nacl.exceptions.CryptoError, ValueError):
        raise FormatError(f"{what} is damaged or was sealed with another key") from None


def overhead(algorithm: int) -> int:
    """Bytes that `seal` adds."""
    return 1 + NONCE_BYTES[algorithm] + TAG_BYTES[algorithm]


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
