"""`kluis prune`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.arguments import add_dry_run, add_prune_limits, prune_options_of
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import counted

if TYPE_CHECKING:
    from kluis.results import PrunePlan, PruneResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "prune",
        "remove what no snapshot needs any more",
        """
        kluis prune
        kluis prune --dry-run
        kluis prune --max-unused 5% --max-repack 10G
        """,
    )
    add_dry_run(parser)
    add_prune_limits(parser)
    parser.set_defaults(run=run, parser=parser)


def show(result: PruneResult, output: Output) -> None:
    for warning in result.warnings:
        output.warning(warning)
    if output.as_json:
        output.event("prune", _fields(result))
        return
    _show_plan(result.plan, output, "would " if result.dry_run else "")


def _show_plan(plan: PrunePlan, output: Output, would: str) -> None:
    from kluis.units import format_size

    output.note(
        f"in use: {format_size(plan.bytes_used)} of {format_size(plan.bytes_total)} "
        f"in {counted(plan.packs_total, 'pack')}; unused: {format_size(plan.bytes_unused)}"
    )
    verb, moved = ("would remove", "move") if would else ("removed", "moved")
    output.note(
        f"{verb} {counted(plan.packs_removed, 'pack')}, {moved} {format_size(plan.bytes_moved)} "
        f"out of {counted(plan.packs_moved, 'pack')}, {'free' if would else 'freed'} "
        f"{format_size(plan.bytes_freed)}; unused after: {format_size(plan.bytes_unused_after)}"
    )
    if plan.snapshots_doomed:
        doomed = counted(len(plan.snapshots_doomed), "forgotten snapshot")
        output.note(f"{verb} {doomed} for good")
    if plan.snapshots_waiting:
        waiting = ", ".join(plan.snapshots_waiting)
        output.note(f"`kluis forget --undo` can still bring back {waiting}; --now does not wait")
    if plan.runs_open:
        output.note(
            f"{counted(plan.runs_open, 'run')} may still be going on; what they stored stays"
        )


def _fields(result: PruneResult) -> dict[str, object]:
    plan = result.plan
    return {
        "dry_run": result.dry_run,
        "bytes_total": plan.bytes_total,
        "bytes_used": plan.bytes_used,
        "bytes_unused": plan.bytes_unused,
        "bytes_moved": plan.bytes_moved,
        "bytes_freed": plan.bytes_freed,
        "bytes_unused_after": plan.bytes_unused_after,
        "packs_total": plan.packs_total,
        "packs_kept": plan.packs_kept,
        "packs_removed": plan.packs_removed,
        "packs_moved": plan.packs_moved,
        "snapshots_removed": list(plan.snapshots_doomed),
        "snapshots_waiting": list(plan.snapshots_waiting),
        "runs_ended": plan.runs_ended,
        "runs_open": plan.runs_open,
        "segments_merged": plan.segments_merged,
        "records_merged": plan.records_merged,
        "total_duration": result.duration_seconds,
    }


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.open() as repository, session.context() as context:
        result = kluis.prune(repository, prune_options_of(args), context)
    show(result, session.output)
    return result.exit_status
