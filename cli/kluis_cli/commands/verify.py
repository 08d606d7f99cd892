"""`kluis verify`, also known as `kluis check`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import WENT_BACK_NEXT, counted, printable

if TYPE_CHECKING:
    from kluis.options import VerifyOptions
    from kluis.results import VerifyResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "verify",
        "check that everything stored is there and whole",
        """
        kluis verify
        kluis verify --level 1
        kluis verify --level 2 -r /mnt/disk/backup
        """,
        aliases=["check"],
    )
    parser.add_argument(
        "--level",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="0: all objects and how they fit (default); 1: every stored byte; "
        "2: every frame opened, every digest computed",
    )
    parser.add_argument(
        "--read-data", dest="level", action="store_const", const=2, help="the same as --level 2"
    )
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> VerifyOptions:
    from kluis.options import VerifyOptions

    return VerifyOptions(level=args.level)


def show(result: VerifyResult, output: Output) -> None:
    for warning in result.warnings:
        output.warning(warning)
    for damage in result.damages:
        output.damage(damage)
    for regression in result.regressions:
        if output.as_json:
            output.event("regression", {"message": regression})
        output.say(f"kluis: {printable(regression)}")
    if output.as_json:
        output.event("summary", _summary(result))
        return
    _show_text(result, output)


def _show_text(result: VerifyResult, output: Output) -> None:
    from kluis.units import format_elapsed, format_size, format_time

    checked = (
        counted(result.snapshots, "snapshot"),
        counted(result.packs, "pack"),
        counted(result.segments, "segment"),
        counted(result.records, "ledger record"),
    )
    output.note(f"checked {', '.join(checked)} in {format_elapsed(result.duration_seconds)}")
    if result.bytes_read:
        output.note(f"read {format_size(result.bytes_read)}, opened {result.frames} frames")
    if result.oldest_read_ns is not None:
        output.note(f"every byte was last read on {format_time(result.oldest_read_ns)} or later")
    elif result.bytes_never_read and result.bytes_read:
        reason = "there is damage" if result.damages else "the repository cannot be written now"
        output.note(f"this reading is not noted in the repository, as {reason}")
    elif result.bytes_never_read:
        never = format_size(result.bytes_never_read)
        output.note(f"{never} were never read since they were stored; `kluis verify --level 1`")
    if result.exit_status == 0:
        output.note("no damage")
        return
    if result.damages:
        objects = counted(len(result.damages), "object")
        lost = len({path for damage in result.damages for path in damage.files})
        loss = f"{counted(lost, 'file')} lost" if lost else "no file is lost"
        repairable = any("kluis repair" in damage.next_command for damage in result.damages)
        step = "`kluis repair`" if repairable else "what is said at each of them above"
        output.say(f"kluis: damage in {objects}, {loss}; next: {step}")
    if result.regressions:
        also = "this store also went back" if result.damages else "no damage, but it went back"
        output.say(f"kluis: {also}; {WENT_BACK_NEXT}")


def _summary(result: VerifyResult) -> dict[str, object]:
    from kluis.units import format_rfc3339

    oldest = result.oldest_read_ns
    return {
        "verb": "verify",
        "level": result.level,
        "damage_count": len(result.damages),
        "regression_count": len(result.regressions),
        "snapshots": result.snapshots,
        "packs": result.packs,
        "segments": result.segments,
        "records": result.records,
        "frames": result.frames,
        "objects": result.objects,
        "files": result.files,
        "bytes_read": result.bytes_read,
        "bytes_never_read": result.bytes_never_read,
        "oldest_read": None if oldest is None else format_rfc3339(oldest),
        "total_duration": result.duration_seconds,
        "exit_status": result.exit_status,
    }


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.open() as repository, session.context() as context:
        result = kluis.verify(repository, options(args), context)
    show(result, session.output)
    return result.exit_status
