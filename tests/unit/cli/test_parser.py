"""What is typed becomes the options that are meant, in whatever order it is typed."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from kluis.errors import UsageError
from kluis.options import (
    UNLIMITED_COUNT,
    BackupOptions,
    Chunker,
    Compression,
    DiffOptions,
    Excludes,
    FindOptions,
    ForgetOptions,
    KeepPolicy,
    Limit,
    LsOptions,
    PruneOptions,
    RestoreOptions,
    RewriteOptions,
    SnapshotFilter,
    StdinSource,
    TagOptions,
)
from kluis.units import CalendarSpan
from kluis_cli.arguments import prune_options_of
from kluis_cli.commands import (
    backup,
    bench,
    diff,
    dump,
    find,
    forget,
    hold,
    ls,
    repair,
    restore,
    rewrite,
    snapshots,
    tag,
    verify,
)
from kluis_cli.parser import VERB_MODULES, actions, build_parser, parsers


def parse(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(list(words))


@pytest.mark.parametrize(
    "words",
    [
        "-r R --json backup /a /b --tag x",
        "backup -r R /a --json /b --tag=x",
        "backup /a /b --tag x -r R --json",
        "backup --tag x /a --repo=R --json -- /b",
        "--json backup /a -rR --tag x /b",
    ],
)
def test_flags_stand_anywhere(words: str) -> None:
    args = parse(*words.split())
    assert (args.repo, args.json) == ("R", True)
    assert backup.options(args) == BackupOptions(paths=(b"/a", b"/b"), tags=("x",))


def test_verbosity_right_after_the_verb() -> None:
    assert parse("backup", "-v", "/a").verbose == 1
    assert parse("backup", "-vv", "/a").verbose == 2
    assert parse("backup", "-q", "/a").quiet is True


def test_a_verb_of_two_words_takes_global_flags() -> None:
    args = parse("key", "add", "-r", "R", "--name", "partner")
    assert (args.repo, args.name) == ("R", "partner")
    assert parse("-r", "R", "key", "list").repo == "R"


def test_a_flag_before_the_verb_survives_the_verb() -> None:
    args = parse("-r", "R", "-v", "--password-file", "P", "snapshots")
    assert (args.repo, args.verbose, args.password_file) == ("R", 1, "P")


def test_words_that_look_like_flags_stand_behind_two_dashes() -> None:
    assert backup.options(parse("backup", "--", "-x", "--tag")).paths == (b"-x", b"--tag")


def test_a_name_that_is_not_utf_8_arrives_as_its_bytes() -> None:
    assert backup.options(parse("backup", "/a\udcff")).paths == (b"/a\xff",)


@pytest.mark.parametrize(
    "words",
    [
        "frobnicate",
        "backup --frobnicate /a",
        "backup /a --frobnicate",
        "verify --level 3",
        "verify --level x",
        "verify word",
        "restore",
        "diff latest",
        "backup --reread 300% /a",
        "backup --time yesterday /a",
        "backup --chunker fixed /a",
        "backup --chunker fixed:0 /a",
        "backup --chunker fixed:511 /a",
        "backup --chunker fixed:9M /a",
        "backup --compression best /a",
        "backup --compression 23 /a",
        "backup --exclude-larger-than x /a",
        "backup --tag a\udcff /a",
        "forget --keep-daily x",
        "forget --keep-daily -2",
        "forget --keep-within 3w",
        "forget --group-by colour",
        "key",
        "key frobnicate",
        "cache",
        "completion tcsh",
        "snapshots --late 1",
        "stats --mode x",
        "restore latest --overwrite sometimes",
    ],
)
def test_what_makes_no_sense_is_a_usage_error_that_names_the_help(words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words.split(" "))
    assert "--help" in str(caught.value)


def test_every_backup_flag() -> None:
    args = parse(
        *"backup /a -x -e *.tmp --exclude *.bak --iexclude *.JPG --exclude-caches".split(),
        *"--exclude-if-present .nobackup --exclude-larger-than 1M --exclude-nodump".split(),
        *"--gitignore --tag a,b --tag c -H h --description d --dataset s".split(),
        *"--time 2026-01-31T12:00:00Z -n -f --parent 4f2a --reread 3%".split(),
        *"--compression max --chunker fixed:16K".split(),
    )
    assert backup.options(args) == BackupOptions(
        paths=(b"/a",),
        excludes=Excludes(
            patterns=(b"*.tmp", b"*.bak"),
            patterns_any_case=(b"*.JPG",),
            caches=True,
            if_present=(b".nobackup",),
            larger_than=1 << 20,
            nodump=True,
            gitignore=True,
        ),
        one_file_system=True,
        tags=("a", "b", "c"),
        host="h",
        description="d",
        dataset="s",
        time_ns=1769860800_000000000,
        dry_run=True,
        force=True,
        parent="4f2a",
        reread_share=0.03,
        compression=Compression(level=19, probe=False),
        chunker=Chunker(name="fixed", fixed_bytes=16 << 10),
    )


@pytest.mark.parametrize(
    ("word", "level"), [("auto", 3), ("off", 0), ("fast", 1), ("better", 9), ("1", 1), ("22", 22)]
)
def test_compression_words_and_levels(word: str, level: int) -> None:
    assert backup.compression(word) == Compression(level=level)


def test_backup_from_a_command() -> None:
    words = ["backup", "--stdin-filename", "b.sql", "--stdin-from-command", "--", "dump", "-x"]
    source = StdinSource(filename=b"b.sql", command=(b"dump", b"-x"))
    assert backup.options(parse(*words)) == BackupOptions(stdin=source)
    assert backup.options(parse("backup", "--stdin")).stdin == StdinSource()


@pytest.mark.parametrize(
    "words",
    [
        "backup",
        "backup --stdin /a",
        "backup --stdin-filename x /a",
        "backup --stdin-from-command",
        "find",
        "tag latest",
        "tag --set a --add b",
        "forget",
        "forget --group-by host",
        "forget 4f2a --keep-last 1",
        "forget --undo 4f2a 91bc",
        "forget --unsafe-allow-remove-all",
        "hold",
        "rewrite latest",
        "rewrite --forget latest",
        "restore latest",
        "restore latest --target /t --in-place",
        "restore :/a --target /t",
        "bench --only frobnicate",
        "bench --only ,",
    ],
)
def test_what_is_incomplete_or_contradicts_itself_is_refused(words: str) -> None:
    args = parse(*words.split())
    build = {
        "backup": backup.options,
        "bench": bench.options,
        "find": find.options,
        "forget": forget.options,
        "hold": hold.options,
        "restore": restore.options,
        "rewrite": rewrite.options,
        "tag": tag.options,
    }[args.verb]
    with pytest.raises(UsageError):
        build(args)


def test_lists_of_paths(tmp_path: Path) -> None:
    (tmp_path / "one.txt").touch()
    (tmp_path / "two.txt").touch()
    (tmp_path / "[3].txt").touch()
    lines = tmp_path / "lines"
    lines.write_text(f"\n# a remark\n{tmp_path}/*o*.txt\n{tmp_path}/[3].txt\n/missing*\n /b \n")
    plain = tmp_path / "plain"
    plain.write_bytes(b"# not a remark\n\n*.txt\n")
    raw = tmp_path / "raw"
    raw.write_bytes(b"a\nb\0c\xff\0")
    args = parse(
        *("backup", "/word", "--files-from", str(lines)),
        *("--files-from-verbatim", str(plain), "--files-from0", str(raw)),
    )
    folder = bytes(tmp_path)
    assert backup.options(args).paths == (
        b"/word",
        folder + b"/one.txt",
        folder + b"/two.txt",
        folder + b"/[3].txt",
        b"/missing*",
        b"/b",
        b"# not a remark",
        b"*.txt",
        b"a\nb",
        b"c\xff",
    )


def test_exclude_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/home/ann")
    patterns = tmp_path / "patterns"
    patterns.write_bytes(
        b"# remark\n\n*.tmp\n  $WHERE/x  \n${WHERE}/y\n!*.keep\n/**/deep\ncost$$\n"
    )
    args = parse("backup", "/a", "-e", "first", "--exclude-file", str(patterns))
    assert backup.options(args).excludes.patterns == (
        b"first",
        b"*.tmp",
        b"/home/ann/x",
        b"/home/ann/y",
        b"!*.keep",
        b"/**/deep",
        b"cost$",
    )


def test_restore() -> None:
    args = parse(
        *"restore 4f2a:/home/ann -t /t -i *.odt --iinclude *.ODS -e x --iexclude Y".split(),
        *"--overwrite if-newer --delete -n --verify --sparse --numeric-owner".split(),
        *"--privileged --host h --tag a,b --tag c --path /home".split(),
    )
    assert restore.options(args) == RestoreOptions(
        snapshot="4f2a",
        path=b"/home/ann",
        target=b"/t",
        include=(b"*.odt",),
        include_any_case=(b"*.ODS",),
        exclude=(b"x",),
        exclude_any_case=(b"Y",),
        overwrite="if-newer",
        delete=True,
        dry_run=True,
        verify=True,
        sparse=True,
        numeric_owner=True,
        privileged=True,
        filter=SnapshotFilter(hosts=("h",), tags=(("a", "b"), ("c",)), paths=(b"/home",)),
    )
    assert restore.options(parse("restore", "latest", "--in-place")).in_place


def test_forget_policy() -> None:
    args = parse(
        *"forget -l 1 -H 2 -d 3 -w 4 -m 5 -y unlimited --keep-within 1y6m".split(),
        *"--keep-within-hourly 1d --keep-within-daily 2d --keep-within-weekly 3m".split(),
        *"--keep-within-monthly 1y --keep-within-yearly 9y --keep-tag a,b --keep-tag c".split(),
        *"-g host,tags --host h -n --prune --max-unused 5% --max-repack-size 1G --now".split(),
    )
    assert forget.options(args) == ForgetOptions(
        policy=KeepPolicy(
            last=1,
            hourly=2,
            daily=3,
            weekly=4,
            monthly=5,
            yearly=UNLIMITED_COUNT,
            within=CalendarSpan(years=1, months=6),
            within_hourly=CalendarSpan(days=1),
            within_daily=CalendarSpan(days=2),
            within_weekly=CalendarSpan(months=3),
            within_monthly=CalendarSpan(years=1),
            within_yearly=CalendarSpan(years=9),
            tags=(("a", "b"), ("c",)),
        ),
        group_by=("host", "tags"),
        filter=SnapshotFilter(hosts=("h",)),
        dry_run=True,
        prune=PruneOptions(
            dry_run=True, max_unused=Limit(share=0.05), max_repack_bytes=1 << 30, now=True
        ),
    )
    assert forget.options(parse("forget", "--keep-last", "-1")).policy.last == UNLIMITED_COUNT
    assert forget.options(parse("forget", "a", "b")) == ForgetOptions(ids=("a", "b"))
    assert forget.options(parse("forget", "--undo", "a")) == ForgetOptions(undo=("a",))
    assert forget.options(parse("forget", "-d", "1", "--group-by", "")).group_by == ()


def test_prune_limits() -> None:
    assert prune_options_of(parse("prune")) == PruneOptions()
    assert prune_options_of(parse("prune", "--max-unused", "0%")).max_unused == Limit(share=0.0)
    assert prune_options_of(parse("prune", "--max-unused", "5G")).max_unused == Limit(size=5 << 30)
    assert prune_options_of(parse("prune", "--max-unused", "unlimited")).max_unused == Limit()
    assert prune_options_of(parse("prune", "--prune-delay", "7d")).delay_seconds == 604800


def test_the_other_verbs() -> None:
    assert verify.options(parse("check", "--read-data")).level == 2
    assert verify.options(parse("verify")).level == 0
    assert ls.options(parse("ls", "latest:/a", "-r", "R", "/b")) == LsOptions(
        path=b"/a", paths=(b"/b",), recursive=False
    )
    assert ls.options(parse("ls", "latest~1")) == LsOptions(snapshot="latest~1")
    assert find.options(parse("find", "a", "-i", "-s", "4f2a", "b", "--pack", "p")) == FindOptions(
        patterns=(b"a", b"b"), snapshots=("4f2a",), any_case=True, packs=("p",)
    )
    assert diff.options(parse("diff", "a:/x", "b", "--metadata")) == DiffOptions(
        first="a", first_path=b"/x", second="b", metadata=True
    )
    assert tag.options(parse("tag", "--set", "a,b", "4f2a")) == TagOptions(
        ids=("4f2a",), replace=("a", "b")
    )
    assert tag.options(parse("tag", "--set", "", "4f2a")).replace == ()
    assert rewrite.options(parse("rewrite", "-e", "x", "--new-tag", "a")) == RewriteOptions(
        excludes=Excludes(patterns=(b"x",)), tags=("a",)
    )
    assert hold.options(parse("hold", "--release", "a", "b")).release
    assert repair.options(parse("repair", "--from", "/o", "--from-source", "/s")).stores == ("/o",)
    assert snapshots.options(parse("snapshots", "--latest", "2", "-g", "host")).latest == 2
    assert dump.path_of(parse("dump", "latest", "/a/b")) == ("latest", b"/a/b")
    assert dump.path_of(parse("dump", "latest:/a", "b")) == ("latest", b"/a/b")
    assert dump.path_of(parse("dump", "latest:/a")) == ("latest", b"/a")
    assert dump.path_of(parse("dump", "latest")) == ("latest", b"/")
    assert bench.options(parse("bench", "--only", "hash,cut", "--size", "1M")).parts == (
        "cut",
        "hash",
    )


def test_every_verb_has_help_with_examples_that_parse() -> None:
    parser = build_parser()
    named = parser.format_help()
    seen = set()
    for verb in parsers(parser):
        if verb is parser:
            continue
        seen.add(verb.prog.split()[1])
        rows = [
            row.strip() for row in verb.format_help().splitlines() if row.startswith("  kluis ")
        ]
        assert rows, verb.prog
        for row in rows:
            assert row.startswith(verb.prog)
    assert seen == set(VERB_MODULES)
    assert all(f"\n    {name}" in named for name in VERB_MODULES)


def test_every_flag_is_explained_and_ends_without_a_dot() -> None:
    for verb in parsers(build_parser()):
        for action in actions(verb):
            if action.dest.endswith("verb"):  # its verbs are explained one by one
                continue
            assert action.help, (verb.prog, action.dest)
            assert not action.help.endswith("."), (verb.prog, action.dest)
