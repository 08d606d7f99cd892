"""Measures of source files: what `test_sizes` holds against the limits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lint.project import all_files, text

FILE_LINES = {".py": 400, ".pyx": 300, ".pxd": 300, ".c": 600, ".h": 150}
SINGLE_FILES = {Path("engine/kluis/documents/kluis-reader.py"): 500}  # one file by its nature
KERNEL_FILE_LINES = 800
FUNCTION_LINES = {".py": 60, ".pyx": 40, ".c": 70}
PARAMETERS = 5
LINE_CHARACTERS = 100

_CYTHON_DEF = re.compile(r"^(?P<indent>\s*)(?:async\s+)?(?:def|cpdef|cdef)\b[^=]*\(")
_CYTHON_NAME = re.compile(r"(?P<name>\w+)\s*\(")


@dataclass(frozen=True)
class Excess:
    """Something larger than its limit: `key` names it for the exception list."""

    key: str
    measured: int
    limit: int


def _is_kernel(path: Path) -> bool:
    """Whether this is `<module>_<isa>.c` beside a `<module>.c`."""
    stem = path.stem.rpartition("_")[0]
    return bool(stem) and path.suffix == ".c" and path.with_name(f"{stem}.c") in all_files()


def python_functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """(qualified name, lines, parameters without self or cls) of every function."""

    def walk(node: ast.AST, prefix: str, in_class: bool) -> Iterator[tuple[str, int, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{prefix}{child.name}"
                yield name, (child.end_lineno or 0) - child.lineno + 1, parameters(child, in_class)
                yield from walk(child, f"{name}.", False)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.", True)
            else:
                yield from walk(child, prefix, in_class)

    yield from walk(ast.parse(text(path)), "", False)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, in_class: bool) -> int:
    """How many arguments a caller has to know."""
    arguments = function.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
    if in_class and names and names[0] in ("self", "cls"):
        names = names[1:]
    return len(names)


def cython_functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function; one ends before the next line that is not deeper."""
    lines = text(path).splitlines()
    for start, line in enumerate(lines):
        match = _CYTHON_DEF.match(line)
        if match is None:
            continue
        depth = len(match["indent"])
        end = start
        for number in range(start + 1, len(lines)):
            following = lines[number]
            stripped = following.strip()
            if not stripped:
                continue
            if len(following) - len(following.lstrip()) <= depth and stripped[0] not in ")#":
                break
            end = number
        name = _CYTHON_NAME.search(line)
        yield (name["name"] if name else line.strip()), end - start + 1


def c_functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function, as clang-format lays them out: braces in column one."""
    lines = text(path).splitlines()
    header_start = 0
    for number, line in enumerate(lines):
        if line.startswith("}"):
            header_start = number + 1
        if not (line.endswith("{") and not line.startswith((" ", "\t"))):
            continue
        start = number
        while (
            start > header_start and lines[start - 1].strip() and lines[start - 1][0] not in "#/}"
        ):
            if lines[start - 1].rstrip().endswith((";", "*/")):
                break
            start -= 1
        header = " ".join(lines[start : number + 1])
        name = _CYTHON_NAME.search(header)
        end = next((n for n in range(number, len(lines)) if lines[n].startswith("}")), number)
        if name is not None and "=" not in header.split("(")[0]:
            yield name["name"], end - start + 1


def excesses(path: Path) -> Iterator[Excess]:
    """All that is larger in this file than it may be."""
    suffix = path.suffix
    usual = KERNEL_FILE_LINES if _is_kernel(path) else FILE_LINES[suffix]
    limit = SINGLE_FILES.get(path, usual)
    lines = text(path).splitlines()
    if len(lines) > limit:
        yield Excess(str(path), len(lines), limit)
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_CHARACTERS:
            yield Excess(f"{path}:{number} (characters)", len(line), LINE_CHARACTERS)
    found: list[tuple[str, int]] = []
    if suffix == ".py":
        for name, length, count in python_functions(path):
            found.append((name, length))
            if count > PARAMETERS:
                yield Excess(f"{path}::{name} (parameters)", count, PARAMETERS)
    elif suffix == ".pyx":
        found += cython_functions(path)
    elif suffix == ".c":
        found += c_functions(path)
    for name, length in found:
        if length > FUNCTION_LINES[suffix]:
            yield Excess(f"{path}::{name}", length, FUNCTION_LINES[suffix])
