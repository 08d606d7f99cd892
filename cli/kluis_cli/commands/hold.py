"""`kluis hold`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis.errors import UsageError
from kluis_cli.arguments import add_filter, filter_of, text
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb

if TYPE_CHECKING:
    from kluis.options import HoldOptions
    from kluis.results import HoldResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "hold",
        "protect snapshots from forget, or release them",
        """
        kluis hold 4f2a --reason "audit of 2026"
        kluis hold --tag yearly
        kluis hold --release 4f2a
        """,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="these snapshots")
    parser.add_argument("--release", action="store_true", help="a policy may remove them again")
    parser.add_argument("--reason", type=text, default="", metavar="TEXT", help="why")
    add_filter(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> HoldOptions:
    from kluis.options import HoldOptions, SnapshotFilter

    chosen = filter_of(args)
    if not args.ids and chosen == SnapshotFilter():
        raise UsageError("no snapshot was chosen: name one, or give --tag, --host or --path")
    return HoldOptions(ids=tuple(args.ids), filter=chosen, release=args.release, reason=args.reason)


def show(result: HoldResult, output: Output) -> None:
    if output.as_json:
        fields = {"released": result.released, "changed": list(result.changed)}
        output.event("hold", {**fields, "already": list(result.already)})
        return
    word = "released" if result.released else "held"
    for snapshot in result.changed:
        output.note(f"{word} {snapshot}")
    for snapshot in result.already:
        output.note(f"{snapshot} was {word} already")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.open() as repository, session.context() as context:
        result = kluis.hold(repository, wanted, context)
    show(result, session.output)
    return result.exit_status
