"""`kluis repair`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kluis_cli.arguments import add_dry_run, raw
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import counted, printable

if TYPE_CHECKING:
    from kluis.options import RepairOptions
    from kluis.results import RepairResult
    from kluis_cli.session import Session


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "repair",
        "bring back what is damaged, from parity, second copies and the index",
        """
        kluis repair
        kluis repair --dry-run
        """,
    )
    parser.add_argument(
        "--from", dest="stores", action="append", metavar="REPO", help="another copy of the vault"
    )
    parser.add_argument(
        "--from-source", action="append", metavar="PATH", help="the live files themselves"
    )
    add_dry_run(parser)
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> RepairOptions:
    from kluis.options import RepairOptions

    return RepairOptions(
        stores=tuple(args.stores or ()),
        source_paths=raw(args.from_source),
        dry_run=args.dry_run,
    )


def show(result: RepairResult, output: Output) -> None:
    would = "would heal" if result.dry_run else "healed"
    for healed in result.healed:
        if output.as_json:
            output.event("healed", {"object": healed.object, "source": healed.source}, flush=False)
        else:
            output.line(printable(f"{would} {healed.object} from {healed.source}"))
    for damage in result.unhealed:
        output.damage(damage)
    if output.as_json:
        counts = {"healed": len(result.healed), "unhealed": len(result.unhealed)}
        times = {"dry_run": result.dry_run, "total_duration": result.duration_seconds}
        exit_status = {"exit_status": result.exit_status}
        output.event("summary", {"verb": "repair", **counts, **times, **exit_status})
    elif result.unhealed:
        output.say(f"kluis: still damaged: {counted(len(result.unhealed), 'object')}")
    elif not result.healed:
        output.note("nothing is damaged")
    else:
        output.note(f"{would} {counted(len(result.healed), 'object')}; nothing else is damaged")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.open() as repository, session.context() as context:
        result = kluis.repair(repository, options(args), context)
    show(result, session.output)
    return result.exit_status
