"""`kluis stats`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.arguments import add_filter, filter_of
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb

if TYPE_CHECKING:
    from kluis.options import StatsOptions
    from kluis.results import StatsResult
    from kluis_cli.session import Session

MODES = ("restore-size", "files-by-contents", "raw-data", "blobs-per-file")


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "stats",
        "count files and bytes",
        """
        kluis stats
        kluis stats latest
        kluis stats --mode raw-data
        """,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="these snapshots (default: all)")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=MODES[0],
        help="restore-size: as restored (default); files-by-contents: like files once; "
        "raw-data: as stored; blobs-per-file: frames",
    )
    add_filter(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> StatsOptions:
    from kluis.options import StatsOptions

    return StatsOptions(ids=tuple(args.ids), filter=filter_of(args), mode=args.mode)


def show(result: StatsResult, output: Output) -> None:
    if output.as_json:
        output.event("stats", _fields(result))
        return
    _show_text(result, output)


def _show_text(result: StatsResult, output: Output) -> None:
    from kluis.units import format_size

    rows = [("snapshots", str(result.snapshots))]
    rows += [("files", str(result.files))] if result.files else []
    rows.append(("size", format_size(result.size)))
    if result.bytes_stored:
        rows += [("stored", format_size(result.bytes_stored))]
        rows += [("before compression", format_size(result.bytes_plain))]
        rows += [("frames", str(result.frames)), ("packs", str(result.packs))]
        rows += [("ratio", f"{result.bytes_plain / result.bytes_stored:.2f}")]
    elif result.frames:
        rows.append(("pieces in frames", str(result.frames)))
    output.line(f"mode {result.mode}")
    for name, value in rows:
        output.line(f"{name:<20} {value}")


def _fields(result: StatsResult) -> dict[str, object]:
    return {
        "mode": result.mode,
        "snapshots_count": result.snapshots,
        "total_file_count": result.files,
        "total_size": result.size,
        "total_stored_size": result.bytes_stored,
        "total_uncompressed_size": result.bytes_plain,
        "frames": result.frames,
        "packs": result.packs,
    }


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.open() as repository, session.context() as context:
        result = kluis.stats(repository, options(args), context)
    show(result, session.output)
    return result.exit_status
