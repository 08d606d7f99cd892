"""What belongs together around a native module, and what its C may include."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.lint.project import ROOT, all_files, files, text

NATIVE = Path("engine/kluis/_native")
MODULES = [path.stem for path in files(".pyx", below="ext")]
SHARED_HEADERS = {"kluis.h", "cpu.h"}
ALSO_INCLUDED = {
    "read": {"scan.h"},  # the stat record that scanning fills is what reading expects
    "fill": {"sum.h", "table_entry.h"},  # it keeps sums, and a place is a record of the table
    "plan": {"scatter.h"},  # what it plans is what that creates
    "parts": {"fill.h", "read.h", "scan.h"},  # it joins what those three tell
}

_PYX_NAME = re.compile(
    r"^(?:def|cpdef(?:\s+[\w\[\]:, ]+)?|cdef\s+class|class)\s+(\w+)", re.MULTILINE
)
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def stub_names(stub: Path) -> set[str]:
    body = ast.parse(text(stub)).body
    return {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_there_are_native_modules() -> None:
    assert MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_native_module_has_stub_twin_and_tests(module: str) -> None:
    stub = NATIVE / f"{module}.pyi"
    assert stub in all_files(), f"{stub} is missing"
    in_source = {n for n in _PYX_NAME.findall(text(Path(f"ext/{module}.pyx"))) if n[0] != "_"}
    in_stub = {n for n in stub_names(stub) if n[0] != "_"}
    assert in_source == in_stub
    assert NATIVE / "twins" / f"{module}.py" in all_files(), "no Python twin to compare with"
    assert list((ROOT / "tests/native").glob(f"test_{module}*.py")), "no test of the kernel"


@pytest.mark.parametrize("module", MODULES)
def test_cython_declares_no_c_of_its_own(module: str) -> None:
    """All of it stands in core.pxd and frames.pxd, which repeat the headers' contracts once."""
    assert "cdef extern" not in text(Path(f"ext/{module}.pyx"))


@pytest.mark.parametrize("path", files(".c", ".h", below="ext/c"), ids=str)
def test_c_includes_only_its_own_header_and_the_shared_ones(path: Path) -> None:
    """A module may be several files, all named after it: table.c, table_map.c, table_map.h."""
    module = path.stem.split("_")[0]
    for header in _INCLUDE.findall(text(path)):
        own = header == f"{module}.h" or header.startswith(f"{module}_")
        assert own or header in SHARED_HEADERS | ALSO_INCLUDED.get(module, set()), header
