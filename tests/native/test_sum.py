"""A frame's chunks are told from others by their sums, as the twin has it."""

from __future__ import annotations

import random
import struct
from array import array
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import sum as native
from kluis._native.twins import sum as twin

both = pytest.mark.parametrize("module", [native, twin], ids=["native", "twin"])
LENGTHS = (1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000)


def bounds_of(chunks: list[bytes]) -> array[int]:
    ends, at = array("I"), 0
    for chunk in chunks:
        at += len(chunk)
        ends.append(at)
    return ends


def listed(chunks: list[bytes]) -> bytearray:
    """A chunk list; the hashes are any."""
    return bytearray(
        b"".join(struct.pack("<QQI", n, n << 40, len(chunk)) for n, chunk in enumerate(chunks))
    )


def bound_sums(chunks: list[bytes]) -> bytearray:
    single = native.each(b"".join(chunks), bounds_of(chunks))
    entries = listed(chunks)
    return bytearray(
        b"".join(
            twin.bound(single[8 * n : 8 * n + 8], bytes(entries[20 * n : 20 * n + 16]))
            for n in range(len(chunks))
        )
    )


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(0, 63))
def test_sums_are_those_of_the_twin_at_any_address(chunks: list[bytes], offset: int) -> None:
    data = memoryview(bytes(offset) + b"".join(chunks))[offset:]
    ends = bounds_of(chunks)
    assert native.each(data, ends) == twin.each(data, ends)
    assert len(native.each(data, ends)) == native.SUM_BYTES * len(chunks)


@both
def test_a_frame_is_as_it_was_summed(module: ModuleType) -> None:
    chance = random.Random(5)
    chunks = [chance.randbytes(length) for length in LENGTHS]
    assert module.wrong(b"".join(chunks), listed(chunks), bound_sums(chunks)) is None
    assert module.wrong(b"", b"", b"") is None


@both
@pytest.mark.parametrize("part", ["data", "hash", "sums"])
def test_any_bit_that_flips_is_found(module: ModuleType, part: str) -> None:
    chance = random.Random(6)
    chunks = [chance.randbytes(length) for length in LENGTHS[:6]]
    data, entries, sums = bytearray(b"".join(chunks)), listed(chunks), bound_sums(chunks)
    for number in range(len(chunks)):
        start = sum(map(len, chunks[:number]))
        memory, first, count = {
            "data": (data, start, len(chunks[number])),
            "hash": (entries, 20 * number, 16),
            "sums": (sums, 8 * number, 8),
        }[part]
        for bit in range(8 * first, 8 * (first + count)):
            memory[bit // 8] ^= 1 << bit % 8
            assert module.wrong(data, entries, sums) == number, bit
            memory[bit // 8] ^= 1 << bit % 8


@both
def test_chunks_that_change_places_are_found(module: ModuleType) -> None:
    chunks = [b"a" * 64, b"b" * 64]
    entries, sums = listed(chunks), bound_sums(chunks)
    assert module.wrong(b"b" * 64 + b"a" * 64, entries, sums) == 0
    zeros = [bytes(64), bytes(128)]  # nor are zeros told apart by anything but their number
    assert module.each(bytes(192), bounds_of(zeros))[:8] != bound_sums(zeros)[8:]


@both
def test_what_does_not_fit_together_is_refused(module: ModuleType) -> None:
    chunks = [b"abc", b"defg"]
    data, entries, sums = b"".join(chunks), listed(chunks), bound_sums(chunks)
    for other in (data[:-1], data + b"x", b""):
        with pytest.raises(ValueError, match="does not fill"):
            module.wrong(other, entries, sums)
    for fewer, summed in ((entries[:-1], sums), (entries, sums[:-8]), (entries[:0], sums)):
        with pytest.raises(ValueError, match="as many"):
            module.wrong(data, fewer, summed)
    for ends in ([3, 3], [0, 3], [4, 3], [8]):
        with pytest.raises(ValueError, match="ascend"):
            module.each(data, array("I", ends))
    with pytest.raises(ValueError, match="four bytes"):
        module.each(data, b"\1\0\0")
