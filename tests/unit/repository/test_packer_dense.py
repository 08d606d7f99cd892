"""What looked incompressible is stored as it is, unless the frame shrinks after all."""

from __future__ import annotations

import os

import pytest

from kluis._native.fill import Chunks
from kluis.format import frame
from kluis.repository import packer
from kluis.repository.packer import DENSE, QUICK, PlainFrame

KIB = 1 << 10
TEXT = b"what is written here is written again and again\n"


def compressed(plain: bytes, level: int) -> int:
    payload, compression = packer._compress(PlainFrame(0, frame.DATA, plain, Chunks(), level))
    assert frame.expand_frame(bytes(payload), compression, len(plain)) == plain
    return compression


@pytest.mark.parametrize("size", [1, 100 * KIB, 128 * KIB, 512 * KIB])
def test_noise_is_stored_as_it_is(size: int) -> None:
    assert compressed(os.urandom(size), DENSE) == frame.PLAIN


@pytest.mark.parametrize("at", [0, 165 * KIB, 496 * KIB])
def test_a_frame_with_one_sample_that_shrinks_is_compressed(at: int) -> None:
    plain = bytearray(os.urandom(512 * KIB))
    part = (TEXT * 1000)[: 40 * KIB]
    plain[at : at + len(part)] = part[: len(plain) - at]
    assert compressed(bytes(plain[: 512 * KIB]), DENSE) == compressed(bytes(plain), QUICK)


def test_a_short_frame_is_compressed_whole() -> None:
    """Its samples would be most of it."""
    plain = os.urandom(40 * KIB) + (TEXT * 1000)[: 20 * KIB]
    assert compressed(plain, DENSE) == frame.ZSTD
