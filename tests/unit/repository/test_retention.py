"""The keep policy against a slow judge that reads restic's rules in another way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.errors import UsageError
from kluis.options import UNLIMITED_COUNT, KeepPolicy
from kluis.repository.retention import Candidate, before, check, is_empty, reasons
from kluis.units import CalendarSpan

NS = 1_000_000_000
PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: at.strftime("%Y-%m-%d %H"),
    "daily": lambda at: at.strftime("%Y-%m-%d"),
    "weekly": lambda at: at.strftime("%G week %V"),
    "monthly": lambda at: at.strftime("%Y-%m"),
    "yearly": lambda at: at.strftime("%Y"),
}


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


def kept(
    times: list[int],
    policy: KeepPolicy,
    zone: tzinfo = UTC,
    tags: dict[int, tuple[str, ...]] | None = None,
) -> dict[int, tuple[str, ...]]:
    """Place in the list -> why it stays, for those that do."""
    candidates = [Candidate(at, (tags or {}).get(n, ())) for n, at in enumerate(times)]
    found = reasons(candidates, policy, zone)
    return {n: why for n, why in enumerate(found) if why}


# --- the judge -----------------------------------------------------------------------------


def earlier(time_ns: int, span: CalendarSpan, zone: tzinfo) -> int:
    """The calendar gone back step by step."""
    at = datetime.fromtimestamp(time_ns // NS, zone)
    year, month = at.year - span.years, at.month
    for _ in range(span.months):
        year, month = (year - 1, 12) if month == 1 else (year, month - 1)
    first = date(year, month, 1)
    day = first + timedelta(days=at.day - 1) - timedelta(days=span.days)
    wall = at.replace(year=day.year, month=1, day=1).replace(month=day.month, day=day.day)
    seconds = int(wall.timestamp()) - 3600 * span.hours
    return seconds * NS + time_ns % NS


def newest_of_each(times: list[int], period: Callable[[datetime], str], zone: tzinfo) -> list[int]:
    """Places of the newest snapshot of each period, newest period first."""
    newest: dict[str, int] = {}
    for place, time_ns in enumerate(times):
        newest[period(datetime.fromtimestamp(time_ns // NS, zone))] = place
    return sorted(newest.values(), reverse=True)


def judge(times: list[int], policy: KeepPolicy, zone: tzinfo) -> set[int]:
    """The places that stay, rule by rule."""
    stay: set[int] = set()
    if policy.last:
        count = len(times) if policy.last == UNLIMITED_COUNT else policy.last
        stay.update(range(max(0, len(times) - count), len(times)))
    for name, period in PERIODS.items():
        firsts = newest_of_each(times, period, zone)
        count = getattr(policy, name)
        if count == UNLIMITED_COUNT:
            stay.update({*firsts, 0})
        elif count:
            stay.update(firsts[:count])
            if len(firsts) < count:  # the rule has something left: the oldest stays too
                stay.add(0)
        span = getattr(policy, f"within_{name}")
        if span is not None and span != CalendarSpan():
            limit = earlier(times[-1], span, zone)
            recent = [place for place, at in enumerate(times) if at > limit]
            stay.update(set(firsts) & set(recent))
            if 0 in recent:
                stay.add(0)
    if policy.within is not None and policy.within != CalendarSpan():
        limit = earlier(times[-1], policy.within, zone)
        stay.update(place for place, at in enumerate(times) if at > limit)
    return stay


# Dense enough that many share an hour, a day, a week; and some years apart.
gaps = st.one_of(st.integers(0, 7200), st.integers(0, 3 * 86_400), st.integers(0, 500 * 86_400))
counts = st.one_of(st.just(0), st.integers(-1, 6))
spans = st.none() | st.builds(
    CalendarSpan, st.integers(0, 3), st.integers(0, 14), st.integers(0, 40), st.integers(0, 50)
)
policies = st.builds(
    KeepPolicy,
    **dict.fromkeys(("last", *PERIODS), counts),
    **{f"within_{name}": spans for name in PERIODS},
    within=spans,
)
zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    start=st.integers(moment("1999-01-01"), moment("2030-01-01")),
    distances=st.lists(gaps, max_size=30),
    policy=policies,
    zone=zones,
)
def test_the_same_stay_as_the_judge_says(
    start: int, distances: list[int], policy: KeepPolicy, zone: tzinfo
) -> None:
    times = [start]
    for distance in distances:
        times.append(times[-1] + distance * NS)
    assert set(kept(times, policy, zone)) == judge(times, policy, zone)


# --- examples ------------------------------------------------------------------------------


def test_reasons_are_in_the_words_of_restic() -> None:
    times = [moment(f"2026-01-{day:02}T12:00:00") for day in range(1, 11)]
    policy = KeepPolicy(
        last=1, daily=2, weekly=3, within=CalendarSpan(days=1), within_daily=CalendarSpan(days=3)
    )
    assert kept(times, policy) == {
        0: ("oldest weekly snapshot",),
        3: ("weekly snapshot",),  # Sunday
        7: ("daily within 3d",),
        8: ("daily snapshot", "daily within 3d"),
        9: (
            "within 1d",
            "last snapshot",
            "daily snapshot",
            "weekly snapshot",
            "daily within 3d",
        ),
    }


def test_a_week_is_that_of_iso_over_the_end_of_a_year() -> None:
    times = [
        moment("2024-12-29T00:00:00"),
        moment("2024-12-31T00:00:00"),
        moment("2025-01-05T23:00:00"),
    ]
    assert set(kept(times, KeepPolicy(weekly=1))) == {2}
    assert set(kept(times, KeepPolicy(weekly=2))) == {0, 2}
    assert set(kept(times, KeepPolicy(yearly=2))) == {1, 2}


def test_the_clock_on_the_wall_decides() -> None:
    times = [moment("2026-01-31T23:30:00"), moment("2026-02-01T00:30:00")]
    east, west = timezone(timedelta(hours=1)), timezone(timedelta(hours=-2))
    assert set(kept(times, KeepPolicy(monthly=1), UTC)) == {1}
    for zone in (east, west):
        assert set(kept(times, KeepPolicy(daily=1), zone)) == {1}
        assert set(kept(times, KeepPolicy(monthly=2), zone)) == {0, 1}  # and the oldest
    assert kept(times, KeepPolicy(monthly=2), UTC)[0] == ("monthly snapshot",)
    assert kept(times, KeepPolicy(monthly=2), east)[0] == ("oldest monthly snapshot",)


def test_equal_times_are_told_apart_by_their_order() -> None:
    times = [moment("2026-01-01")] * 3
    assert set(kept(times, KeepPolicy(last=1))) == {2}
    assert set(kept(times, KeepPolicy(daily=1))) == {2}


def test_tags_keep_if_all_of_a_group_are_there() -> None:
    times = [moment(f"2026-01-0{day}") for day in (1, 2, 3)]
    tags = {0: ("a", "b"), 1: ("a",)}
    found = kept(times, KeepPolicy(tags=(("a", "b"), ("b",))), tags=tags)
    assert found == {0: ("has tags [a, b]", "has tags [b]")}
    assert set(kept(times, KeepPolicy(tags=(("",),)), tags=tags)) == {2}


@pytest.mark.parametrize(
    ("at", "span", "wanted"),
    [
        ("2026-03-31T12:00:00", CalendarSpan(months=1), "2026-03-03T12:00:00"),
        ("2024-02-29T12:00:00", CalendarSpan(years=1), "2023-03-01T12:00:00"),
        ("2026-01-15T12:00:00", CalendarSpan(1, 13, 20, 30), "2023-11-24T06:00:00"),
    ],
)
def test_months_run_over_as_in_go(at: str, span: CalendarSpan, wanted: str) -> None:
    assert before(moment(at), span, UTC) == moment(wanted)


def test_a_span_beyond_the_first_year_keeps_all() -> None:
    times = [moment("1970-01-02"), moment("2026-01-01")]
    assert set(kept(times, KeepPolicy(within=CalendarSpan(years=5000)))) == {0, 1}


def test_what_keeps_nothing_is_known() -> None:
    assert is_empty(KeepPolicy())
    assert is_empty(KeepPolicy(within=CalendarSpan(), within_daily=CalendarSpan()))
    for policy in (
        KeepPolicy(last=1),
        KeepPolicy(yearly=UNLIMITED_COUNT),
        KeepPolicy(tags=(("a",),)),
        KeepPolicy(within_hourly=CalendarSpan(hours=1)),
    ):
        assert not is_empty(policy)
    assert reasons([], KeepPolicy(last=1)) == []
    with pytest.raises(UsageError, match="weekly"):
        check(KeepPolicy(weekly=-2))
