"""Plots as inline SVG: bars, ratios on a logarithmic axis, curves. Colours come from the page.

Each row says its figures in words above its mark, so a plot reads without a scale, on paper,
and by whoever cannot tell its colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from benchmarks.figures import Spread
from benchmarks.page.markup import Markup, Value, element, joined

WIDTH = 260.0
WIDE = 360.0
TIMES = "\N{MULTIPLICATION SIGN}"
_TOP = 4.0
_BAR = 9.0
_LINE = 13.0
# Of the page's font at its size in a plot, somewhat more than most letters are wide.
_LETTER = 6.0


@dataclass(frozen=True)
class Bar:
    """One row: whose it is (a class of the style sheet), its figures, and a word on the right."""

    label: str
    kind: str
    figure: Spread
    said: str
    note: str = ""


@dataclass(frozen=True)
class Ratio:
    """A share of something: 1 is as much."""

    label: str
    share: Spread
    said: str
    limit: float | None = None
    """At most this much is owed."""


@dataclass(frozen=True)
class Line:
    """A curve; `number` chooses colour and mark."""

    label: str
    number: int
    points: tuple[tuple[float, float], ...]


def short(value: float) -> str:
    """Three digits, or all before the point."""
    if value < 0:
        return f"-{short(-value)}" if value <= -0.0005 else short(0)
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.0995 or value == 0 else f"{value:.3f}"


def _text(x: float, y: float, content: str, kind: str = "", end: bool = False) -> Markup:
    attributes: dict[str, Value] = {"x": x, "y": y}
    if kind:
        attributes["class"] = kind
    if end:
        attributes["text-anchor"] = "end"
    return element("text", attributes, content)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": kind})


def _said(y: float, width: float, label: tuple[str, str], said: tuple[str, str]) -> _Words:
    """(words, class) on the left and on the right, on as many lines as they take from y on."""
    letters = int(width / _LETTER)
    lines = wrap(label[0], letters) or [""]
    if len(lines[-1]) + len(said[0]) + 2 > letters:
        lines.append("")
    parts = [_text(0, y + 12 + at * _LINE, line, label[1]) for at, line in enumerate(lines) if line]
    bottom = y + (len(lines) - 1) * _LINE
    parts.append(_text(width, bottom + 12, said[0], said[1], end=True))
    return _Words(parts, bottom + 17)


@dataclass(frozen=True)
class _Words:
    """A row's words, and where its mark may begin."""

    parts: list[Markup]
    bottom: float


