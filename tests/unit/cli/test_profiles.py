"""Defaults from a file: below flags, above nothing that was said on purpose."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.errors import UsageError
from kluis.options import Excludes, KeepPolicy
from kluis_cli import access, profiles
from kluis_cli.commands import backup, forget
from kluis_cli.parser import build_parser
from kluis_cli.profiles import Hooks

PROFILES = """
[default]
repository = "/default"
password-file = "/default.password"

[office]
repository = "~/office"
password-command = "pass office"
cache-dir = "/cache"
paths = ["~/Documents", "/srv"]
excludes = ["*.tmp", "--odd"]
tags = ["office"]

[office.hooks]
before = "one"
after = ["two", "three"]
on-failure = "four"

[office.backup]
one-file-system = true
exclude-caches = false
compression = "better"

[office.forget]
keep-daily = 7
keep-tag = ["a", "b"]

[bare]
"""

Parse = Callable[..., argparse.Namespace]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """`parse("words", NAME=value)`: a command line with PROFILES and an environment."""
    monkeypatch.setenv("HOME", "/home/ann")
    file = tmp_path / "profiles.toml"
    file.write_text(PROFILES)

    def call(words: str, **environ: str) -> argparse.Namespace:
        environ.setdefault("KLUIS_PROFILES", str(file))
        return profiles.apply(build_parser(), words.split(), environ)

    return call


def test_a_profile_gives_what_was_not_said(parse: Parse) -> None:
    args = parse("-p office backup")
    assert access.location(args, {}) == "/home/ann/office"
    assert args.password_command == "pass office"
    assert args.cache_dir == "/cache"
    options = backup.options(args)
    assert options.paths == (b"/home/ann/Documents", b"/srv")
    assert options.excludes == Excludes(patterns=(b"*.tmp", b"--odd"))
    assert options.tags == ("office",)
    assert options.one_file_system
    assert options.compression.level == 9
    assert args.hooks == Hooks(("one",), ("two", "three"), ("four",))


def test_what_is_said_wins_and_lists_grow(parse: Parse) -> None:
    args = parse("backup -p office -r /r /x --tag y --exclude z --compression off")
    assert access.location(args, {}) == "/r"
    options = backup.options(args)
    assert options.paths == (b"/x",)
    assert options.tags == ("office", "y")
    assert options.excludes.patterns == (b"*.tmp", b"--odd", b"z")
    assert options.compression.level == 0


def test_a_secret_that_is_said_replaces_the_one_of_the_profile(parse: Parse) -> None:
    args = parse("-p office snapshots --password-file /p")
    assert args.password_file == "/p"
    assert "password_command" not in args


def test_a_table_of_a_verb_holds_for_it_alone(parse: Parse) -> None:
    options = forget.options(parse("-p office forget"))
    assert options.policy == KeepPolicy(daily=7, tags=(("a",), ("b",)))
    assert options.filter.tags == ()


def test_the_default_profile_lies_below_everything(parse: Parse) -> None:
    assert access.location(parse("snapshots"), {}) == "/default"
    named = parse("-p bare snapshots")
    assert (named.repo, named.password_file) == ("/default", "/default.password")
    assert parse("-p office snapshots").repo == "/home/ann/office"
    assert "repo" not in parse("snapshots", KLUIS_REPOSITORY="/r")
    assert "password_file" not in parse("snapshots", KLUIS_PASSWORD="x")
    assert parse("snapshots", KLUIS_PASSWORD="x").repo == "/default"


def test_without_a_file_nothing_changes(tmp_path: Path) -> None:
    args = profiles.apply(build_parser(), ["snapshots"], {"XDG_CONFIG_HOME": str(tmp_path)})
    assert "repo" not in args
    with pytest.raises(UsageError, match=str(tmp_path)):
        profiles.apply(build_parser(), ["-p", "x", "snapshots"], {"XDG_CONFIG_HOME": str(tmp_path)})


def test_the_file_lies_where_configuration_lies(tmp_path: Path) -> None:
    (tmp_path / "kluis").mkdir()
    (tmp_path / "kluis" / "profiles.toml").write_text(PROFILES)
    args = profiles.apply(build_parser(), ["snapshots"], {"XDG_CONFIG_HOME": str(tmp_path)})
    assert args.repo == "/default"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("[office]\nrepo = 'x'", "repo"),
        ("[office]\nrepository = 5.5\n[office.hooks]\nnever = 'x'", "never"),
        ("[office]\n[office.backup]\nfrobnicate = true", "--frobnicate"),
        ("[office]\n[office.backup]\ncompression = 'best'", "best"),
        ("[office]\npaths = [3]", "paths"),
        ("[office.backup]\ntag = [[1]]", "tag"),
        ("office = 3", "office"),
        ("[office", "profiles.toml"),
        ("[home]", "home"),
    ],
)
def test_a_mistake_is_named(content: str, word: str, tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=word):
        profiles.apply(
            build_parser(), ["-p", "office", "backup", "/a"], {"KLUIS_PROFILES": str(file)}
        )


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        profiles.apply(build_parser(), ["snapshots"], {"KLUIS_PROFILES": str(tmp_path)})
    assert f"cannot read the profiles in {tmp_path}: Is a directory" in str(told.value)
    assert "Next: " in str(told.value)
    assert "Errno" not in str(told.value)


def test_a_file_that_is_no_toml_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_bytes(b"[office]\nrepository = \xff")
    with pytest.raises(UsageError, match=r"profiles\.toml are no TOML in UTF-8: .* Next: "):
        profiles.apply(build_parser(), ["snapshots"], {"KLUIS_PROFILES": str(file)})
