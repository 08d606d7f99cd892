"""The xor kernels change exactly the bytes that they should, whatever the alignment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import xor
from kluis._native.twins import xor as twin


@pytest.mark.parametrize("kernel", xor.kernels())
@given(st.binary(max_size=400), st.integers(0, 40), st.integers(0, 40), st.integers(0, 255))
def test_every_kernel_equals_the_twin(
    kernel: str, data: bytes, offset: int, rest: int, fill: int
) -> None:
    native = bytearray([fill]) * (offset + len(data) + rest)
    expected = bytearray(native)
    xor.xor_into(native, data, offset, kernel)
    twin.xor_into(expected, data, offset)
    assert native == expected


def test_the_portable_kernel_is_always_there() -> None:
    assert "portable" in xor.kernels()


def test_xor_twice_gives_back_the_start() -> None:
    start = bytes(range(256)) * 999
    accumulator = bytearray(start)
    data = bytes(reversed(start))
    xor.xor_into(accumulator, data)
    assert accumulator != start
    xor.xor_into(accumulator, data)
    assert accumulator == start


@pytest.mark.parametrize(("size", "data_size", "offset"), [(4, 5, 0), (4, 1, 4), (4, 1, -1)])
def test_data_that_does_not_fit_is_refused(size: int, data_size: int, offset: int) -> None:
    accumulator = bytearray(size)
    with pytest.raises(ValueError, match="do not fit"):
        xor.xor_into(accumulator, b"\xff" * data_size, offset)
    assert accumulator == bytes(size)


def test_overlap_with_the_data_is_refused() -> None:
    accumulator = bytearray(100)
    with pytest.raises(ValueError, match="memory"):
        xor.xor_into(accumulator, memoryview(accumulator)[10:20], 15)


def test_a_kernel_that_cannot_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="no xor kernel 'abacus'"):
        xor.xor_into(bytearray(1), b"x", 0, "abacus")


def test_a_read_only_accumulator_is_refused() -> None:
    with pytest.raises((BufferError, TypeError, ValueError)):
        xor.xor_into(b"fixed", b"x")
