"""`kluis ls`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.arguments import add_filter, filter_of, raw, split_snapshot
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import entry_fields, long_row, shown, snapshot_fields

if TYPE_CHECKING:
    from kluis.options import LsOptions
    from kluis.results import LsResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "ls",
        "list what is in a snapshot",
        """
        kluis ls latest
        kluis ls latest~1 /home/ann/Documents
        kluis ls -l 4f2a:/home/ann
        kluis ls latest --host server1 --json
        """,
    )
    parser.add_argument("snapshot", metavar="ID[:PATH]", help="a snapshot, latest or latest~1")
    parser.add_argument("paths", nargs="*", metavar="FOLDER", help="only what lies in these")
    parser.add_argument("-l", "--long", action="store_true", help="with mode, owner, size, time")
    parser.add_argument("--recursive", action="store_true", help="FOLDER with all below it")
    parser.add_argument("--human-readable", action="store_true", help="sizes with units")
    add_filter(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> LsOptions:
    from kluis.options import LsOptions

    snapshot, path = split_snapshot(args.snapshot)
    return LsOptions(
        snapshot=snapshot,
        path=path,
        paths=raw(args.paths),
        recursive=args.recursive or not args.paths,
        filter=filter_of(args),
    )


def show(result: LsResult, output: Output, long: bool = False, human: bool = False) -> None:
    if output.as_json:
        output.event("snapshot", snapshot_fields(result.snapshot), flush=False)
    if not (output.as_json or long or human):
        output.lines(map(shown, result.paths))
        return
    for entry in result.entries:
        if output.closed:
            return
        if output.as_json:
            output.event("node", entry_fields(entry), flush=False)
        else:
            output.line(long_row(entry, human))


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.open() as repository, session.context() as context:
        result = kluis.ls(repository, options(args), context)
        show(result, session.output, args.long, args.human_readable)
    return result.exit_status
