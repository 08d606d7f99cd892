"""The one parser: help, completion and the man page come from it too."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from kluis.errors import UsageError
from kluis_cli.version import print_version

if TYPE_CHECKING:
    from kluis_cli.session import Session

DESCRIPTION = "Backs up files into an encrypted, deduplicated repository that repairs itself."

EPILOG = """\
examples:
  kluis init -r /mnt/disk/backup
  kluis backup -r /mnt/disk/backup ~/Documents
  kluis snapshots -r /mnt/disk/backup
  kluis restore -r /mnt/disk/backup latest --target /tmp/back
  kluis VERB --help

environment:
  KLUIS_REPOSITORY, KLUIS_REPOSITORY_FILE                     the repository
  KLUIS_PASSWORD, KLUIS_PASSWORD_FILE, KLUIS_PASSWORD_COMMAND its passphrase: one of them
  KLUIS_KEY_FILE                                              a key instead of a passphrase
  KLUIS_CACHE_DIR                                             where this client keeps its cache
  KLUIS_PROFILES                                              the file with profiles
  KLUIS_DEBUG                                                 a fault of kluis shows its traceback

profiles:
  kluis -p office backup takes its flags from the table [office] of a TOML file, the first
  of KLUIS_PROFILES, ~/.config/kluis/profiles.toml and /etc/kluis/profiles.toml:

    [office]
    repository = "/mnt/disk/backup"
    password-file = "~/.config/kluis/office.password"
    paths = ["~/Documents"]
    excludes = ["*.tmp"]
    tags = ["office"]
    [office.hooks]            # also: after, on-failure
    before = "systemctl stop invoices"
    [office.forget]           # flags of a verb, by their long names
    keep-daily = 14

  [default] holds for every command. docs/profiles.md has all of it.

exit codes:
  0 complete  1 failed  2 usage  3 some files could not be read or restored (each named)
  4 damage  5 refused  10 no repository  11 busy  12 wrong passphrase or key  13 no space
  75 medium not connected  130 cancelled
"""

VERB_MODULES = (
    "init",
    "backup",
    "snapshots",
    "ls",
    "find",
    "diff",
    "restore",
    "dump",
    "verify",
    "repair",
    "forget",
    "prune",
    "hold",
    "rewrite",
    "tag",
    "stats",
    "key",
    "cache",
    "bench",
    "completion",
)

Run: TypeAlias = "Callable[[argparse.Namespace, Session], int]"


class Verbs(Protocol):
    """What a command module adds its verb to."""

    def add_parser(self, name: str, **settings: Any) -> Parser:
        """A new parser for the verb."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal.

    argparse asks `shutil` for that at each flag, whose import takes 3 ms of every start.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """What `shutil.get_terminal_size` would say."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    stream = sys.__stdout__
    try:
        columns = 0 if stream is None else os.get_terminal_size(stream.fileno()).columns
    except (ValueError, OSError):
        columns = 0
    return columns or 80


class Parser(argparse.ArgumentParser):
    """An argument parser that takes flags behind words, and raises `UsageError`.

    Words are matched in a second pass, as `parse_intermixed_args` does, which knows no
    verbs. What follows `--` is words only.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", _Help)
        super().__init__(allow_abbrev=False, **settings)
        self._matching_words = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, with flags and words in any order."""
        words = self._get_positional_actions()
        if self._matching_words or not words or self._subparsers is not None or args is None:
            return super().parse_known_args(args, namespace)
        given = list(args)
        head, tail = given, []
        if "--" in given:
            cut = given.index("--")
            head, tail = given[:cut], given[cut + 1 :]
        self._matching_words = True
        try:
            namespace, found = self._parse_flags(head, namespace, words)
            unknown = [word for word in found if self._is_flag(word)]
            if unknown:
                self.error(f"unknown flag {unknown[0]}")
            return super().parse_known_args(["--", *found, *tail], namespace)
        finally:
            self._matching_words = False

    def _parse_flags(
        self,
        head: list[str],
        namespace: argparse.Namespace | None,
        words: Iterable[argparse.Action],
    ) -> tuple[argparse.Namespace, list[str]]:
        saved = [(action, action.nargs, action.default) for action in words]
        try:
            for action, _, _ in saved:
                action.nargs = action.default = argparse.SUPPRESS
            return super().parse_known_args(head, namespace)
        finally:
            for action, nargs, default in saved:
                action.nargs, action.default = nargs, default

    def _is_flag(self, word: str) -> bool:
        return len(word) > 1 and word[0] == "-" and not self._negative_number_matcher.match(word)

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`, so that one place decides how it is shown."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


class _PrintVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print_version()
        parser.exit()


def add_global_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what every verb takes, before the verb or behind it."""
    group = parser.add_argument_group("global flags")

    def add(*names: str, **settings: Any) -> None:
        group.add_argument(*names, default=argparse.SUPPRESS, **settings)

    add("-r", "--repo", metavar="REPO", help="folder of the repository")
    add("--repository-file", metavar="FILE", help="file that holds the name of the repository")
    add("--password-file", metavar="FILE", help="file that holds the passphrase")
    add("--password-command", metavar="COMMAND", help="command that prints the passphrase")
    add("--key-file", metavar="FILE", help="key that opens the repository instead")
    add("--cache-dir", metavar="DIR", help="where this client keeps its cache")
    add("-p", "--profile", metavar="NAME", help="take defaults from this profile")
    add("--json", action="store_true", help="print one JSON event a line")
    add("-v", "--verbose", action="count", help="say more; twice names each file")
    add("-q", "--quiet", action="store_true", help="say nothing but what was asked and errors")


