"""`kluis bench`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from kluis_cli.arguments import unit
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import printable, table_rows

if TYPE_CHECKING:
    from kluis.events import Context, Event
    from kluis.options import BenchOptions, BenchPart
    from kluis.results import BenchResult, Estimate, Measurement, Span
    from kluis_cli.session import Session

PARTS: tuple[BenchPart, ...] = ("cut", "hash", "zstd", "seal", "pool", "disk")
DEFAULT_SIZE_BYTES = 64 << 20
WORST_SHARE = 0.95


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "bench",
        "measure this machine and a medium, and what a backup and a restore would take",
        """
        kluis bench
        kluis bench /mnt/disk --source /home --rto 8h
        kluis bench /mnt/disk --total 500G --html report.html
        kluis bench --only cut,hash --json
        """,
    )
    parser.epilog = (parser.epilog or "") + (
        "\n\nexit code: 1 if --rto is given and the longest time that a restore may take, of the\n"
        "range that is printed, lies beyond it. Trial files go, also after an error or a signal;\n"
        "what a killed bench left in FOLDER, `kluis-bench-` and 16 digits, the next one removes."
    )

    def take(*names: str, explained: str, **settings: object) -> None:
        parser.add_argument(*names, help=explained, **settings)  # type: ignore[arg-type]

    take("folder", nargs="?", metavar="FOLDER", explained="measure the medium that this lies on")
    take("--source", metavar="PATH", explained="what is to be backed up; a sample of it is read")
    take(
        "--target",
        metavar="DIR",
        explained="where a restore would write (default: $TMPDIR, else /var/tmp)",
    )
    take(
        "--total",
        type=unit("parse_size"),
        metavar="SIZE",
        explained="how much is to be backed up (default: all of --source, or what FOLDER's "
        "medium holds)",
    )
    take(
        "--rto",
        type=unit("parse_delay"),
        metavar="TIME",
        explained="in which time a restore must be done, such as 8h",
    )
    take(
        "--size",
        type=unit("parse_size"),
        default=DEFAULT_SIZE_BYTES,
        metavar="SIZE",
        explained="how much each trial writes, reads or computes (default: 64M)",
    )
    take("--only", metavar="PART[,PART]", explained=f"only these parts: {', '.join(PARTS)}")
    take("--html", metavar="FILE", explained="write a page with plots, too")
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> BenchOptions:
    from kluis.options import BenchOptions

    wanted = [part.strip() for part in (args.only or "").split(",") if part.strip()]
    for part in wanted:
        if part not in PARTS:
            args.parser.error(f"{part!r} is no part; there are {', '.join(PARTS)}")
    if args.only is not None and not wanted:
        args.parser.error("--only names no part")

    def raw(path: str | None) -> bytes | None:
        return None if path is None else os.fsencode(path)

    return BenchOptions(
        folder=raw(args.folder),
        size=args.size,
        parts=tuple(part for part in PARTS if part in wanted) or PARTS,
        source=raw(args.source),
        target=raw(args.target),
        total=args.total,
        rto_seconds=args.rto,
    )


def _fields(one: Measurement) -> dict[str, object]:
    fields: dict[str, object] = {
        "name": one.name,
        "size": one.size,
        "seconds": one.seconds,
        "cpu_seconds": one.cpu_seconds,
        "ns_per_byte": one.seconds * 1e9 / one.size if one.size else None,
        "remark": one.remark,
        "rounds": list(one.rounds),
    }
    if one.latencies:
        fields["latency"] = {
            "calls": len(one.latencies),
            "median_seconds": share_of(one.latencies, 0.5),
            "p95_seconds": share_of(one.latencies, WORST_SHARE),
            "worst_seconds": one.latencies[-1],
        }
    return fields


def share_of(ascending: tuple[float, ...], share: float) -> float:
    """What so large a share of the values does not exceed."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def _span_fields(span: Span) -> dict[str, float]:
    return {"low": span.low, "likely": span.likely, "high": span.high}


def _estimate_fields(one: Estimate) -> dict[str, object]:
    return {
        "job": one.job,
        "seconds": _span_fields(one.seconds),
        "bottleneck": one.bottleneck,
        "stages": [
            {"name": stage.name, "size": stage.size, "seconds": _span_fields(stage.seconds)}
            for stage in one.stages
        ],
    }


