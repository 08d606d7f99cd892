"""`kluis backup`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kluis.errors import UsageError
from kluis_cli import inputs
from kluis_cli.arguments import (
    add_dry_run,
    add_excludes,
    excludes_of,
    filled,
    flat_tags,
    raw,
    tag_list,
    text,
    unit,
)
from kluis_cli.hooks import around
from kluis_cli.output import Output
from kluis_cli.parser import Parser, Verbs, add_verb
from kluis_cli.records import counted, is_changed, is_incomplete

if TYPE_CHECKING:
    from kluis.options import BackupOptions, StdinSource
    from kluis.results import BackupResult
    from kluis_cli.session import Session

LEVELS = {"off": 0, "auto": 3, "fast": 1, "better": 9, "max": 19}
"""zstd levels; `auto` also looks whether data gives way at all."""

MAX_LEVEL = 22


def compression(word: str) -> Any:
    """An argparse type: a word, or a zstd level."""
    from kluis.options import Compression

    if word in LEVELS:
        return Compression(level=LEVELS[word], probe=word != "max")
    if word.isascii() and word.isdigit() and int(word) <= MAX_LEVEL:
        return Compression(level=int(word))
    raise argparse.ArgumentTypeError(
        f"{word!r} is no compression; write {', '.join(LEVELS)} or a level from 0 to {MAX_LEVEL}"
    )


def chunker(word: str) -> Any:
    """An argparse type: `default`, `large` or `fixed:SIZE`."""
    from kluis.options import FIXED_CHUNK_BYTES, Chunker

    if word == "default":
        return Chunker()
    if word == "large":
        return Chunker(name="large")
    name, _, size = word.partition(":")
    if name != "fixed" or not size:
        raise argparse.ArgumentTypeError(
            f"{word!r} is no chunker; write default, large or fixed:SIZE, such as fixed:16K"
        )
    fixed_bytes: int = unit("parse_size")(size)
    if fixed_bytes not in FIXED_CHUNK_BYTES:
        raise argparse.ArgumentTypeError(
            f"{word!r}: chunks of a fixed size have {FIXED_CHUNK_BYTES[0]} bytes at least and "
            f"{FIXED_CHUNK_BYTES[-1] >> 20}M at most"
        )
    return Chunker(name="fixed", fixed_bytes=fixed_bytes)


def add(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "backup",
        "store files and folders as a new snapshot",
        """
        kluis backup -r /mnt/disk/backup ~/Documents ~/Pictures
        kluis backup ~ --exclude '*.tmp' --exclude-caches -x --tag daily
        kluis backup -p office --dry-run -v
        kluis backup --stdin-filename books.sql --stdin-from-command -- pg_dump books
        """,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="what to back up")
    _add_source(parser)
    add_excludes(parser)
    _add_more_excludes(parser)
    _add_snapshot(parser)
    _add_how(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_source(parser: Parser) -> None:
    group = parser.add_argument_group("what is backed up")
    group.add_argument(
        "--files-from", action="append", metavar="FILE", help="paths or patterns, one a line"
    )
    group.add_argument(
        "--files-from-verbatim", action="append", metavar="FILE", help="paths, one a line, as is"
    )
    group.add_argument(
        "--files-from-raw",
        "--files-from0",
        action="append",
        metavar="FILE",
        help="paths, each ended by a NUL (find -print0)",
    )
    group.add_argument(
        "-x", "--one-file-system", action="store_true", help="do not go into other file systems"
    )
    group.add_argument("--stdin", action="store_true", help="back up standard input as a file")
    group.add_argument(
        "--stdin-filename", metavar="NAME", help="the name of that file (default: stdin)"
    )
    group.add_argument(
        "--stdin-from-command",
        action="store_true",
        help="back up what the command behind -- prints; if it fails there is no snapshot",
    )


def _add_more_excludes(parser: Parser) -> None:
    group = parser.add_argument_group("more that is left out")
    group.add_argument(
        "--exclude-caches", action="store_true", help="folders with a CACHEDIR.TAG, but the tag"
    )
    group.add_argument(
        "--exclude-if-present",
        action="append",
        metavar="NAME[:HEADER]",
        help="folders that hold this file, but the file",
    )
    group.add_argument(
        "--exclude-larger-than", type=unit("parse_size"), metavar="SIZE", help="larger files"
    )
    group.add_argument(
        "--exclude-nodump", action="store_true", help="files with the no-dump attribute (chattr +d)"
    )
    group.add_argument(
        "--gitignore", action="store_true", help="what the .gitignore files in the folders name"
    )


def _add_snapshot(parser: Parser) -> None:
    group = parser.add_argument_group("what the snapshot says")
    group.add_argument(
        "--tag", action="append", type=tag_list, metavar="TAG[,TAG]", help="a tag; may be repeated"
    )
    group.add_argument("-H", "--host", type=filled, metavar="HOST", help="instead of this host")
    group.add_argument("--description", type=text, default="", metavar="TEXT", help="a remark")
    group.add_argument(
        "--dataset", type=text, default="", metavar="NAME", help="the data set that this is"
    )
    group.add_argument(
        "--time",
        type=unit("parse_time"),
        metavar="TIME",
        help="instead of now: 2026-01-31 12:00:00",
    )


def _add_how(parser: Parser) -> None:
    group = parser.add_argument_group("how")
    add_dry_run(parser)
    group.add_argument("-f", "--force", action="store_true", help="read every file again")
    group.add_argument("--parent", metavar="ID", help="compare with this snapshot")
    group.add_argument(
        "--reread",
        type=unit("parse_share"),
        default=0.0,
        metavar="SHARE",
        help="read a rotating share of the unchanged files again, such as 3%%",
    )
    group.add_argument(
        "--compression",
        type=compression,
        metavar="HOW",
        help="auto (default), off, fast, better, max, or a zstd level",
    )
    group.add_argument(
        "--chunker", type=chunker, metavar="HOW", help="default, large or fixed:SIZE"
    )


def _stdin(args: argparse.Namespace) -> StdinSource | None:
    from kluis.options import StdinSource

    if not (args.stdin or args.stdin_from_command):
        if args.stdin_filename:
            raise UsageError("--stdin-filename needs --stdin or --stdin-from-command")
        return None
    filename = os.fsencode(args.stdin_filename or "stdin")
    if args.stdin_from_command:
        if not args.paths:
            raise UsageError("--stdin-from-command needs a command: -- COMMAND [WORD...]")
        return StdinSource(filename=filename, command=raw(args.paths))
    if args.paths:
        raise UsageError("--stdin and paths exclude each other; nothing was backed up")
    return StdinSource(filename=filename)


def _paths(args: argparse.Namespace) -> tuple[bytes, ...]:
    found = inputs.paths(args.paths, args.files_from, args.files_from_verbatim, args.files_from_raw)
    listed = args.files_from or args.files_from_verbatim or args.files_from_raw
    if not found and not listed:
        found = raw(getattr(args, "profile_paths", ()))
    if not found:
        raise UsageError("nothing to back up was named; give a path, --files-from or --stdin")
    return found


def options(args: argparse.Namespace) -> BackupOptions:
    from kluis.options import BackupOptions, Chunker, Compression

    stdin = _stdin(args)
    return BackupOptions(
        paths=() if stdin else _paths(args),
        excludes=excludes_of(args),
        one_file_system=args.one_file_system,
        stdin=stdin,
        tags=flat_tags(args.tag),
        host=args.host,
        description=args.description,
        time_ns=args.time,
        dry_run=args.dry_run,
        reread_share=args.reread,
        compression=args.compression or Compression(),
        chunker=args.chunker or Chunker(),
        parent=args.parent,
        force=args.force,
        dataset=args.dataset,
    )


def show(result: BackupResult, output: Output) -> None:
    for problem in result.problems:
        output.problem(problem)
    for warning in result.warnings:
        output.warning(warning)
    if output.as_json:
        output.event("summary", _summary(result))
        return
    _show_text(result, output)


def _show_text(result: BackupResult, output: Output) -> None:
    from kluis.units import format_elapsed, format_size

    files = result.files_new + result.files_changed + result.files_unmodified
    output.note(
        f"Files: {result.files_new} new, {result.files_changed} changed, "
        f"{result.files_unmodified} unmodified"
    )
    output.note(
        f"Dirs:  {result.dirs_new} new, {result.dirs_changed} changed, "
        f"{result.dirs_unmodified} unmodified"
    )
    verb = "Would add" if result.dry_run else "Added"
    output.note(
        f"{verb} to the repository: {format_size(result.bytes_added_plain)} of new data, stored as "
        f"{format_size(result.bytes_added)} with parity and padding"
    )
    output.note(
        f"processed {counted(files, 'file')}, {format_size(result.bytes_total)} "
        f"in {format_elapsed(result.duration_seconds)}"
    )
    if result.snapshot_id:
        output.note(f"snapshot {result.short_id or result.snapshot_id} saved")
    for sentence in _problem_sentences(result):
        output.say(f"kluis: {sentence}")


def _problem_sentences(result: BackupResult) -> Iterator[str]:
    """What the problems mean for the snapshot, a sentence for each kind."""
    changed = sum(map(is_changed, result.problems))
    partial = sum(map(is_incomplete, result.problems))
    unread = len(result.problems) - changed - partial
    if unread:
        yield (
            f"could not read {counted(unread, 'item')}, each named above; "
            "all others are in the snapshot"
        )
    if partial:
        yield (
            f"could not read {counted(partial, 'attribute')}, each named above; "
            "the files are in the snapshot without them"
        )
    if changed:
        yield (
            f"{counted(changed, 'file')} changed while being read, each named above and in the "
            "snapshot, perhaps mixed; next: run the backup again when they rest"
        )


def _summary(result: BackupResult) -> dict[str, Any]:
    from kluis.units import format_rfc3339

    return {
        "verb": "backup",
        "snapshot_id": result.snapshot_id,
        "parent": result.parent,
        "time": format_rfc3339(result.time_ns),
        "dry_run": result.dry_run,
        "files_new": result.files_new,
        "files_changed": result.files_changed,
        "files_unmodified": result.files_unmodified,
        "dirs_new": result.dirs_new,
        "dirs_changed": result.dirs_changed,
        "dirs_unmodified": result.dirs_unmodified,
        "data_read": result.bytes_read,
        "data_added": result.bytes_added_plain,
        "data_added_packed": result.bytes_added,
        "total_files_processed": result.files_new + result.files_changed + result.files_unmodified,
        "total_bytes_processed": result.bytes_total,
        "total_duration": result.duration_seconds,
        "error_count": len(result.problems),
        "exit_status": result.exit_status,
    }


def run(args: argparse.Namespace, session: Session) -> int:
    import kluis
    from kluis_cli.memory import keep_freed_buffers

    wanted = options(args)
    keep_freed_buffers()

    def back_up() -> int:
        with session.open() as repository:
            listed = wanted.dry_run and session.output.verbosity > 0
            with session.context(each_file=listed) as context:
                result = kluis.backup(repository, wanted, context)
        show(result, session.output)
        return result.exit_status

    hooks = None if wanted.dry_run else getattr(args, "hooks", None)  # a trial stops no service
    return around(back_up, hooks, session.output)