def add_verb(verbs: Verbs, name: str, summary: str, examples: str, **settings: Any) -> Parser:
    """A parser for the verb `name` with the global flags; `examples` holds rows `kluis ...`."""
    rows = "\n".join(f"  {row.strip()}" for row in examples.strip().splitlines())
    settings.setdefault("prog", f"kluis {name}")
    parser = verbs.add_parser(
        settings["prog"].removeprefix("kluis ").split()[-1],
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{rows}",
        **settings,
    )
    add_global_flags(parser)
    return parser


class _SomeVerbs(Parser):
    """A parser that knows some of the verbs, and helps with all."""

    def format_help(self) -> str:
        return build_parser().format_help()


def parser_for(words: Sequence[str]) -> Parser:
    """The parser of the verbs that stand among these words, of all where none does.

    The word behind `-r` may be called as a verb is, hence all of them. What this one refuses
    is to be parsed once more by `build_parser`, whose message knows every verb.
    """
    verbs = [name for name in VERB_MODULES if name in words]
    return _build(_SomeVerbs, verbs) if verbs else build_parser()


def build_parser() -> Parser:
    """The parser of every verb; a verb's `run` lies in `namespace.run`."""
    return _build(Parser, VERB_MODULES)


def _build(kind: type[Parser], names: Iterable[str]) -> Parser:
    parser = kind(prog="kluis", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--version", action=_PrintVersion, nargs=0, help="print the version and exit"
    )
    add_global_flags(parser)
    verbs = parser.add_subparsers(
        title="verbs", dest="verb", metavar="VERB", parser_class=Parser, prog="kluis"
    )
    for name in names:
        import_module(f"kluis_cli.commands.{name}").add(verbs)
    for one in parsers(parser):
        one.usage = _usage(one)
    return parser


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every flag and word of the parser itself."""
    return iter(parser._actions)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of its verbs, each once."""
    yield parser
    for action in actions(parser):
        if isinstance(action, argparse._SubParsersAction):
            for verb in dict.fromkeys(action.choices.values()):
                yield from parsers(verb)


_WORDS: dict[int | str | None, str] = {
    None: "{0}",
    "?": "[{0}]",
    "*": "[{0} ...]",
    argparse.PARSER: "{0} ...",
}


def _usage(parser: argparse.ArgumentParser) -> str:
    """The words of the verb; the flags, which are many, stand below."""
    words = [
        _WORDS[action.nargs].format(action.metavar or "|".join(action.choices or ()))
        for action in actions(parser)
        if not action.option_strings
    ]
    return " ".join([parser.prog, "[FLAG ...]", *words])
