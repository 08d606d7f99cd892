"""Sizes, shares, durations and moments, from the words that people type and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from kluis.errors import UsageError
from kluis.frozen import frozen

NS_PER_SECOND = 1_000_000_000

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtpe]?)(?:i?b)?", re.IGNORECASE)
_SIZE_LETTERS = "kmgtpe"
_SIZE_NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_SPAN_PART = re.compile(r"(\d+)([ymdh])")
_DELAY = re.compile(r"(\d+)([smhdw])")
_DELAY_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_FRACTION = re.compile(r"\.(\d{1,9})\d*")


@frozen
class CalendarSpan:
    """A stretch of calendar time, such as `1y6m`: how long it is depends on where it ends."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{count}{letter}" for count, letter in parts if count) or "0h"


def parse_size(text: str) -> int:
    """Bytes, from `1000`, `16k`, `1.5G`, `8MiB`: a letter counts in powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no size; write bytes, or a number and K, M, G or T: 16M")
    power = _SIZE_LETTERS.find(match[2].lower()) + 1 if match[2] else 0
    return int(float(match[1]) * 1024**power) if "." in match[1] else int(match[1]) * 1024**power


def format_size(size: int) -> str:
    """Three figures and a unit of 1024, as in `14.4 MiB`."""
    value = float(abs(size))
    sign = "-" if size < 0 else ""
    for name in _SIZE_NAMES:
        if value < 999.5 or name == _SIZE_NAMES[-1]:
            break
        value /= 1024
    if name == "B":
        return f"{size} B"
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{sign}{value:.{decimals}f} {name}"


def parse_share(text: str) -> float:
    """A part of the whole, between 0 and 1, from `3%`."""
    match = _SHARE.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise UsageError(f"{text!r} is no share; write a percentage from 0% to 100%, such as 3%")
    return float(match[1]) / 100


def parse_span(text: str) -> CalendarSpan:
    """A calendar span, from `2y5m7d3h` in any order; each letter once."""
    parts = _SPAN_PART.findall(text)
    letters = [letter for _, letter in parts]
    if not parts or "".join(n + u for n, u in parts) != text or len(set(letters)) != len(letters):
        raise UsageError(
            f"{text!r} is no span of time; write years, months, days, hours: 1y6m7d12h"
        )
    count = {letter: int(number) for number, letter in parts}
    return CalendarSpan(count.get("y", 0), count.get("m", 0), count.get("d", 0), count.get("h", 0))


def parse_delay(text: str) -> int:
    """Seconds, from `90s`, `15m`, `12h`, `7d`, `2w`, or 0."""
    if text == "0":
        return 0
    match = _DELAY.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no delay; write a number and s, m, h, d or w, such as 7d")
    return int(match[1]) * _DELAY_SECONDS[match[2]]


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 UTC, from `2026-01-31 12:00:00` (local, time optional) or RFC 3339."""
    words = text.strip()
    fraction = _FRACTION.search(words)
    bare = words[: fraction.start()] + words[fraction.end() :] if fraction else words
    try:
        moment = datetime.fromisoformat(bare)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time; write 2026-01-31, 2026-01-31 12:00:00 (local), "
            "or with a zone 2026-01-31T12:00:00Z"
        ) from None
    return seconds * NS_PER_SECOND + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def check_snapshot_time(time_ns: int | None) -> None:
    """Raises `UsageError` for a time that no snapshot can hold: 64 bits of nanoseconds."""
    if time_ns is not None and not -(1 << 63) <= time_ns < 1 << 63:
        raise UsageError(
            "a snapshot holds a time from 1678 to 2261, and the one that was given lies outside; "
            "nothing was changed. Next: give another time"
        )


def _moment(time_ns: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(time_ns // NS_PER_SECOND, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def format_time(time_ns: int) -> str:
    """Local time to the second, `2026-01-31 12:00:00`."""
    moment = _moment(time_ns)
    if moment is None:
        return f"@{time_ns // NS_PER_SECOND}"
    try:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return moment.strftime("%Y-%m-%d %H:%M:%S")


def format_rfc3339(time_ns: int) -> str:
    """UTC with nanoseconds, `2026-01-31T12:00:00.000000000Z`; years beyond 9999 as `@seconds`."""
    moment = _moment(time_ns)
    if moment is None:
        return f"@{time_ns // NS_PER_SECOND}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ns % NS_PER_SECOND:09d}Z"


def format_elapsed(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `4:05` (minutes), `1:02:03` (hours)."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