def show(result: BenchResult, output: Output) -> None:
    if output.as_json:
        for one in result.measurements:
            output.event("measurement", _fields(one))
        for estimate in result.estimates:
            output.event("estimate", _estimate_fields(estimate))
        summary = {
            "verb": "bench",
            "total_bytes": result.total_bytes,
            "assumptions": list(result.assumptions),
            "rto_seconds": result.rto_seconds,
            "verdict": result.verdict,
            "advice": list(result.advice),
            "exit_status": result.exit_status,
        }
        output.event("summary", summary)
        return
    _show_speeds(result, output)
    _show_calls(result, output)
    if result.estimates:
        _show_estimates(result, output)


def rate(one: Measurement) -> float:
    """MB (of 1,000,000 bytes) a second."""
    return one.size / one.seconds / 1e6 if one.seconds else 0.0


def _show_speeds(result: BenchResult, output: Output) -> None:
    rows = []
    for one in result.measurements:
        if not one.size or one.latencies:
            continue
        low, high = (one.size / seconds / 1e6 for seconds in _extremes(one))
        spread = f"{low:.0f}-{high:.0f}" if one.rounds else ""
        cost = one.cpu_seconds * 1e9 / one.size
        rows.append([one.name, f"{rate(one):.0f}", spread, f"{cost:.2f}", one.remark])
    if rows:
        for line in table_rows(["Part", "MB/s", "Rounds", "CPU ns/byte", "Remark"], rows):
            output.line(line)


def _extremes(one: Measurement) -> tuple[float, float]:
    rounds = one.rounds or (one.seconds,)
    return max(rounds), min(rounds)


def _show_calls(result: BenchResult, output: Output) -> None:
    rows = []
    for one in result.measurements:
        if one.latencies:
            times = one.latencies
            shown = (share_of(times, 0.5), share_of(times, WORST_SHARE), times[-1])
            count = str(len(times))
        elif not one.size:
            slowest = max(one.rounds or (one.seconds,))
            shown, count = (one.seconds, slowest, slowest), ""
        else:
            continue
        rows.append([one.name, count, *(f"{time * 1e3:.3f}" for time in shown), one.remark])
    if rows:
        output.line("")
        for line in table_rows(
            ["Call", "Calls", "Median ms", "95 % ms", "Worst ms", "Remark"], rows
        ):
            output.line(line)


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `4 min 05 s`, `1 h 02 min`, `3 d 04 h`."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    if seconds < 48 * 3600:
        return f"{int(seconds) // 3600} h {int(seconds) // 60 % 60:02d} min"
    hours = int(seconds // 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def span_text(span: Span) -> str:
    """The likely time, and from when to when."""
    low, likely, high = (duration(one) for one in (span.low, span.likely, span.high))
    return f"{likely} ({low} to {high})"


def _show_estimates(result: BenchResult, output: Output) -> None:
    rows = []
    for one in result.estimates:
        rows.append([one.job, span_text(one.seconds), f"bottleneck: {one.bottleneck}"])
        rows += [[f"  {stage.name}", span_text(stage.seconds), ""] for stage in one.stages]
    output.line("")
    for line in table_rows(["Job", "Likely (from, to)", ""], rows):
        output.line(line)
    output.line("")
    for text in result.assumptions:
        output.line(f"- {printable(text)}")
    for line in verdict_lines(result):
        output.line(printable(line))


def verdict_lines(result: BenchResult) -> list[str]:
    """Whether the RTO is met, what stands in the way, and what would meet it."""
    if not result.verdict or result.rto_seconds is None:
        return []
    restore = result.estimates[-1]
    rto = duration(result.rto_seconds)
    likely, high = (duration(one) for one in (restore.seconds.likely, restore.seconds.high))
    if result.verdict == "met":
        return [f"RTO met: a restore takes {high} at most, and {rto} are asked for."]
    words = (
        f"RTO NOT met: a restore is likely to take {likely}, and {rto} are asked for."
        if result.verdict == "missed"
        else f"RTO uncertain: a restore is likely to take {likely}, but it may take {high}, and "
        f"{rto} are asked for."
    )
    advice = [f"  what would meet it: {text}" for text in result.advice]
    return [words, f"  bottleneck: {restore.bottleneck}", *advice]


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.context() as context:
        result = kluis.bench(wanted, replace(context, events=_telling(context, session.output)))
    show(result, session.output)
    if args.html is not None:
        from kluis_cli.benchpage import write_page

        write_page(result, args.html)
    return result.exit_status


def _telling(context: Context, output: Output) -> Callable[[Event], None]:
    """Events as they are shown otherwise, and on a terminal each stage, as some take long."""
    from kluis.events import Stage

    def tell(event: Event) -> None:
        if isinstance(event, Stage) and not output.as_json and output.verbosity == 0:
            if sys.stderr is not None and sys.stderr.isatty():
                output.say(f"{printable(event.name)} ...")
        context.events(event)

    return tell
