"""Sizes, shares, spans and moments: what is typed is what is meant."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis import units
from kluis.errors import UsageError
from kluis.units import CalendarSpan

YEAR_1_NS = int(datetime(1, 1, 2, tzinfo=UTC).timestamp()) * units.NS_PER_SECOND
YEAR_9999_NS = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp()) * units.NS_PER_SECOND


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("16k", 16 << 10),
        ("16K", 16 << 10),
        ("1M", 1 << 20),
        ("8MiB", 8 << 20),
        ("8MB", 8 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        (" 3 k ", 3 << 10),
    ],
)
def test_a_letter_counts_in_powers_of_1024(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1,5G", "0x10", "1e6", "1MM"])
def test_what_is_no_size_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        units.parse_size(text)
    assert repr(text) in str(caught.value)


@given(st.integers(min_value=0, max_value=1 << 70))
def test_a_printed_size_is_right_to_three_figures(size: int) -> None:
    printed = units.format_size(size)
    number, unit = printed.split()
    power = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit)
    assert abs(float(number) * 1024**power - size) <= size * 0.005 + 0.5
    assert len(printed) <= 8 or unit == "EiB"


def test_shares_are_percentages_between_0_and_100() -> None:
    assert units.parse_share("3%") == 0.03
    assert units.parse_share("0.5 %") == 0.005
    for text in ("3", "101%", "-1%", "x%", ""):
        with pytest.raises(UsageError):
            units.parse_share(text)


@given(
    st.builds(
        CalendarSpan,
        years=st.integers(0, 99),
        months=st.integers(0, 99),
        days=st.integers(0, 999),
        hours=st.integers(0, 99),
    )
)
def test_a_span_reads_back_as_it_was_printed(span: CalendarSpan) -> None:
    assert units.parse_span(str(span)) == span


@pytest.mark.parametrize("text", ["", "1", "y", "1y1y", "1w", "1y 6m", "-1d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        units.parse_span(text)


def test_delays() -> None:
    assert units.parse_delay("0") == 0
    assert units.parse_delay("90s") == 90
    assert units.parse_delay("2w") == 14 * 86400
    for text in ("", "7", "7x", "1d12h"):
        with pytest.raises(UsageError):
            units.parse_delay(text)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2026-01-31T12:00:00Z", 1769860800_000000000),
        ("2026-01-31T13:00:00+01:00", 1769860800_000000000),
        ("2026-01-31 12:00:00.25Z", 1769860800_250000000),
        ("2026-01-31T12:00:00.123456789Z", 1769860800_123456789),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_times_with_a_zone(text: str, time_ns: int) -> None:
    assert units.parse_time(text) == time_ns


@pytest.mark.parametrize("zone", ["UTC", "Europe/Amsterdam", "America/New_York"])
def test_a_time_without_a_zone_is_local(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        meant = time.mktime((2026, 1, 31, 12, 0, 0, 0, 0, -1))
        assert units.parse_time("2026-01-31 12:00:00") == int(meant) * units.NS_PER_SECOND
        assert units.format_time(int(meant) * units.NS_PER_SECOND) == "2026-01-31 12:00:00"
        midnight = units.parse_time("2026-01-31")
        assert midnight == units.parse_time("2026-01-31 00:00:00")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12:00", "2026-01-31 25:00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        units.parse_time(text)


@given(st.integers(min_value=YEAR_1_NS, max_value=YEAR_9999_NS))
def test_a_printed_moment_reads_back_to_the_nanosecond(time_ns: int) -> None:
    assert units.parse_time(units.format_rfc3339(time_ns)) == time_ns


@given(st.integers(min_value=-(1 << 70), max_value=1 << 70))
def test_any_moment_can_be_printed(time_ns: int) -> None:
    assert units.format_time(time_ns)
    assert units.format_rfc3339(time_ns)


def test_elapsed_time_has_the_unit_that_fits() -> None:
    assert units.format_elapsed(0.421) == "0.42 s"
    assert units.format_elapsed(12.34) == "12.3 s"
    assert units.format_elapsed(245) == "4:05"
    assert units.format_elapsed(3723) == "1:02:03"
