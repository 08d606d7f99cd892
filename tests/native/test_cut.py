"""Cut points depend on content and parameters alone, and are frozen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kluis._native import cut
from kluis._native.twins import cut as twin

GOLDEN = Path(__file__).parents[1] / "golden" / "cut_points.json"
TABLE = hashlib.shake_256(b"golden cut table").digest(2048)
SMALL = (64, 128, 300)

sizes = st.tuples(st.integers(64, 100), st.sampled_from([128, 256]), st.integers(256, 700))
# Few different bytes and few different blocks, so that runs, repeats and forced cuts are common.
contents = st.lists(
    st.one_of(
        st.binary(max_size=700),
        st.integers(0, 800).map(bytes),
        st.builds(
            lambda seed, size: hashlib.shake_256(seed).digest(size),
            st.binary(max_size=1),
            st.integers(0, 2000),
        ),
    ),
    max_size=4,
).map(b"".join)


def golden_data() -> bytes:
    """1.4 MB: random, text that repeats, zeros, the same random bytes again at an odd distance."""
    noise = hashlib.shake_256(b"golden cut data").digest(500_000)
    text = b"".join(b"%d lines of much the same\n" % (n % 97) for n in range(8_000))
    return noise + text + bytes(200_001) + noise


@pytest.mark.parametrize("kernel", cut.kernels())
@pytest.mark.parametrize("entry", json.loads(GOLDEN.read_text()), ids=lambda e: str(e["sizes"]))
def test_cut_points_never_change(kernel: str, entry: dict[str, list[int]]) -> None:
    minimum, average, maximum = entry["sizes"]
    cutter = cut.Cutter(TABLE, minimum, average, maximum, kernel)
    assert cutter.cut(golden_data(), True) == entry["ends"]


@pytest.mark.parametrize("kernel", cut.kernels())
@given(contents, sizes, st.binary(min_size=1, max_size=8))
@example(b"", SMALL, b"\0").via("an empty stream has no chunk")
@example(bytes(1000), (128, 128, 256), b"\0").via("minimum equal to average")
@example(bytes(1024), (256, 256, 256), b"\0").via("fixed size")
def test_every_kernel_equals_the_twin(
    kernel: str, data: bytes, size: tuple[int, int, int], seed: bytes
) -> None:
    table = hashlib.shake_256(seed).digest(2048)
    native = cut.Cutter(table, *size, kernel)
    oracle = twin.Cutter(table, *size)
    assert native.cut(data, True) == oracle.cut(data, True)
    assert native.cut(data, False) == oracle.cut(data, False)


@pytest.mark.parametrize("kernel", cut.kernels())
@given(contents, sizes, st.lists(st.integers(1, 1500), min_size=1, max_size=20))
def test_buffer_boundaries_change_nothing(
    kernel: str, data: bytes, size: tuple[int, int, int], steps: list[int]
) -> None:
    cutter = cut.Cutter(TABLE, *size, kernel)
    whole = cutter.cut(data, True)
    ends: list[int] = []
    start = stop = 0
    for step in steps:
        stop = min(stop + step, len(data))
        ends += [start + end for end in cutter.cut(data[start:stop], False)]
        start = ends[-1] if ends else 0
    ends += [start + end for end in cutter.cut(data[start:], True)]
    assert ends == whole


@given(contents, sizes)
def test_lengths_stay_within_their_bounds(data: bytes, size: tuple[int, int, int]) -> None:
    minimum, _, maximum = size
    ends = cut.Cutter(TABLE, *size).cut(data, True)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert sum(lengths) == len(data)
    assert all(minimum <= length <= maximum for length in lengths[:-1])
    assert all(1 <= length <= maximum for length in lengths[-1:])


def test_more_ends_than_one_inner_call_returns() -> None:
    data = hashlib.shake_256(b"many").digest(300_000)
    ends = cut.Cutter(TABLE, *SMALL).cut(data, True)
    assert len(ends) > 512
    assert ends == twin.Cutter(TABLE, *SMALL).cut(data[: ends[700]], False) + ends[701:]


def test_an_insertion_moves_cuts_only_near_it() -> None:
    data = hashlib.shake_256(b"shift").digest(200_000)
    cutter = cut.Cutter(TABLE, 256, 1024, 4096)
    before = set(cutter.cut(data, True))
    after = {end - 1 for end in cutter.cut(data[:50_000] + b"!" + data[50_000:], True)}
    moved = {end for end in before - after if end > 60_000}
    assert moved == set()


def test_the_scalar_kernel_is_always_there_and_forced_kernels_must_exist() -> None:
    assert "scalar" in cut.kernels()
    with pytest.raises(ValueError, match="no cut kernel 'abacus'"):
        cut.Cutter(TABLE, *SMALL, "abacus")


@pytest.mark.parametrize(
    "size",
    [(63, 128, 256), (64, 100, 256), (129, 128, 256), (64, 128, 127), (64, 1 << 30, (1 << 30) + 1)],
)
def test_sizes_outside_the_definition_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="chunk sizes"):
        cut.Cutter(TABLE, *size)


def test_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="2048"):
        cut.Cutter(TABLE[:-1], *SMALL)
