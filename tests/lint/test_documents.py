"""Documents point at files that exist, and show the commands that a newcomer needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lint.project import ROOT, files, text

_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
_CODE_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_KINDS = ("Added: ", "Changed: ", "Fixed: ", "Removed: ", "Security: ")


@pytest.mark.parametrize("path", files(".md"), ids=str)
def test_relative_links_lead_somewhere(path: Path) -> None:
    missing = [
        target for target in _LINK.findall(text(path)) if not (ROOT / path.parent / target).exists()
    ]
    assert not missing


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_shows_the_two_commands_once_each_as_whole_lines(command: str) -> None:
    lines = "".join(_CODE_BLOCK.findall(text(Path("README.md")))).splitlines()
    assert lines.count(command) == 1


@pytest.mark.parametrize("path", files(".md", below="changelog/unreleased"), ids=str)
def test_a_change_begins_with_its_kind_in_one_sentence(path: Path) -> None:
    first, _, rest = text(path).partition("\n")
    assert first.startswith(_KINDS)
    assert first.endswith(".")
    assert rest == "" or rest.startswith("\n")


def test_decisions_are_numbered_without_gaps() -> None:
    records = files(".md", below="docs/decisions")
    assert [int(path.name[:4]) for path in records] == list(range(len(records)))
    assert all(text(path).startswith(f"# {int(path.name[:4])}. ") for path in records)
