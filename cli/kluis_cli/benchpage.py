"""The page of `kluis bench`: one file, plots as inline SVG, light and dark, nothing else."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING

from kluis.errors import KluisError, NoSpaceError
from kluis_cli.commands.bench import duration, rate, share_of, span_text, verdict_lines
from kluis_cli.records import printable

if TYPE_CHECKING:
    from kluis.results import BenchResult, Estimate, Measurement

WIDTH = 860
LABEL = 250  # of a plot, for the words at its left
BAR = 18
FAR = 1.5  # an RTO so many times the longest bar lies outside the plot
GAP = 9
_SHADES = ("var(--a)", "var(--b)", "var(--c)", "var(--d)")

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1d2330; --soft: #5c6577;
  --line: #d6dae3; --card: #f5f6f9; --a: #2f6fb3; --b: #c2761c; --c: #4d8f54; --d: #8a5aa8;
  --good: #2e7d43; --bad: #b3372f; --warn: #96690a; }
@media (prefers-color-scheme: dark) { :root { --page: #14171d; --text: #e4e7ee; --soft: #9aa3b5;
  --line: #343a47; --card: #1d222b; --a: #6aa7e8; --b: #e2a55a; --c: #7fc088; --d: #bd92da;
  --good: #7fce93; --bad: #f08a82; --warn: #e0b357; } }
body { background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  max-width: 880px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p.soft, li, caption { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .3rem 1.4rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--text); font: 13px system-ui, sans-serif; }
svg text.soft { fill: var(--soft); font-size: 12px; }
svg line { stroke: var(--line); }
.verdict { border-left: 4px solid var(--good); background: var(--card); padding: .7rem 1rem;
  margin: 1.2rem 0; }
.verdict.missed { border-color: var(--bad); }
.verdict.unsure { border-color: var(--warn); }
.verdict p { margin: .2rem 0; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.keys span { margin-right: 1.4em; white-space: nowrap; }
"""


def page(result: BenchResult) -> str:
    """The whole page."""
    parts = ["<h1>kluis bench</h1>", f'<p class="soft">{_text(_headline(result))}</p>']
    parts += _verdict(result)
    if result.estimates:
        parts += ["<h2>What jobs would take</h2>", _estimates(result)]
        parts += ["<h2>A full restore, stage by stage</h2>", _restore(result)]
    speeds = [one for one in result.measurements if one.size and not one.latencies]
    if speeds:
        parts += ["<h2>Throughput</h2>", _bars(speeds)]
    calls = [one for one in result.measurements if one.latencies]
    if calls:
        parts += ["<h2>How long single calls take</h2>", _latencies(calls)]
    if result.assumptions:
        rows = "".join(f"<li>{_text(text)}</li>" for text in result.assumptions)
        parts += ["<h2>What this rests on</h2>", f"<ul>{rows}</ul>"]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>kluis bench</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def write_page(result: BenchResult, path: str) -> None:
    """The page under its name, whole, or what was there before."""
    folder, name = os.path.split(os.path.abspath(path))
    shown = printable(path)
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(page(result))
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        kind = NoSpaceError if error.errno in (28, 122) else KluisError
        raise kind(
            f"cannot write {shown}: {(error.strerror or str(error)).lower()}; what was measured is "
            "printed above. Next: name a file in a folder that takes it"
        ) from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def _text(words: str) -> str:
    """Anything as text of the page; surrogates of names that are not UTF-8 as escapes."""
    return escape(printable(words).encode("utf-8", "backslashreplace").decode())


def _headline(result: BenchResult) -> str:
    from kluis.units import format_size

    words = "One machine"
    if result.total_bytes:
        words += f", one medium, {format_size(result.total_bytes)} to back up"
    return f"{words}. Made by kluis bench; run it again to compare."


