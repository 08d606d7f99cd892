"""Completion and the man page come from the one parser, and shells take them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kluis_cli.commands.completion import script
from kluis_cli.parser import VERB_MODULES

ROOT = Path(__file__).resolve().parents[3]


def complete(*words: str) -> list[str]:
    """What bash offers for the last word."""
    lines = [
        script("bash"),
        f"COMP_WORDS=({' '.join(repr(word) for word in words)})",
        f"COMP_CWORD={len(words) - 1}",
        "$(complete -p kluis | sed -E 's/.*-F ([^ ]+).*/\\1/') kluis",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_bash_completes_verbs_and_their_flags() -> None:
    assert set(complete("kluis", "")) >= set(VERB_MODULES)
    assert complete("kluis", "snap") == ["snapshots"]
    assert "--exclude-caches" in complete("kluis", "backup", "--exclude-")
    assert "passwd" in complete("kluis", "key", "")


def test_bash_completion_is_a_function() -> None:
    assert "complete -F _shtab_kluis -o bashdefault kluis" in script("bash")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_with_every_verb(shell: str) -> None:
    text = script(shell)
    assert all(name in text for name in VERB_MODULES)


def test_the_man_page_in_the_tree_is_the_one_of_the_parser() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "kluis_cli.manpage"], capture_output=True, text=True, check=True
    ).stdout
    kept = (ROOT / "docs" / "man" / "kluis.1").read_text()
    assert made == kept, "run: python -m kluis_cli.manpage > docs/man/kluis.1"
    assert all(f"kluis {name}" in made for name in VERB_MODULES)
    assert made.startswith('.TH KLUIS "1"')
