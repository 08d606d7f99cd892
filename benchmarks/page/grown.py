"""The sections about kluis alone: how it grows with the data, and how it starts."""

from __future__ import annotations

from benchmarks.figures import Spread
from benchmarks.page import plots
from benchmarks.page.compared import figure, job_title, owed
from benchmarks.page.loaded import Origin, Scaled, Starts, over
from benchmarks.page.markup import Child, Markup, element, joined, table
from benchmarks.page.plots import TIMES, Axes, Line, Ratio, short
from benchmarks.scaling import PEAK_MIB, Curve, curves

MIB = 1 << 20


def origin(found: Origin) -> Markup:
    """Machine, commit and command, in one line."""
    return element(
        "p",
        {"class": "small"},
        found.machine,
        "; commit ",
        element("code", {}, found.commit),
        "; ",
        element("code", {}, found.command),
    )


def scaling(result: Scaled, anchor: str) -> Markup:
    """Peak memory and CPU time of each job over each series of sizes."""
    found = curves(result.points)
    floor = (
        f"Opening the repository takes {result.key_mib} MiB by itself, for the passphrase's "
        "Argon2id: a peak below that does not show."
    )
    parts = []
    for name in dict.fromkeys(curve.series for curve in found):
        mine = [curve for curve in found if curve.series == name]
        parts.append(_series(name, mine))
    return element(
        "section",
        {"id": anchor},
        element("h2", {}, "As the data grows"),
        origin(result.origin),
        element("p", {}, floor) if result.key_mib else "",
        *parts,
        owed(result.verdicts),
    )


def _series(name: str, mine: list[Curve]) -> Markup:
    unit = mine[0].unit
    heads = {"data": "More bytes", "files": "More files"}
    title = heads.get(name, f"More {name}")
    memory = [_line(curve, at, curve.peaks_mib) for at, curve in enumerate(mine)]
    time = [_line(curve, at, curve.cpu_seconds) for at, curve in enumerate(mine)]
    below = "MB of data" if unit == "MB" else unit
    limit = (float(PEAK_MIB), f"{PEAK_MIB} MiB for 1 GB") if name == "data" else None
    rows: list[list[Child]] = []
    for curve in mine:
        exponent = curve.exponent
        rows.append(
            [
                job_title(curve.job),
                f"{short(curve.growth)}{TIMES}",
                "" if exponent is None else short(exponent),
            ]
        )
    return joined(
        element("h3", {}, f"{title}: {mine[0].sizes[0]:,} to {mine[0].sizes[-1]:,} {unit}"),
        plots.legend([(job_title(curve.job), at) for at, curve in enumerate(mine)]),
        element(
            "div",
            {"class": "grid pairs"},
            figure(
                "Peak memory, MiB",
                plots.curves(f"{title}: peak", Axes(below, "MiB", False, limit), memory),
            ),
            figure(
                "CPU time, s (both axes logarithmic)",
                plots.curves(f"{title}: CPU", Axes(below, "s", True), time),
            ),
        ),
        table(["job", "peak grows by", "exponent of CPU time"], rows, frozenset({1, 2})),
    )


def _line(curve: Curve, number: int, values: tuple[float, ...]) -> Line:
    places = zip(map(float, curve.sizes), values, strict=True)
    return Line(job_title(curve.job), number, tuple(places))


def starting(result: Starts, anchor: str) -> Markup:
    """How long the smallest commands take, beside what they may take."""
    ratios, rows = [], []
    for item in result.rows:
        cells: list[Child] = [
            item.what,
            f"{_seconds(item.wall)}",
            short(item.cpu.middle),
            short(item.peak.high / MIB),
        ]
        rows.append(cells)
        if item.limit_seconds:
            share = over(item.wall, item.limit_seconds)
            said = f"{short(item.wall.middle)} s of {item.limit_seconds:g} s"
            ratios.append(Ratio(item.what, share, said))
    derived = joined(
        f"{result.derivation}, which makes guessing a passphrase dear: "
        f"{short(result.derivation_cpu.middle)} s of CPU, {result.derivation_share:.0%} of ",
        element("code", {}, "kluis snapshots"),
        " of a small repository.",
    )
    parts = [
        element("h2", {}, "Starting"),
        origin(result.origin),
        element("p", {}, derived),
    ]
    if ratios:
        title = "Wait, as a share of what is owed"
        parts.append(
            element("div", {"class": "grid pairs"}, figure(title, plots.ratios(title, ratios)))
        )
    head = ["command", "wall s (least to largest)", "CPU s", "peak MiB"]
    parts += [table(head, rows, frozenset({1, 2, 3})), owed(result.verdicts)]
    return element("section", {"id": anchor}, *parts)


def _seconds(figure: Spread) -> str:
    return f"{short(figure.middle)} ({short(figure.low)} to {short(figure.high)})"
