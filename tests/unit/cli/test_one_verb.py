"""A command builds the parser of its own verb alone, and nobody can tell."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from kluis.errors import UsageError
from kluis_cli.main import main
from kluis_cli.parser import VERB_MODULES, build_parser, parser_for, parsers


@pytest.mark.parametrize("name", VERB_MODULES)
def test_a_parser_for_one_command_line_says_what_that_of_all_verbs_says(name: str) -> None:
    some, every = parser_for(["-r", "backup", name]), build_parser()
    assert some.format_help() == every.format_help()

    def texts(parser: argparse.ArgumentParser) -> list[str]:
        return [verb.format_help() for verb in parsers(parser) if verb.prog.split()[1:2] == [name]]

    assert texts(some) == texts(every)
    assert texts(some)


@pytest.mark.parametrize(
    "words",
    [
        ["-r", "backup", "snapshot"],
        ["backup", "--no-such-flag"],
        ["nothing"],
        ["--json", "key", "nothing"],
        ["-r", "ls"],
        ["restore", "latest"],
        [],
    ],
)
def test_a_wrong_command_line_is_refused_in_the_words_of_the_whole_parser(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(words)
    said = capsys.readouterr()
    try:
        build_parser().parse_args(words)
        wanted = ""
    except UsageError as error:
        wanted = str(error)
    assert status == (2 if words else 0)
    assert wanted in said.err


def test_only_the_verb_that_was_typed_is_loaded() -> None:
    code = "import sys; from kluis_cli.parser import parser_for; parser_for(['snapshots']);"
    code += "sys.exit(' '.join(name for name in sys.modules if 'commands.' in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stderr.decode().split() == ["kluis_cli.commands.snapshots"]


@pytest.mark.parametrize("columns", ["40", "100", "0", "x"])
def test_help_is_as_wide_as_argparse_would_have_it(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    parser = build_parser()
    ours = parser.format_help()
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    assert parser.format_help() == ours