def _verdict(result: BenchResult) -> list[str]:
    lines = verdict_lines(result)
    if not lines:
        return []
    rows = "".join(f"<p>{_text(line.strip())}</p>" for line in lines)
    return [f'<div class="verdict {escape(result.verdict)}">{rows}</div>']


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: range) -> str:
    """A table; the columns in `numbers` are set to the right."""

    def row(tag: str, cells: Sequence[str]) -> str:
        marked = (
            f'<{tag} class="n">{_text(cell)}</{tag}>'
            if at in numbers
            else f"<{tag}>{_text(cell)}</{tag}>"
            for at, cell in enumerate(cells)
        )
        return f"<tr>{''.join(marked)}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return f'<div class="scroll"><table>{row("th", head)}{body}</table></div>'


def _estimates(result: BenchResult) -> str:
    rows = [[one.job, span_text(one.seconds), one.bottleneck] for one in result.estimates]
    return _table(["Job", "Likely (from, to)", "Bottleneck"], rows, range(1, 2))


def _svg(height: int, inner: Iterable[str], words: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_text(words)}">'
        f"{''.join(inner)}</svg>"
    )


def _label(y: float, words: str) -> str:
    return f'<text x="{LABEL - 10}" y="{y + BAR - 4:.1f}" text-anchor="end">{_text(words)}</text>'


def _bars(measured: Sequence[Measurement]) -> str:
    """A bar for each throughput, on a logarithmic scale: they differ a thousandfold."""
    rates = [max(rate(one), 0.01) for one in measured]
    low = math.floor(math.log10(min(rates)))
    high = max(low + 1, math.ceil(math.log10(max(rates))))
    room = WIDTH - LABEL - 110

    def at(value: float) -> float:
        return LABEL + (math.log10(value) - low) / (high - low) * room

    inner = []
    height = len(measured) * (BAR + GAP) + 24
    for power in range(low, high + 1):
        x = at(10.0**power)
        inner.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 20}"/>')
        inner.append(
            f'<text class="soft" x="{x:.1f}" y="{height - 5}" text-anchor="middle">'
            f"{_figure(10.0**power)}</text>"
        )
    for number, (one, value) in enumerate(zip(measured, rates, strict=True)):
        y = number * (BAR + GAP)
        width = max(2.0, at(value) - LABEL)
        shade = _SHADES[1] if one.name.startswith(("disk", "target", "source")) else _SHADES[0]
        inner.append(_label(y, f"{one.name} {_short(one.remark)}"))
        inner.append(
            f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{shade}">'
            f"<title>{_text(one.remark)}</title></rect>"
        )
        inner.append(
            f'<text x="{LABEL + width + 6:.1f}" y="{y + BAR - 4}">{_figure(value)} MB/s</text>'
        )
    rows = [
        [one.name, _figure(value), f"{one.cpu_seconds * 1e9 / one.size:.2f}", one.remark]
        for one, value in zip(measured, rates, strict=True)
    ]
    plot = _svg(height, inner, "Throughput of each part in MB a second")
    return (
        f'{plot}<p class="soft keys"><span><i class="key" style="background:{_SHADES[0]}"></i>'
        f'processor</span><span><i class="key" style="background:{_SHADES[1]}"></i>disks</span>'
        "<span>MB a second, logarithmic</span></p>"
        + _table(["Part", "MB/s", "CPU ns/byte", "How"], rows, range(1, 3))
    )


def _short(remark: str) -> str:
    """The words of a remark that tell two parts of one name apart."""
    first = remark.split(",")[0].split(";")[0]
    return first if len(first) <= 22 else ""


