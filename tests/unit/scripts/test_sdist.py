"""What is handed out as source can be checked and tested as it is here."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.lint.project import ROOT, all_files


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What MANIFEST.in puts into an sdist, by the code of setuptools itself."""
    monkeypatch.chdir(ROOT)
    found = import_module("setuptools.command.egg_info").FileList()  # it has no types
    for line in (ROOT / "MANIFEST.in").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            found.process_template_line(line)
    return set(found.files)


def test_an_sdist_holds_every_file_of_the_project(listed: set[str]) -> None:
    assert {str(path) for path in all_files()} - listed == set()


def test_an_sdist_holds_nothing_that_was_built(listed: set[str]) -> None:
    assert not [name for name in listed if name.endswith((".so", ".pyc"))]
    assert not [name for name in listed if ".egg-info" in name or name.startswith("build/")]
