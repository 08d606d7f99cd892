"""Sealing through PyNaCl's own binding gives and opens what its public calls do."""

from __future__ import annotations

import os
from collections.abc import Callable

import nacl.bindings as sodium
import pytest

from kluis.errors import FormatError
from kluis.format import crypt

KEY, NONCE, CONTEXT = bytes(range(32)), bytes(range(100, 132)), b"kluis test\0"
PUBLIC: dict[int, Callable[[bytes, bytes | None, bytes, bytes], bytes]] = {
    crypt.AEGIS256: sodium.crypto_aead_aegis256_encrypt,
    crypt.XCHACHA20: sodium.crypto_aead_xchacha20poly1305_ietf_encrypt,
}
algorithms = pytest.mark.parametrize("algorithm", sorted(PUBLIC))


@algorithms
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 5000, 1 << 20])
def test_the_bytes_are_those_of_the_public_calls(algorithm: int, size: int) -> None:
    plain = os.urandom(size)
    nonce = NONCE[: crypt.NONCE_BYTES[algorithm]]
    expected = PUBLIC[algorithm](plain, CONTEXT + bytes((algorithm,)), nonce, KEY)
    for given in (plain, bytearray(plain), memoryview(b"x" + plain)[1:]):
        sealed = crypt.seal_large(KEY, algorithm, NONCE, given, CONTEXT)
        assert sealed == bytes((algorithm,)) + nonce + expected
        assert crypt.unseal(KEY, memoryview(sealed), CONTEXT, "it") == plain


@algorithms
def test_room_that_is_used_again_grows_and_keeps_nothing_of_before(algorithm: int) -> None:
    room = bytearray(b"before")
    for size in (3, 100, 7, 0):
        plain = os.urandom(size)
        sealed = crypt.seal(KEY, algorithm, NONCE, plain, CONTEXT)
        with crypt.unseal_into(room, KEY, sealed, CONTEXT, "it") as opened:
            assert opened == plain
    assert len(room) == 100


@algorithms
def test_no_flipped_bit_opens(algorithm: int) -> None:
    sealed = bytearray(crypt.seal(KEY, algorithm, NONCE, b"what is sealed", CONTEXT))
    for bit in range(8 * len(sealed)):
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match="it is damaged"):
            crypt.unseal_large(KEY, sealed, CONTEXT, "it")
        sealed[bit // 8] ^= 1 << bit % 8
    for length in range(len(sealed)):
        with pytest.raises(FormatError, match="it is damaged"):
            crypt.unseal_large(KEY, sealed[:length], CONTEXT, "it")


@algorithms
def test_keys_and_nonces_of_a_wrong_length_are_refused(algorithm: int) -> None:
    sealed = crypt.seal(KEY, algorithm, NONCE, b"text", CONTEXT)
    for key in (b"", KEY[:-1], KEY + b"x"):
        with pytest.raises(ValueError, match="32 bytes"):
            crypt.seal_large(key, algorithm, NONCE, b"text", CONTEXT)
        with pytest.raises(ValueError, match="32 bytes"):
            crypt.unseal_large(key, sealed, CONTEXT, "it")
    with pytest.raises(ValueError, match="a nonce"):
        crypt.seal_large(KEY, algorithm, NONCE[:20], b"text", CONTEXT)
