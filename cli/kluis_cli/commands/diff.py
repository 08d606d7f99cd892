"""`kluis diff`."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from kluis_cli.arguments import split_snapshot
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import name_fields, shown

if TYPE_CHECKING:
    from kluis.listing import DiffChange
    from kluis.options import DiffOptions
    from kluis.results import DiffResult
    from kluis_cli.session import Session

MARKS = {"added": "+", "removed": "-", "content": "M", "type": "T", "metadata": "U"}
"""As restic marks them."""

WORDS = {**{name: name for name in MARKS}, "content": "changed", "type": "of another kind"}
"""What a count of them is called."""


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "diff",
        "show what differs between two snapshots",
        """
        kluis diff latest~1 latest
        kluis diff 4f2a 91bc --metadata
        kluis diff 4f2a:/home/ann 91bc:/home/ann
        """,
    )
    parser.add_argument("first", metavar="ID[:PATH]", help="the older snapshot")
    parser.add_argument("second", metavar="ID[:PATH]", help="the newer snapshot")
    parser.add_argument(
        "--metadata", action="store_true", help="also name what differs in mode, owner or times"
    )
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> DiffOptions:
    from kluis.options import DiffOptions

    first, first_path = split_snapshot(args.first)
    second, second_path = split_snapshot(args.second)
    return DiffOptions(
        first=first,
        second=second,
        first_path=first_path,
        second_path=second_path,
        metadata=args.metadata,
    )


def _fields(change: DiffChange) -> dict[str, object]:
    sides = {"old": change.old, "new": change.new}
    kinds = {f"{side}_type": entry.kind for side, entry in sides.items() if entry is not None}
    sizes = {f"{side}_size": entry.size for side, entry in sides.items() if entry is not None}
    modifier = {"modifier": MARKS[change.change], "change": change.change}
    return {**modifier, **name_fields("path", change.path), **kinds, **sizes}


def show(result: DiffResult, output: Output) -> None:
    counts: Counter[str] = Counter()
    for change in result.changes:
        if output.closed:
            return
        counts[change.change] += 1
        if output.as_json:
            output.event("change", _fields(change), flush=False)
        else:
            output.line(f"{MARKS[change.change]:<4} {shown(change.path)}")
    if output.as_json:
        snapshots = {"source_snapshot": result.first.id, "target_snapshot": result.second.id}
        totals = {name: counts[name] for name in MARKS}
        output.event("statistics", {**snapshots, **totals})
    else:
        output.note(
            ", ".join(f"{counts[name]} {WORDS[name]}" for name in MARKS if counts[name]) or "same"
        )


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    wanted = options(args)
    with session.open() as repository, session.context() as context:
        result = kluis.diff(repository, wanted, context)
        show(result, session.output)
    return result.exit_status
