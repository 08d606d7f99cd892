"""`kluis tag`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis.errors import UsageError
from kluis_cli.arguments import add_dry_run, add_filter, filter_of, flat_tags, tag_list
from kluis_cli.commands import rewrite
from kluis_cli.parser import Verbs, add_verb

if TYPE_CHECKING:
    from kluis.options import TagOptions
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "tag",
        "change the tags of snapshots",
        """
        kluis tag --add checked latest
        kluis tag --remove daily --host server1
        kluis tag --set yearly,books 4f2a
        """,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="these snapshots (default: all)")
    for name, what in (("set", "these alone"), ("add", "these too"), ("remove", "not these")):
        parser.add_argument(
            f"--{name}", action="append", type=tag_list, metavar="TAG[,TAG]", help=what
        )
    add_filter(parser)
    add_dry_run(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> TagOptions:
    from kluis.options import TagOptions

    if args.set is None and not args.add and not args.remove:
        raise UsageError("no tags were named; give --set, --add or --remove")
    if args.set is not None and (args.add or args.remove):
        raise UsageError("--set excludes --add and --remove; nothing was changed")
    return TagOptions(
        ids=tuple(args.ids),
        filter=filter_of(args),
        replace=None if args.set is None else flat_tags(args.set),
        add=flat_tags(args.add),
        remove=flat_tags(args.remove),
        dry_run=args.dry_run,
    )


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.open() as repository, session.context() as context:
        result = kluis.tag(repository, wanted, context)
    rewrite.show(result, session.output, "tag")
    return result.exit_status
