"""Growth is judged on the right figures, and the data that grows is the same however it grew."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.growing import SERIES, Growing
from benchmarks.measure import Command
from benchmarks.scaling import Point, curves, markdown, slope

MIB = 1 << 20


def point(size: int, cpu: float, peak_mib: float, number: int = 0) -> Point:
    return Point("data", size, "first", number, cpu, cpu, int(peak_mib * MIB))


def content(folder: Path) -> dict[str, bytes]:
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            place = Path(path, name)
            found[str(place.relative_to(folder))] = place.read_bytes()
    return found


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7])
def test_the_slope_of_a_power_is_its_exponent(power: float) -> None:
    assert slope([0, 1, 2, 5], [3 + power * x for x in (0, 1, 2, 5)]) == pytest.approx(power)


def test_the_slope_is_the_least_squared_distance() -> None:
    assert slope([0, 1, 2], [0, 0, 3]) == pytest.approx(1.5)


def test_the_least_time_and_the_largest_peak_of_the_rounds_count() -> None:
    [curve] = curves([point(250, 2, 90), point(250, 3, 99, 1), point(1000, 8, 95)])
    assert list(curve.sizes) == [250, 1000]
    assert list(curve.cpu_seconds) == [2, 8]
    assert list(curve.peaks_mib) == [99, 95]
    assert curve.exponent == pytest.approx(1.0)


def test_the_peak_is_owed_up_to_a_gigabyte_and_growth_to_the_end() -> None:
    [curve] = curves([point(250, 2, 100), point(1000, 8, 127), point(2000, 20, 129)])
    peak, growth, exponent = curve.verdicts()
    assert [peak.measured, growth.measured] == [127, pytest.approx(1.29)]
    assert exponent.measured == pytest.approx(1.092, abs=0.001)
    assert [verdict.kept for verdict in (peak, growth, exponent)] == [True, False, False]


def test_too_much_memory_at_a_gigabyte_is_not_kept() -> None:
    [curve] = curves([point(1000, 8, 128.5)])
    [peak] = curve.verdicts()
    assert not peak.kept


def test_the_table_has_a_row_for_each_size() -> None:
    text = markdown(
        {"commit": "c", "machine": "m", "command": "x", "key_mib": 64},
        [point(250, 2, 90), point(1000, 8, 95)],
    )
    assert "| 250 | 2.00 | 90.0 |" in text
    assert "| 1,000 | 8.00 | 95.0 |" in text


@pytest.mark.parametrize(
    ("growing", "small", "large"),
    [(SERIES["data"], 1, 2), (SERIES["files"], 700, 1200), (SERIES["files of one folder"], 5, 9)],
    ids=lambda value: value.name if isinstance(value, Growing) else str(value),
)
def test_data_that_grew_is_that_which_was_made_at_once(
    tmp_path: Path, growing: Growing, small: int, large: int
) -> None:
    grown, at_once = tmp_path / "grown", tmp_path / "at once"
    grown.mkdir()
    at_once.mkdir()
    growing.fill(grown, 0, small)
    first = content(grown)
    growing.fill(grown, small, large)
    growing.fill(at_once, 0, large)
    found = content(at_once)
    assert content(grown) == found
    assert first.keys() <= found.keys()
    if growing.unit == "MB":
        assert sum(map(len, found.values())) == large * 10**6
    else:
        assert len(found) == large


def python(words: str) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", words))
