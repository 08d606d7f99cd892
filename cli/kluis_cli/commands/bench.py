"""`kluis bench`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from kluis.errors import NotFoundError
from kluis_cli.arguments import unit
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import table_rows

if TYPE_CHECKING:
    from kluis.options import BenchOptions, BenchPart
    from kluis.results import BenchResult, Measurement
    from kluis_cli.session import Session

PARTS: tuple[BenchPart, ...] = ("cut", "hash", "zstd", "seal", "disk")
DEFAULT_SIZE_BYTES = 64 << 20


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "bench",
        "measure this machine and a disk",
        """
        kluis bench
        kluis bench --folder /mnt/disk --size 256M
        kluis bench cut hash --json
        """,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--folder", metavar="DIR", help="measure the disk that this lies on")
    parser.add_argument(
        "--size",
        type=unit("parse_size"),
        default=DEFAULT_SIZE_BYTES,
        metavar="SIZE",
        help="how much data (default: 64M)",
    )
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> BenchOptions:
    from kluis.options import BenchOptions

    for part in args.parts:
        if part not in PARTS:
            args.parser.error(f"{part!r} is no part; there are {', '.join(PARTS)}")
    if args.folder is not None and not os.path.isdir(args.folder):
        raise NotFoundError(
            f"there is no folder {args.folder}; nothing was measured. Next: name one on the disk"
        )
    return BenchOptions(
        folder=None if args.folder is None else os.fsencode(args.folder),
        size=args.size,
        parts=tuple(part for part in PARTS if part in args.parts) or PARTS,
    )


def _fields(one: Measurement) -> dict[str, object]:
    return {
        "name": one.name,
        "size": one.size,
        "seconds": one.seconds,
        "cpu_seconds": one.cpu_seconds,
        "ns_per_byte": one.seconds * 1e9 / one.size if one.size else None,
        "remark": one.remark,
    }


def show(result: BenchResult, output: Output) -> None:
    if output.as_json:
        for one in result.measurements:
            output.event("measurement", _fields(one))
        return
    rows = []
    for one in result.measurements:
        speed = one.size / one.seconds / 1e6 if one.seconds else 0.0
        cost = one.cpu_seconds * 1e9 / one.size if one.size else 0.0
        rows.append([one.name, f"{speed:.0f}", f"{cost:.2f}", one.remark])
    for line in table_rows(["Part", "MB/s", "CPU ns/byte", "Remark"], rows):
        output.line(line)


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.context() as context:
        result = kluis.bench(wanted, context)
    show(result, session.output)
    return result.exit_status
