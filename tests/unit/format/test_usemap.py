"""Sets of frames behave as sets of numbers do."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kluis.format import usemap

small_sets = st.sets(st.integers(0, 40), max_size=20)
frame_sets = st.dictionaries(st.sampled_from([b"a" * 16, b"b" * 16]), small_sets)


def as_ranges(frames: dict[bytes, set[int]]) -> usemap.FrameSet:
    return {run: usemap.ranges_of(numbers) for run, numbers in frames.items() if numbers}


@given(small_sets)
def test_ranges_hold_just_their_numbers(numbers: set[int]) -> None:
    ranges = usemap.ranges_of(numbers)
    assert set(usemap.numbers(ranges)) == numbers
    assert [n for n in range(-1, 42) if usemap.contains(ranges, n)] == sorted(numbers)
    assert all(first < end for first, end in ranges)
    assert all(a[1] < b[0] for a, b in pairwise(ranges))


@given(st.lists(small_sets, max_size=4))
def test_merged_ranges_are_the_union(parts: list[set[int]]) -> None:
    merged = usemap.merge_ranges(*(usemap.ranges_of(part) for part in parts))
    assert merged == usemap.ranges_of(set().union(*parts))


@given(st.lists(frame_sets, max_size=3))
def test_merged_frame_sets_are_the_union_and_are_counted(
    parts: list[dict[bytes, set[int]]],
) -> None:
    union: dict[bytes, set[int]] = {}
    for part in parts:
        for run, numbers in part.items():
            union.setdefault(run, set()).update(numbers)
    merged = usemap.merge(map(as_ranges, parts))
    assert merged == as_ranges(union)
    assert usemap.count(merged) == sum(map(len, union.values()))