def _figure(value: float) -> str:
    """Three figures at most."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{1 if value >= 10 else 2}f}".rstrip("0").rstrip(".")


def _latencies(calls: Sequence[Measurement]) -> str:
    """Each call a mark on a logarithmic scale of time, the median a line."""
    low = math.floor(math.log10(max(1e-7, min(one.latencies[0] for one in calls))))
    high = max(low + 1, math.ceil(math.log10(max(one.latencies[-1] for one in calls))))
    room = WIDTH - LABEL - 30
    row = BAR + 16

    def at(seconds: float) -> float:
        return LABEL + (math.log10(max(seconds, 10.0**low)) - low) / (high - low) * room

    height = len(calls) * row + 24
    inner = []
    for power in range(low, high + 1):
        x = at(10.0**power)
        inner.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 20}"/>')
        inner.append(
            f'<text class="soft" x="{x:.1f}" y="{height - 5}" text-anchor="middle">'
            f"{_moment(10.0**power)}</text>"
        )
    for number, one in enumerate(calls):
        y = number * row + 4
        inner.append(_label(y + 2, one.name))
        middle = y + row / 2 - 4
        inner += [
            f'<circle cx="{at(time):.1f}" cy="{middle + (index % 7 - 3) * 1.6:.1f}" r="2.4" '
            f'fill="{_SHADES[0]}" fill-opacity="0.35"/>'
            for index, time in enumerate(one.latencies)
        ]
        x = at(share_of(one.latencies, 0.5))
        inner.append(
            f'<rect x="{x - 1.5:.1f}" y="{y - 1}" width="3" height="{row - 6}" fill="{_SHADES[1]}">'
            f"<title>median {_moment(share_of(one.latencies, 0.5))}</title></rect>"
        )
    rows = [
        [
            one.name,
            str(len(one.latencies)),
            *(_moment(share_of(one.latencies, share)) for share in (0.5, 0.95, 1.0)),
            one.remark,
        ]
        for one in calls
    ]
    plot = _svg(height, inner, "Distribution of the times of single calls")
    return (
        f'{plot}<p class="soft keys"><span><i class="key" style="background:{_SHADES[0]}"></i>'
        f'a call</span><span><i class="key" style="background:{_SHADES[1]}"></i>median</span></p>'
        + _table(["Call", "Calls", "Median", "95 %", "Worst", "How"], rows, range(1, 5))
    )


def _moment(seconds: float) -> str:
    """A time of three figures at most."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("\u00b5s", 1e-6)):
        if seconds >= size * 0.9995 or unit == "\u00b5s":
            return f"{_figure(seconds / size)} {unit}"
    return ""


def _restore(result: BenchResult) -> str:
    """The stages of a restore one above the other, the whole below, against the RTO."""
    restore: Estimate = result.estimates[-1]
    rto = result.rto_seconds
    longest = max(restore.seconds.high, *(stage.seconds.high for stage in restore.stages))
    far = rto is not None and rto > longest * FAR
    if rto is not None:
        longest = longest * FAR if far else max(longest, rto)
    room = WIDTH - LABEL - 150
    scale = room / max(longest, 1e-9)
    inner = []
    rows = [*restore.stages]
    height = (len(rows) + 1) * (BAR + GAP + 4) + 30
    spans = [(stage.name, stage.seconds) for stage in rows] + [("all of it", restore.seconds)]
    for number, (name, span) in enumerate(spans):
        y = number * (BAR + GAP + 4)
        shade = _SHADES[number % len(_SHADES)] if number < len(rows) else "var(--text)"
        inner.append(_label(y, name))
        inner.append(
            f'<rect x="{LABEL}" y="{y}" width="{max(2.0, span.likely * scale):.1f}" '
            f'height="{BAR}" rx="2" fill="{shade}"/>'
        )
        inner.append(
            f'<rect x="{LABEL + span.low * scale:.1f}" y="{y + BAR + 1}" '
            f'width="{max(1.0, (span.high - span.low) * scale):.1f}" height="3" fill="{shade}" '
            'fill-opacity="0.6"/>'
        )
        x = LABEL + max(span.likely, span.high) * scale + 6
        inner.append(f'<text x="{x:.1f}" y="{y + BAR - 4}">{_text(duration(span.likely))}</text>')
    if rto is not None:
        x = LABEL + min(rto, longest) * scale
        words = f"RTO {duration(rto)}" + (", far to the right" if far else "")
        inner.append(
            f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 22}" style="stroke:var(--bad);'
            f'stroke-width:2{";stroke-dasharray:4 4" if far else ""}"/>'
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{_text(words)}</text>'
        )
    plot = _svg(height, inner, "Stages of a full restore against the RTO")
    table = [[name, span_text(span)] for name, span in spans]
    return (
        f'{plot}<p class="soft">Stages run beside one another; the thin bar reaches from what went '
        "best to what went worst while it was measured.</p>"
        + _table(["Stage", "Likely (from, to)"], table, range(1, 2))
    )
