"""Which snapshots of a group a policy keeps, and why: restic's rules, as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo

from kluis.errors import UsageError
from kluis.frozen import frozen
from kluis.options import UNLIMITED_COUNT, KeepPolicy
from kluis.units import NS_PER_SECOND, CalendarSpan

NS_PER_HOUR = 3600 * NS_PER_SECOND
COUNTED = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
WITHIN = ("hourly", "daily", "weekly", "monthly", "yearly")


@frozen
class Candidate:
    """A snapshot as a policy sees it."""

    time_ns: int
    tags: tuple[str, ...] = ()


Period = tuple[int, ...]

# The period that a local time lies in; of `last` every snapshot has one of its own.
_PERIODS: dict[str, Callable[[datetime, int], Period]] = {
    "last": lambda _, place: (place,),
    "hourly": lambda at, _: (at.year, at.month, at.day, at.hour),
    "daily": lambda at, _: (at.year, at.month, at.day),
    "weekly": lambda at, _: tuple(at.isocalendar()[:2]),
    "monthly": lambda at, _: (at.year, at.month),
    "yearly": lambda at, _: (at.year,),
}


@dataclass
class _Rule:
    """One rule while the snapshots pass by, newest first."""

    period: Callable[[datetime, int], Period]
    reason: str
    left: int
    after_ns: int | None = None  # only snapshots made later than this
    last: Period = field(default=())

    def keeps(self, candidate: Candidate, at: datetime, place: tuple[int, bool]) -> str:
        """Why this rule keeps the snapshot, or nothing; `place`: number, whether the oldest."""
        if self.left == 0 or (self.after_ns is not None and candidate.time_ns <= self.after_ns):
            return ""
        number, oldest = place
        period = self.period(at, number)
        if period == self.last and not oldest:
            return ""
        # Of a rule that has some left, the oldest of all stays too: history reaches further.
        reason = f"oldest {self.reason}" if period == self.last else self.reason
        self.last = period
        if self.left > 0:
            self.left -= 1
        return reason


def is_empty(policy: KeepPolicy) -> bool:
    """True if no rule of the policy could keep anything."""
    spans = [policy.within, *(getattr(policy, f"within_{name}") for name in WITHIN)]
    counts = [getattr(policy, name) for name in COUNTED]
    return not any(counts) and not policy.tags and not any(_is_set(span) for span in spans)


def check(policy: KeepPolicy) -> None:
    """Raises `UsageError` for a count that means nothing."""
    for name in COUNTED:
        if getattr(policy, name) < UNLIMITED_COUNT:
            raise UsageError(f"--keep-{name} takes a number, or unlimited; nothing was changed")


def reasons(
    candidates: Sequence[Candidate], policy: KeepPolicy, zone: tzinfo | None = None
) -> list[tuple[str, ...]]:
    """For each candidate, given oldest first, why it stays; nothing if it goes.

    Periods are those of the clock on the wall in `zone` (None: this machine's). Spans end
    at the newest candidate.
    """
    if not candidates:
        return []
    newest = candidates[-1].time_ns
    after = None if not _is_set(policy.within) else before(newest, policy.within, zone)
    rules = _rules(policy, newest, zone)
    found = []
    for number, candidate in enumerate(reversed(candidates)):
        at = local(candidate.time_ns, zone)
        why = [
            f"has tags [{', '.join(group)}]"
            for group in policy.tags
            if has_tags(candidate.tags, group)
        ]
        if after is not None and candidate.time_ns > after:
            why.append(f"within {policy.within}")
        place = number, number == len(candidates) - 1
        why += [reason for rule in rules if (reason := rule.keeps(candidate, at, place))]
        found.append(tuple(why))
    found.reverse()
    return found


def _rules(policy: KeepPolicy, newest: int, zone: tzinfo | None) -> list[_Rule]:
    rules = [_Rule(_PERIODS[name], f"{name} snapshot", getattr(policy, name)) for name in COUNTED]
    for name in WITHIN:
        span: CalendarSpan | None = getattr(policy, f"within_{name}")
        if span is not None and _is_set(span):
            limit = before(newest, span, zone)
            rules.append(_Rule(_PERIODS[name], f"{name} within {span}", UNLIMITED_COUNT, limit))
    return rules


def has_tags(tags: tuple[str, ...], group: tuple[str, ...]) -> bool:
    """True if every tag of the group is there; the empty tag means: has none."""
    for tag in group:
        if tag == "" and not tags:
            return True
        if tag not in tags:
            return False
    return True


def _is_set(span: CalendarSpan | None) -> bool:
    return span is not None and span != CalendarSpan()


def local(time_ns: int, zone: tzinfo | None) -> datetime:
    """The clock on the wall at a moment."""
    return datetime.fromtimestamp(time_ns // NS_PER_SECOND, zone)


def before(time_ns: int, span: CalendarSpan | None, zone: tzinfo | None) -> int:
    """The moment a calendar span earlier: years, months and days by the wall, hours exact.

    As in Go, a day that a month does not have runs over into the next month.
    """
    span = span or CalendarSpan()
    at = local(time_ns, zone)
    months = at.year * 12 + at.month - 1 - span.years * 12 - span.months
    try:
        day = date(months // 12, months % 12 + 1, 1) + timedelta(at.day - 1 - span.days)
        wall = datetime.combine(day, time(at.hour, at.minute, at.second), at.tzinfo)
        seconds = int(wall.timestamp())
    except (ValueError, OverflowError):
        return -(1 << 63)  # before the first year: everything is later
    return seconds * NS_PER_SECOND + time_ns % NS_PER_SECOND - span.hours * NS_PER_HOUR
