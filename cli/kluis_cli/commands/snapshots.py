"""`kluis snapshots`."""

from __future__ import annotations

import argparse
from functools import lru_cache
from typing import TYPE_CHECKING

from kluis_cli.arguments import add_filter, filter_of, group_by
from kluis_cli.output import Output
from kluis_cli.parser import Verbs, add_verb
from kluis_cli.records import counted, listed, printable, shown, snapshot_fields, table_rows

if TYPE_CHECKING:
    from kluis.listing import SnapshotGroup, SnapshotInfo
    from kluis.options import SnapshotsOptions
    from kluis.results import SnapshotsResult
    from kluis_cli.session import Session

TAGS_WIDTH = 40
PATHS_WIDTH = 80
"""Characters of a column; what does not fit is counted, and --json names all. The first path is
always whole."""


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "snapshots",
        "list the snapshots, oldest first",
        """
        kluis snapshots
        kluis snapshots --tag daily --host server1
        kluis snapshots --latest 1 --group-by host,paths
        kluis snapshots --forgotten
        """,
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    add_filter(parser)
    parser.add_argument("--latest", type=int, metavar="N", help="only the N newest of each group")
    parser.add_argument(
        "-g", "--group-by", type=group_by, default=(), metavar="WHAT", help="host,paths,tags"
    )
    parser.add_argument("-c", "--compact", action="store_true", help="fewer columns")
    parser.add_argument(
        "--forgotten", action="store_true", help="those that `forget --undo` can bring back"
    )
    parser.set_defaults(run=run, parser=parser)


def options(args: argparse.Namespace) -> SnapshotsOptions:
    from kluis.options import SnapshotsOptions

    return SnapshotsOptions(
        ids=tuple(args.ids),
        filter=filter_of(args),
        latest=args.latest,
        group_by=args.group_by,
        forgotten=args.forgotten,
    )


def group_title(host: str, tags: tuple[str, ...], paths: tuple[bytes, ...]) -> str:
    """What the snapshots of a group have in common; empty if that was not asked."""
    parts = [f"host {host}"] if host else []
    parts += [f"tags {', '.join(tags)}"] if tags else []
    parts += [f"paths {', '.join(shown(path) for path in paths)}"] if paths else []
    return printable("; ".join(parts))


def _cut(tag: str) -> str:
    return tag if len(tag) <= TAGS_WIDTH else f"{tag[: TAGS_WIDTH - 3]}..."


@lru_cache(1024)  # of many snapshots most are of the same
def _tags(tags: tuple[str, ...]) -> str:
    return listed([_cut(tag) for tag in tags], TAGS_WIDTH)


@lru_cache(1024)
def _paths(paths: tuple[bytes, ...]) -> str:
    return listed([shown(path) for path in paths], PATHS_WIDTH, ", ")


def _row(snapshot: SnapshotInfo, compact: bool) -> list[str]:
    from kluis.units import format_size, format_time

    marks = [*(["held"] if snapshot.held else []), *(["incomplete"] if snapshot.incomplete else [])]
    if snapshot.counted_ns is not None:
        marks.append(f"counts as of {format_time(snapshot.counted_ns)}")
    row = [snapshot.short_id, format_time(snapshot.time_ns), snapshot.host]
    row.append(_tags(snapshot.tags))
    if not compact:
        row += [_paths(snapshot.paths), format_size(snapshot.size)]
        row.append(" ".join([*marks, snapshot.description]).strip())
    return row


def _show_group(group: SnapshotGroup, output: Output, compact: bool) -> None:
    title = group_title(group.host, group.tags, group.paths)
    if title:
        output.line(f"snapshots of {title}:")
    head = ["ID", "Time", "Host", "Tags"]
    if not compact:
        head += ["Paths", "Size", "Remarks"]
    output.lines(table_rows(head, (_row(snapshot, compact) for snapshot in group.snapshots)))
    output.line(counted(len(group.snapshots), "snapshot"))


def show(result: SnapshotsResult, output: Output, compact: bool = False) -> None:
    for warning in result.warnings:
        output.warning(warning)
    for damage in result.damages:
        output.damage(damage)
    for group in result.groups:
        if output.as_json:
            for snapshot in group.snapshots:
                output.event("snapshot", snapshot_fields(snapshot), flush=False)
        elif group.snapshots:
            _show_group(group, output, compact)
    if not output.as_json and not any(group.snapshots for group in result.groups):
        output.note("no snapshots")


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis

    with session.open() as repository, session.context() as context:
        result = kluis.snapshots(repository, options(args), context)
    show(result, session.output, args.compact)
    return result.exit_status
