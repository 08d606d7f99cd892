"""Words that must not stand in the project, and where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lint.project import files, text

CODE = (".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".sh", ".toml")
TEXT = (*CODE, ".md", ".txt", ".csv", ".json")
HERE = Path("tests/lint")

# Written in two pieces, so that this file does not contain what it looks for.
LOOSE_ENDS = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error"]
UNRUN_TESTS = [r"pytest\." + "skip", r"\.skip" + "if", "xf" + "ail", "import" + "orskip"]
THIS_MACHINE = [r"(?<!\w)/wo" + "rk/", r"(?<!\w)/ro" + "ot/", "/opt/wh" + "eels"]
DRAWERS = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}


def found(words: list[str], paths: list[Path]) -> list[str]:
    pattern = re.compile("|".join(words))
    return [
        f"{path}:{number}: {line.strip()[:80]}"
        for path in paths
        for number, line in enumerate(text(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_loose_ends() -> None:
    assert not found([rf"\b{word}\b" for word in LOOSE_ENDS], files(*CODE))


def test_no_test_is_left_out() -> None:
    tests = [p for p in files(".py", below="tests") if not p.is_relative_to(HERE)]
    assert not found(UNRUN_TESTS, tests)


def test_nothing_names_the_machine_it_was_written_on() -> None:
    assert not found(THIS_MACHINE, files(*TEXT))


def test_no_module_is_a_drawer() -> None:
    names = [p for p in files(".py", ".pyx", ".c", ".h") if DRAWERS & set(p.stem.split("_"))]
    folders = [p for p in files(".py", ".pyx", ".c", ".h") if DRAWERS & set(p.parts[:-1])]
    assert not names
    assert not folders


@pytest.mark.parametrize("word", ["back" + "end", "Back" + "end"])
def test_one_word_per_thing(word: str) -> None:
    """It is called storage; only the build system's own key may say otherwise."""
    hits = found([word], files(*CODE, ".md"))
    assert [
        hit for hit in hits if "build-" + "backend" not in hit and "build_meta" not in hit
    ] == []


def test_no_star_import() -> None:
    assert not found([r"^\s*from\s+\S+\s+c?import\s+\*"], files(".py", ".pyx"))


def test_every_python_file_has_postponed_annotations() -> None:
    wanted = "from __future__ import annotations"
    missing = [p for p in files(".py") if text(p).strip() and wanted not in text(p)]
    bare = [p for p in missing if not _only_docstring(text(p))]
    assert not bare


def _only_docstring(source: str) -> bool:
    return re.fullmatch(r'\s*""".*?"""\s*', source, re.DOTALL) is not None