def _frame(title: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    attributes: dict[str, Value] = {
        "viewBox": f"0 0 {width:.0f} {height:.0f}",
        "role": "img",
        "aria-label": title,
    }
    return element("svg", attributes, element("title", {}, title), *parts)


def hatching() -> Markup:
    """What limits of the machine are filled with; the style sheet names it."""
    pattern: dict[str, Value] = {"id": "hatched", "width": 5, "height": 5}
    pattern |= {"patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
    stripe = element("rect", {"width": 2.4, "height": 5, "class": "stripe"})
    nothing: dict[str, Value] = {"class": "nothing", "aria-hidden": "true"}
    return element("svg", nothing, element("defs", {}, element("pattern", pattern, stripe)))


def bars(title: str, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars from 0 of the medians, with a whisker from the least to the largest."""
    largest = max((row.figure.high for row in rows), default=0) or 1
    parts: list[Markup] = []
    y = _TOP
    for row in rows:
        full = row.figure.middle / largest * (WIDTH - 1)
        low, high = (value / largest * (WIDTH - 1) for value in (row.figure.low, row.figure.high))
        label, figure = (row.label, f"label {row.kind}"), (f"{row.said}{row.note}", "figure")
        words = _said(y, WIDTH, label, figure)
        top, middle = words.bottom, words.bottom + _BAR / 2
        bar: dict[str, Value] = {"y": top, "width": max(full, 1.0), "height": _BAR}
        parts += [
            *words.parts,
            element("rect", {"y": top, "width": WIDTH, "height": _BAR, "class": "track"}),
            element("rect", bar | {"class": f"bar {row.kind}"}),
        ]
        y = top + _BAR + 8
        if high - low >= 2:
            parts += [
                _line(low, middle, high, middle, "whisker"),
                _line(low, middle - 3, low, middle + 3, "whisker"),
                _line(high, middle - 3, high, middle + 3, "whisker"),
            ]
    said = "; ".join(f"{row.label} {row.said}{row.note}" for row in rows)
    return _frame(f"{title}: {said}", WIDTH, y, parts)


# Where a logarithmic axis of shares may have its marks.
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def ratios(title: str, rows: Sequence[Ratio]) -> Markup:
    """Shares on a logarithmic axis: a dot for the median, a line over all rounds, 1 marked."""
    every = [value for row in rows for value in (row.share.low, row.share.high, row.limit or 0)]
    found = [value for value in every if value > 0]
    low, high = min([*found, 0.5]) / 1.15, max([*found, 1.0]) * 1.25
    across = math.log(high / low)

    def x(value: float) -> float:
        return math.log(max(value, low) / low) / across * WIDE

    marks: list[Markup] = []
    y = _TOP
    for row in rows:
        words = _said(y, WIDE, (row.label, "label halo"), (row.said, "figure halo"))
        line = words.bottom + 5
        kind = "good" if row.share.middle <= (row.limit or 1) else "bad"
        marks += [
            *words.parts,
            _line(x(row.share.low), line, x(row.share.high), line, f"range {kind}"),
            element("circle", {"cx": x(row.share.middle), "cy": line, "r": 4.5, "class": kind}),
        ]
        if row.limit is not None:
            marks.append(_line(x(row.limit), line - 7, x(row.limit), line + 7, "owed"))
        y = line + 13
    bottom = y + 4
    parts: list[Markup] = []
    for tick in (tick for tick in _TICKS if low <= tick <= high):
        kind = "one" if tick == 1 else "grid"
        parts.append(_line(x(tick), _TOP, x(tick), bottom, kind))
        if 12 < x(tick) < WIDE - 12:
            mark = element(
                "text",
                {"x": x(tick), "y": bottom + 12, "text-anchor": "middle", "class": "tick"},
                f"{tick:g}{TIMES}",
            )
            parts.append(mark)
    said = "; ".join(f"{row.label} {row.said}" for row in rows)
    return _frame(f"{title}: {said}", WIDE, bottom + 18, [*parts, *marks])


@dataclass(frozen=True)
class Axes:
    """How the curves are drawn: what lies below and on the left, and a limit to keep."""

    x_label: str
    y_label: str
    logarithmic: bool
    """Of y; x always is."""
    limit: tuple[float, str] | None = None


_LEFT, _RIGHT, _HEIGHT = 40.0, 10.0, 192.0
_PLOT_TOP, _PLOT_BOTTOM = 22.0, 156.0


def curves(title: str, axes: Axes, lines: Sequence[Line]) -> Markup:
    """Curves with a mark at each point; what they are called stands in the page's legend."""
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    limit = [axes.limit[0]] if axes.limit else []
    y_ticks = _logarithmic(min(ys), max(ys)) if axes.logarithmic else _linear(max(ys + limit))

    def x(value: float) -> float:
        span = math.log(xs[-1] / xs[0]) or 1.0
        return _LEFT + 10 + math.log(value / xs[0]) / span * (WIDE - _LEFT - _RIGHT - 30)

    def y(value: float) -> float:
        if axes.logarithmic:
            share = math.log(value / y_ticks[0]) / math.log(y_ticks[-1] / y_ticks[0])
        else:
            share = value / y_ticks[-1]
        return _PLOT_BOTTOM - share * (_PLOT_BOTTOM - _PLOT_TOP)

    parts = [_text(0, 11, axes.y_label, "tick")]
    for tick in y_ticks:
        parts.append(_line(_LEFT, y(tick), WIDE - _RIGHT, y(tick), "grid"))
        parts.append(_text(_LEFT - 5, y(tick) + 4, f"{tick:,g}", "tick", end=True))
    for value in xs:
        middle: dict[str, Value] = {"x": x(value), "y": _PLOT_BOTTOM + 18}
        middle |= {"text-anchor": "middle", "class": "tick"}
        parts.append(_line(x(value), _PLOT_BOTTOM, x(value), _PLOT_BOTTOM + 4, "grid"))
        parts.append(element("text", middle, f"{value:,g}"))
    parts.append(_text(WIDE - _RIGHT, _HEIGHT - 4, axes.x_label, "tick", end=True))
    if axes.limit:
        parts.append(_line(_LEFT, y(limit[0]), WIDE - _RIGHT, y(limit[0]), "owed"))
        above = y(limit[0]) - 4
        parts.append(_text(WIDE - _RIGHT, above, axes.limit[1], "tick halo", end=True))
    for line in lines:
        places = [(x(a), y(b)) for a, b in line.points]
        track = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(element("polyline", {"points": track, "class": f"curve c{line.number % 5}"}))
        parts += [mark(line.number, a, b) for a, b in places]
    said = "; ".join(
        f"{line.label}: " + ", ".join(f"{short(b)} at {a:,g}" for a, b in line.points)
        for line in lines
    )
    return _frame(f"{title}. {said}", WIDE, _HEIGHT, parts)


def mark(number: int, x: float, y: float) -> Markup:
    """A circle, square, diamond, triangle or flat bar: curves differ by more than colour."""
    kind = f"mark c{number % 5}"
    if number % 5 == 4:
        return element(
            "rect", {"x": x - 5, "y": y - 1.7, "width": 10, "height": 3.4, "class": kind}
        )
    if number % 5 == 0:
        return element("circle", {"cx": x, "cy": y, "r": 3.6, "class": kind})
    if number % 5 == 1:
        return element(
            "rect", {"x": x - 3.2, "y": y - 3.2, "width": 6.4, "height": 6.4, "class": kind}
        )
    shape = [(0, -4.6), (4.6, 0), (0, 4.6), (-4.6, 0)]
    if number % 5 == 3:
        shape = [(0, -4.6), (4.4, 3.4), (-4.4, 3.4)]
    points = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in shape)
    return element("polygon", {"points": points, "class": kind})


def legend(lines: Sequence[tuple[str, int]]) -> Markup:
    """The names of curves beside their marks."""
    box: dict[str, Value] = {"viewBox": "0 0 12 12", "class": "key", "aria-hidden": "true"}
    entries = [
        element("li", {}, element("svg", box, mark(number, 6, 6)), label) for label, number in lines
    ]
    return element("ul", {"class": "legend"}, joined(*entries))


def _linear(largest: float) -> list[float]:
    """Round numbers from 0 to past the largest."""
    step = 10 ** math.floor(math.log10(largest or 1))
    for part in (0.2, 0.5, 1, 2):
        if largest / (step * part) <= 6:
            step *= part
            break
    return [step * n for n in range(math.ceil(largest / step) + 1)]


def _logarithmic(smallest: float, largest: float) -> list[float]:
    """1, 2, 5 times powers of ten around both, at most seven of them."""
    powers = range(math.floor(math.log10(smallest)), math.ceil(math.log10(largest)) + 1)
    every = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    low = max((tick for tick in every if tick <= smallest), default=every[0])
    high = min((tick for tick in every if tick >= largest), default=every[-1])
    ticks = [tick for tick in every if low <= tick <= max(high, low * 2)]
    if len(ticks) <= 7:
        return ticks
    low, high = math.floor(math.log10(ticks[0])), math.ceil(math.log10(ticks[-1]))
    return [10.0**power for power in range(int(low), int(high) + 1)]
