"""`kluis forget`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kluis.errors import UsageError
from kluis_cli.arguments import (
    add_dry_run,
    add_filter,
    add_prune_limits,
    count,
    filter_of,
    group_by,
    prune_options_of,
    tag_list,
    unit,
)
from kluis_cli.commands import prune
from kluis_cli.commands.snapshots import group_title
from kluis_cli.output import Output
from kluis_cli.parser import Parser, Verbs, add_verb
from kluis_cli.records import counted, names_fields, shown, snapshot_fields, table_rows

if TYPE_CHECKING:
    from kluis.options import ForgetOptions, KeepPolicy
    from kluis.results import ForgetChoice, ForgetGroup, ForgetResult
    from kluis_cli.session import Session

PERIODS = (
    ("last", "l"),
    ("hourly", "H"),
    ("daily", "d"),
    ("weekly", "w"),
    ("monthly", "m"),
    ("yearly", "y"),
)
"""Each with its short flag."""


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "forget",
        "remove snapshots, by name or by a policy",
        """
        kluis forget 4f2a 91bc
        kluis forget --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --prune
        kluis forget --keep-within 1y --keep-tag important --dry-run
        kluis forget --undo 4f2a
        """,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="forget these")
    parser.add_argument("--undo", action="append", metavar="ID", help="bring this one back")
    add_dry_run(parser)
    _add_policy(parser)
    add_filter(parser, short_host=None)
    parser.add_argument("--prune", action="store_true", help="give the room back at once")
    add_prune_limits(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_policy(parser: Parser) -> None:
    group = parser.add_argument_group("what a policy keeps (N may be `unlimited`)")
    for period, letter in PERIODS:
        what = "the newest" if period == "last" else f"the newest of each of N {period} periods"
        group.add_argument(
            f"-{letter}", f"--keep-{period}", type=count, default=0, metavar="N", help=what
        )
    span = unit("parse_span")
    group.add_argument(
        "--keep-within", type=span, metavar="SPAN", help="all of the last, such as 1y6m7d12h"
    )
    for period, _ in PERIODS[1:]:
        group.add_argument(
            f"--keep-within-{period}", type=span, metavar="SPAN", help=f"{period} ones of the last"
        )
    group.add_argument(
        "--keep-tag", action="append", type=tag_list, metavar="TAG[,TAG]", help="with these tags"
    )
    group.add_argument(
        "-g",
        "--group-by",
        type=group_by,
        default=("host", "paths"),
        metavar="WHAT",
        help="apply the policy to each group alike in host,paths,tags (default: host,paths)",
    )
    group.add_argument(
        "--unsafe-allow-remove-all", action="store_true", help="keep none of what is chosen"
    )
    group.add_argument("-c", "--compact", action="store_true", help="fewer columns")


def _policy(args: argparse.Namespace) -> KeepPolicy:
    from dataclasses import fields

    from kluis.options import KeepPolicy
    from kluis.units import CalendarSpan

    values = vars(args)
    found = {
        field.name: values[f"keep_{field.name}"]
        for field in fields(KeepPolicy)
        if field.name != "tags"
    }
    found = {name: None if value == CalendarSpan() else value for name, value in found.items()}
    return KeepPolicy(**found, tags=tuple(args.keep_tag or ()))


def options(args: argparse.Namespace) -> ForgetOptions:
    from kluis.options import ForgetOptions, KeepPolicy

    policy = _policy(args)
    ways = [bool(args.ids), policy != KeepPolicy() or args.unsafe_allow_remove_all, bool(args.undo)]
    if not any(ways):
        raise UsageError("nothing was chosen: name snapshots, or a policy such as --keep-daily 7")
    if sum(ways) > 1:
        raise UsageError("snapshots by name, a policy and --undo exclude each other")
    if args.undo and args.prune:
        raise UsageError("--undo and --prune exclude each other; nothing was changed")
    chosen = filter_of(args)
    if (
        args.unsafe_allow_remove_all
        and policy == KeepPolicy()
        and not any((chosen.hosts, chosen.tags, chosen.paths))
    ):
        raise UsageError("--unsafe-allow-remove-all needs --host, --tag or --path")
    return ForgetOptions(
        ids=tuple(args.ids),
        policy=policy,
        filter=chosen,
        group_by=args.group_by,
        undo=tuple(args.undo or ()),
        prune=prune_options_of(args) if args.prune else None,
        dry_run=args.dry_run,
        allow_remove_all=args.unsafe_allow_remove_all,
    )


def _choice_fields(choice: ForgetChoice) -> dict[str, Any]:
    return {**snapshot_fields(choice.snapshot), "reasons": list(choice.reasons)}


def _group_fields(group: ForgetGroup, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "host": group.host,
        "tags": list(group.tags),
        **names_fields("paths", group.paths),
        "keep": [_choice_fields(choice) for choice in group.keep],
        "remove": [_choice_fields(choice) for choice in group.remove],
    }


def _show_group(group: ForgetGroup, output: Output, dry_run: bool, compact: bool) -> None:
    from kluis.units import format_time

    title = group_title(group.host, group.tags, group.paths)
    if title:
        output.note(f"snapshots of {title}:")
    would = "would remove" if dry_run else "remove"
    for word, choices in (("keep", group.keep), (would, group.remove)):
        if not choices:
            continue
        output.note(f"{word} {counted(len(choices), 'snapshot')}:")
        head = ["ID", "Time", "Host", "Tags", "Reasons", "Paths"][: 5 if compact else 6]
        rows = []
        for choice in choices:
            snapshot = choice.snapshot
            row = [snapshot.short_id, format_time(snapshot.time_ns), snapshot.host]
            reasons = list(choice.reasons)
            if snapshot.counted_ns is not None:
                reasons.append(f"counts as of {format_time(snapshot.counted_ns)}")
            row += [",".join(snapshot.tags), ", ".join(reasons)]
            row += [] if compact else [", ".join(shown(path) for path in snapshot.paths)]
            rows.append(row)
        for line in table_rows(head, rows):
            output.note(line)


def show(result: ForgetResult, output: Output, compact: bool = False, undo: bool = False) -> None:
    for warning in result.warnings:
        output.warning(warning)
    for group in result.groups:
        if output.as_json:
            output.event("forget", _group_fields(group, result.dry_run))
        else:
            _show_group(group, output, result.dry_run, compact)
    if output.as_json:
        done = {"forgotten": list(result.forgotten), "undone": list(result.undone)}
        flags = {"dry_run": result.dry_run, "can_undo": result.can_undo}
        output.event("summary", {"verb": "forget", **done, **flags})
    elif undo or result.undone:
        verb = "would bring back" if result.dry_run else "brought back"
        output.note(f"{verb} {', '.join(result.undone) or 'no snapshot'}")
    else:
        _show_done(result, output)
    if result.prune is not None:
        prune.show(result.prune, output)


def _show_done(result: ForgetResult, output: Output) -> None:
    verb = "would forget" if result.dry_run else "forgot"
    output.note(f"{verb} {counted(len(result.forgotten), 'snapshot')}")
    if result.forgotten and result.can_undo and not result.dry_run and result.prune is None:
        output.note("`kluis forget --undo ID` brings one back until `kluis prune` has run")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.open() as repository, session.context() as context:
        result = kluis.forget(repository, wanted, context)
    show(result, session.output, args.compact, bool(wanted.undo))
    return result.exit_status
