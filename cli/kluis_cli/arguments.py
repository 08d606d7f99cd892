"""Groups of flags that several verbs share, and the options that they become."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kluis.errors import UsageError

if TYPE_CHECKING:
    from kluis.options import Excludes, GroupKey, PruneOptions, SnapshotFilter


def unit(parse_name: str) -> Callable[[str], Any]:
    """An argparse type: `kluis.units.<parse_name>`, imported when a value is there to parse."""

    def parse(text: str) -> Any:
        from kluis import units

        try:
            return getattr(units, parse_name)(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def text(value: str) -> str:
    """An argparse type: text that is stored, hence valid Unicode."""
    try:
        value.encode()
    except UnicodeEncodeError:
        name = os.fsencode(value).decode("utf-8", "backslashreplace")
        raise argparse.ArgumentTypeError(f"{name} is not UTF-8") from None
    return value


def filled(value: str) -> str:
    """An argparse type: text that says something."""
    if not value.strip():
        raise argparse.ArgumentTypeError("it is empty; leave the flag out, or name something")
    return text(value)


def count(value: str) -> int:
    """An argparse type: how many to keep; `unlimited` and -1 keep all."""
    from kluis.options import UNLIMITED_COUNT

    if value in ("unlimited", "-1"):
        return UNLIMITED_COUNT
    if not value.isascii() or not value.isdigit():
        raise argparse.ArgumentTypeError(f"{value!r} is no count; write a number or `unlimited`")
    return int(value)


def tag_list(value: str) -> tuple[str, ...]:
    """An argparse type: tags between commas."""
    return tuple(part.strip() for part in text(value).split(","))


def flat_tags(groups: Iterable[tuple[str, ...]] | None) -> tuple[str, ...]:
    """Each tag once, in the order given."""
    return tuple(dict.fromkeys(tag for group in groups or () for tag in group if tag))


def raw(paths: Iterable[str] | None) -> tuple[bytes, ...]:
    """Names as the bytes that the shell handed over."""
    return tuple(os.fsencode(path) for path in paths or ())


def split_snapshot(words: str) -> tuple[str, bytes]:
    """The snapshot and the path of `ID[:path]`."""
    snapshot, _, path = words.partition(":")
    if not snapshot:
        raise UsageError(f"{words!r} names no snapshot; write ID, latest, latest~1 or ID:/path")
    return snapshot, os.fsencode(path)


def add_filter(parser: argparse.ArgumentParser, short_host: str | None = "-H") -> None:
    """Adds what narrows the choice of snapshots."""
    group = parser.add_argument_group("which snapshots")
    names = (short_host, "--host") if short_host else ("--host",)
    group.add_argument(*names, action="append", metavar="HOST", help="only of this host")
    group.add_argument(
        "--tag",
        action="append",
        type=tag_list,
        metavar="TAG[,TAG]",
        help="only with all these tags; repeated: any",
    )
    group.add_argument("--path", action="append", metavar="PATH", help="only with this path in it")


def filter_of(args: argparse.Namespace) -> SnapshotFilter:
    """What `add_filter` gathered."""
    from kluis.options import SnapshotFilter

    return SnapshotFilter(
        hosts=tuple(args.host or ()),
        tags=tuple(args.tag or ()),
        paths=tuple(os.path.abspath(path) for path in raw(args.path)),
    )


def add_excludes(parser: argparse.ArgumentParser) -> None:
    """Adds the patterns that `rewrite` and `backup` share."""
    group = parser.add_argument_group("what is left out")

    def add(*names: str, metavar: str, explained: str) -> None:
        group.add_argument(*names, action="append", metavar=metavar, help=explained)

    add("-e", "--exclude", metavar="PATTERN", explained="leave out what matches")
    add("--iexclude", metavar="PATTERN", explained="the same, in any case of letters")
    add("--exclude-file", metavar="FILE", explained="file with a pattern a line, # for remarks")
    add("--iexclude-file", metavar="FILE", explained="the same, in any case of letters")


def excludes_of(args: argparse.Namespace) -> Excludes:
    """What `add_excludes` gathered, and the rest where the verb has it."""
    from kluis.options import Excludes
    from kluis_cli import inputs

    values = vars(args)
    return Excludes(
        patterns=inputs.patterns(args.exclude, args.exclude_file),
        patterns_any_case=inputs.patterns(args.iexclude, args.iexclude_file),
        caches=values.get("exclude_caches", False),
        if_present=raw(values.get("exclude_if_present")),
        larger_than=values.get("exclude_larger_than"),
        nodump=values.get("exclude_nodump", False),
        gitignore=values.get("gitignore", False),
    )


def group_by(value: str) -> tuple[GroupKey, ...]:
    """An argparse type: `host,paths,tags`, or nothing between the quotes."""
    keys: list[GroupKey] = []
    for word in filter(None, value.split(",")):
        if word == "host":
            keys.append("host")
        elif word in ("path", "paths"):
            keys.append("paths")
        elif word in ("tag", "tags"):
            keys.append("tags")
        else:
            raise argparse.ArgumentTypeError(f"{word!r} groups nothing; write host, paths, tags")
    return tuple(dict.fromkeys(keys))


def limit(value: str) -> Any:
    """An argparse type: `10%`, `5G` or `unlimited`."""
    from kluis.options import Limit

    if value == "unlimited":
        return Limit()
    if value.endswith("%"):
        return Limit(share=unit("parse_share")(value))
    return Limit(size=unit("parse_size")(value))


def add_prune_limits(parser: argparse.ArgumentParser) -> None:
    """Adds how far a prune goes."""
    group = parser.add_argument_group("how far a prune goes")
    group.add_argument(
        "--max-unused",
        type=limit,
        metavar="LIMIT",
        help="unused room that may stay, and shards that small sets could share: 10%% (default), "
        "5G or unlimited",
    )
    group.add_argument(
        "--max-repack",
        "--max-repack-size",
        type=unit("parse_size"),
        metavar="SIZE",
        help="move at most this much",
    )
    group.add_argument(
        "--now",
        action="store_true",
        help="do not wait for forgotten snapshots or runs that look alive",
    )
    group.add_argument(
        "--prune-delay",
        type=unit("parse_delay"),
        metavar="TIME",
        help="how long a forgotten snapshot can be had back, such as 7d",
    )


def prune_options_of(args: argparse.Namespace) -> PruneOptions:
    """What `add_prune_limits` gathered."""
    from kluis.options import MAX_UNUSED_SHARE, Limit, PruneOptions

    return PruneOptions(
        dry_run=args.dry_run,
        max_unused=args.max_unused or Limit(share=MAX_UNUSED_SHARE),
        max_repack_bytes=args.max_repack,
        now=args.now,
        delay_seconds=args.prune_delay,
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Adds `-n`."""
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
