"""`kluis find`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis.errors import UsageError
from kluis_cli.arguments import add_filter, filter_of, raw, unit
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import entry_fields, long_row, shown

if TYPE_CHECKING:
    from kluis.listing import FoundEntry
    from kluis.options import FindOptions
    from kluis.results import FindResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "find",
        "find files in all snapshots",
        """
        kluis find books.sqlite
        kluis find -i '*.JPG' --newest '2026-01-31 12:00:00'
        kluis find '/home/*/Documents/*.odt' --snapshot latest
        kluis find --pack 4f2a91
        """,
    )
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="a name, or a whole path")
    parser.add_argument("-i", "--ignore-case", action="store_true", help="in any case of letters")
    parser.add_argument("-l", "--long", action="store_true", help="with mode, owner, size, time")
    parser.add_argument(
        "-s", "--snapshot", action="append", metavar="ID", help="only in this; may be repeated"
    )
    parser.add_argument(
        "-O", "--oldest", type=unit("parse_time"), metavar="TIME", help="changed since"
    )
    parser.add_argument(
        "-N", "--newest", type=unit("parse_time"), metavar="TIME", help="changed until"
    )
    parser.add_argument(
        "--pack", action="append", metavar="PACK", help="the files that have bytes in this pack"
    )
    add_filter(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> FindOptions:
    from kluis.options import FindOptions

    if not args.patterns and not args.pack:
        raise UsageError("nothing to find was named; give a pattern or --pack")
    return FindOptions(
        patterns=raw(args.patterns),
        packs=tuple(args.pack or ()),
        snapshots=tuple(args.snapshot or ()),
        filter=filter_of(args),
        any_case=args.ignore_case,
        newer_than_ns=args.oldest,
        older_than_ns=args.newest,
    )


def _fields(match: FoundEntry) -> dict[str, object]:
    fields = {"snapshot": match.snapshot.id, "short_id": match.snapshot.short_id}
    pack = {"pack": match.pack} if match.pack else {}
    return {**fields, **pack, **entry_fields(match.entry)}


def show(result: FindResult, output: Output, long: bool = False) -> None:
    found = 0
    for match in result.matches:
        if output.closed:
            return
        found += 1
        if output.as_json:
            output.event("match", _fields(match), flush=False)
            continue
        row = long_row(match.entry) if long else shown(match.entry.path)
        pack = f"  in pack {match.pack}" if match.pack else ""
        output.line(f"{match.snapshot.short_id}  {row}{pack}")
    if output.as_json:
        output.event("summary", {"verb": "find", "matches": found})
    elif not found and output.verbosity >= 0:
        output.say("kluis: nothing matches")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.open() as repository, session.context() as context:
        result = kluis.find(repository, wanted, context)
        show(result, session.output, args.long)
    return result.exit_status
