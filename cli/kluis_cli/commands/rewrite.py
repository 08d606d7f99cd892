"""`kluis rewrite`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis.errors import UsageError
from kluis_cli.arguments import (
    add_dry_run,
    add_excludes,
    add_filter,
    excludes_of,
    filled,
    filter_of,
    flat_tags,
    tag_list,
    text,
    unit,
)
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import counted, printable

if TYPE_CHECKING:
    from kluis.options import RewriteOptions
    from kluis.results import RewriteResult, Rewritten
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "rewrite",
        "make new snapshots from old ones, without some paths or with other words",
        """
        kluis rewrite latest --exclude '/home/ann/secret' --forget
        kluis rewrite 4f2a --new-host server2 --new-time '2026-01-31 12:00:00'
        kluis rewrite --tag daily --new-tag daily,checked --dry-run
        """,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="these snapshots (default: all)")
    add_excludes(parser)
    add_filter(parser)
    group = parser.add_argument_group("what is changed")
    group.add_argument("--new-host", type=filled, metavar="HOST", help="another host")
    group.add_argument("--new-time", type=unit("parse_time"), metavar="TIME", help="another time")
    group.add_argument(
        "--new-tag", action="append", type=tag_list, metavar="TAG[,TAG]", help="these tags alone"
    )
    group.add_argument("--new-description", type=text, metavar="TEXT", help="another remark")
    group.add_argument("--forget", action="store_true", help="forget the old snapshot")
    add_dry_run(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> RewriteOptions:
    from kluis.options import Excludes, RewriteOptions

    excludes = excludes_of(args)
    changes = (args.new_host, args.new_time, args.new_tag, args.new_description)
    if excludes == Excludes() and all(change is None for change in changes):
        raise UsageError("nothing to change was named: give --exclude, --new-host or another")
    return RewriteOptions(
        ids=tuple(args.ids),
        filter=filter_of(args),
        excludes=excludes,
        host=args.new_host,
        time_ns=args.new_time,
        tags=None if args.new_tag is None else flat_tags(args.new_tag),
        description=args.new_description,
        forget=args.forget,
        dry_run=args.dry_run,
    )


def show(result: RewriteResult, output: Output, verb: str = "rewrite", stays: bool = False) -> None:
    """`stays`: the old snapshots were not asked to be forgotten."""
    changed = 0
    for snapshot in result.snapshots:
        changed += bool(snapshot.what)
        what = ", ".join(snapshot.what)
        if output.as_json:
            fields = {"verb": verb, "dry_run": result.dry_run, "what": list(snapshot.what)}
            ids = {"old_snapshot_id": snapshot.old, "new_snapshot_id": snapshot.new}
            output.event("changed", {**fields, **ids})
        elif snapshot.what:
            output.note(printable(_sentence(snapshot, what, result.dry_run, stays)))
    if output.as_json:
        fields = {"verb": verb, "dry_run": result.dry_run, "changed_snapshots": changed}
        output.event("summary", fields)
    elif stays and changed:
        made = "would make" if result.dry_run else "made"
        output.note(
            f"{made} {counted(changed, 'new snapshot')}; the old ones stay as they are, "
            "until `kluis forget` or --forget"
        )
    else:
        output.note(
            f"{'would change' if result.dry_run else 'changed'} {counted(changed, 'snapshot')}"
        )


def _sentence(snapshot: Rewritten, what: str, dry_run: bool, stays: bool) -> str:
    if stays:
        copy = "would get a changed copy" if dry_run else f"has a changed copy {snapshot.new}"
        return f"{snapshot.old} stays and {copy}: {what}"
    return f"{snapshot.old} {'would change' if dry_run else f'is now {snapshot.new}'}: {what}"


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.open() as repository, session.context() as context:
        result = kluis.rewrite(repository, wanted, context)
    show(result, session.output, stays=not wanted.forget)
    return result.exit_status
