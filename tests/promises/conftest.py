"""What every promise's tests share: a source that counts as old, and randomness from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import nacl.bindings as sodium
import pytest

from kluis.format import crypt
from kluis.operations.archiving import basis

FAR_AHEAD_NS = -3600 * 1_000_000_000


@pytest.fixture(autouse=True, scope="module")
def an_old_source() -> Iterator[None]:
    """A file written a moment ago counts as unchanged, as it would a minute later.

    Without it every run would read every file again, and no cache would ever be believed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basis, "RACY_NS", FAR_AHEAD_NS)
        yield


@pytest.fixture(autouse=True, scope="module")
def repeatable() -> Iterator[None]:
    """Sealed boxes depend on what is sealed alone, so names of runs are the same on every run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crypt, "seal_to", sealed_box)
        yield


def sealed_box(public: bytes, plain: bytes) -> bytes:
    """What libsodium's sealed box would be, were its random key the hash of what it seals."""
    own_public, own_secret = sodium.crypto_box_seed_keypair(hashlib.sha256(public + plain).digest())
    nonce = hashlib.blake2b(own_public + public, digest_size=24).digest()
    return own_public + sodium.crypto_box(plain, nonce, public, own_secret)
