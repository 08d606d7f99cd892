"""`kluis restore`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from kluis.errors import UsageError
from kluis_cli import inputs
from kluis_cli.arguments import add_dry_run, add_filter, filter_of, split_snapshot
from kluis_cli.output import Output
from kluis_cli.parser import Parser, Verbs, add_verb
from kluis_cli.records import counted, name_fields, shown

if TYPE_CHECKING:
    from kluis.options import RestoreOptions
    from kluis.results import RestoreResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "restore",
        "write files of a snapshot back",
        """
        kluis restore latest --target /tmp/back
        kluis restore 4f2a:/home/ann/Documents --target /home/ann/Documents
        kluis restore latest --target /tmp/back --include '*.odt' --dry-run -v
        kluis restore latest --in-place --overwrite if-changed
        """,
    )
    parser.add_argument("snapshot", metavar="ID[:PATH]", help="a snapshot, latest or latest~1")
    parser.add_argument("-t", "--target", metavar="DIR", help="where to write; is made if missing")
    parser.add_argument(
        "--in-place", action="store_true", help="write each file where it came from"
    )
    _add_choice(parser)
    add_filter(parser)
    _add_how(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_choice(parser: Parser) -> None:
    group = parser.add_argument_group("what is restored")
    for letter, verb in (("-i", "include"), ("-e", "exclude")):
        what = "only what matches" if verb == "include" else "all but what matches"
        group.add_argument(letter, f"--{verb}", action="append", metavar="PATTERN", help=what)
        group.add_argument(
            f"--i{verb}", action="append", metavar="PATTERN", help="in any case of letters"
        )
        group.add_argument(
            f"--{verb}-file", action="append", metavar="FILE", help="patterns, one a line"
        )
        group.add_argument(
            f"--i{verb}-file", action="append", metavar="FILE", help="in any case of letters"
        )


def _add_how(parser: Parser) -> None:
    group = parser.add_argument_group("how")
    add_dry_run(parser)
    group.add_argument(
        "--overwrite",
        choices=("always", "if-changed", "if-newer", "never"),
        default="always",
        help="what happens to a file that is there (default: always)",
    )
    group.add_argument(
        "--delete", action="store_true", help="delete what the snapshot does not have"
    )
    group.add_argument("--verify", action="store_true", help="read back all that was written")
    group.add_argument("--sparse", action="store_true", help="write runs of zeros as holes")
    group.add_argument("--numeric-owner", action="store_true", help="owners by number, not by name")
    group.add_argument(
        "--privileged", action="store_true", help="also device nodes and setuid, setgid bits"
    )


def options(args: argparse.Namespace) -> RestoreOptions:
    from kluis.options import RestoreOptions

    if args.target is None and not args.in_place:
        raise UsageError("where to? give --target DIR, or --in-place; nothing was written")
    if args.target is not None and args.in_place:
        raise UsageError("--target and --in-place exclude each other; nothing was written")
    if args.target == "":
        raise UsageError("--target names no folder; nothing was written")
    snapshot, path = split_snapshot(args.snapshot)
    return RestoreOptions(
        snapshot=snapshot,
        path=path,
        target=None if args.target is None else os.fsencode(args.target),
        in_place=args.in_place,
        filter=filter_of(args),
        include=inputs.patterns(args.include, args.include_file),
        include_any_case=inputs.patterns(args.iinclude, args.iinclude_file),
        exclude=inputs.patterns(args.exclude, args.exclude_file),
        exclude_any_case=inputs.patterns(args.iexclude, args.iexclude_file),
        overwrite=args.overwrite,
        delete=args.delete,
        dry_run=args.dry_run,
        verify=args.verify,
        sparse=args.sparse,
        numeric_owner=args.numeric_owner,
        privileged=args.privileged,
    )


def _is_nothing(result: RestoreResult) -> bool:
    written = result.dirs_restored or result.others_restored or result.deleted
    return not (result.files_total or written or result.problems or result.damages)


def show(result: RestoreResult, output: Output) -> None:
    for problem in result.problems:
        output.problem(problem)
    for damage in result.damages:
        output.damage(damage)
    if output.as_json:
        output.event("summary", _summary(result))
        return
    _show_text(result, output)


def _show_text(result: RestoreResult, output: Output) -> None:
    from kluis.units import format_elapsed, format_size

    verb = "would restore" if result.dry_run else "restored"
    output.note(
        f"{verb} {counted(result.files_restored, 'file')}, "
        f"{counted(result.dirs_restored, 'folder')}, {counted(result.others_restored, 'other')}, "
        f"{format_size(result.bytes_restored)}, "
        f"to {shown(result.target)} in {format_elapsed(result.duration_seconds)}"
    )
    rest = (
        (result.files_unchanged, "were there already"),
        (result.files_skipped, "were there and left alone"),
        (result.deleted, "would be deleted" if result.dry_run else "deleted"),
        (result.files_verified, "read back and right"),
    )
    for number, words in rest:
        if number:
            output.note(f"{number} {words}")
    if result.problems:
        output.say(
            f"kluis: {counted(len(result.problems), 'problem')}, each named above; "
            "all else is restored as it was"
        )
    if result.damages:
        lost = len({path for damage in result.damages for path in damage.files})
        output.say(
            f"kluis: lost in the repository: {counted(lost, 'file')}; all others are restored"
        )


def _summary(result: RestoreResult) -> dict[str, object]:
    return {
        "verb": "restore",
        "snapshot_id": result.snapshot_id,
        **name_fields("target", result.target),
        "dry_run": result.dry_run,
        "total_files": result.files_total,
        "files_restored": result.files_restored,
        "files_unchanged": result.files_unchanged,
        "files_skipped": result.files_skipped,
        "files_deleted": result.deleted,
        "files_verified": result.files_verified,
        "dirs_restored": result.dirs_restored,
        "others_restored": result.others_restored,
        "total_bytes": result.bytes_total,
        "bytes_restored": result.bytes_restored,
        "total_duration": result.duration_seconds,
        "error_count": len(result.problems),
        "damage_count": len(result.damages),
        "exit_status": result.exit_status,
    }


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis
    from kluis_cli.memory import keep_freed_buffers

    wanted = options(args)
    keep_freed_buffers()
    with session.open() as repository:
        listed = wanted.dry_run and session.output.verbosity > 0
        with session.context(each_file=listed) as context:
            result = kluis.restore(repository, wanted, context)
    if (wanted.include or wanted.include_any_case) and _is_nothing(result):
        session.output.warning(
            f"nothing was {'found' if wanted.dry_run else 'written'}: nothing in the snapshot "
            "matches --include, or all that does is there already. Next: "
            f"`kluis ls {args.snapshot}` shows its names",
            "no_match",
        )
    show(result, session.output)
    return result.exit_status
