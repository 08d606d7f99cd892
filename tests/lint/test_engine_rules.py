"""Rules of the engine that no import shows: who may touch files, the clock and randomness."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.lint.project import files, text

ENGINE = Path("engine/kluis")
READER = ENGINE / "documents" / "kluis-reader.py"  # no part of kluis: it stands alone on media
MAY_TOUCH_FILES = (ENGINE / "storage", ENGINE / "source", ENGINE / "_native")
MAY_ASK_THE_MACHINE = (ENGINE / "surroundings.py",)

FILE_CALLS = {
    *(f"os.{name}" for name in ("open", "fdopen", "mkdir", "makedirs", "rename", "renames")),
    *(f"os.{name}" for name in ("replace", "remove", "unlink", "rmdir", "link", "symlink")),
    *(f"os.{name}" for name in ("listdir", "scandir", "walk", "stat", "lstat", "truncate")),
    *(f"os.{name}" for name in ("chmod", "chown", "lchown", "utime", "mkfifo", "mknod")),
    *("open", "io.open", "shutil.rmtree", "shutil.copyfile", "shutil.copytree", "shutil.move"),
    *("socket.socket", "tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.TemporaryDirectory"),
}
FILE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}
MACHINE_CALLS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.sleep", "os.urandom", "uuid.uuid4"),
    *("datetime.now", "datetime.datetime.now", "datetime.today", "secrets.token_bytes"),
    *("nacl.utils.random", "random.random", "random.Random", "random.randbytes"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a call's function; empty where it is more than names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def of_the_package(node: ast.expr) -> bool:
    """Whether a call's function belongs to `resources.files(...)`: what kluis itself ships."""
    inner = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
    return any(dotted(call.func) == "resources.files" for call in inner)


def calls(path: Path) -> list[tuple[int, str, str]]:
    """(line, dotted name, last name) of every call in a file."""
    return [
        (
            node.lineno,
            dotted(node.func),
            node.func.attr if isinstance(node.func, ast.Attribute) else "",
        )
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.Call) and not of_the_package(node.func)
    ]


def beyond(allowed: tuple[Path, ...]) -> list[Path]:
    return [
        path
        for path in files(".py", below=str(ENGINE))
        if path != READER and not any(path.is_relative_to(folder) for folder in allowed)
    ]


def test_the_single_file_reader_imports_nothing_of_kluis() -> None:
    for node in ast.walk(ast.parse(text(READER))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "kluis" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "kluis"


def test_only_storage_and_source_touch_files() -> None:
    sources = beyond(MAY_TOUCH_FILES)
    assert sources
    assert [
        f"{path}:{line}: {name or method}"
        for path in sources
        for line, name, method in calls(path)
        if name in FILE_CALLS or method in FILE_METHODS
    ] == []


def test_clock_and_randomness_come_from_surroundings() -> None:
    assert [
        f"{path}:{line}: {name}"
        for path in beyond(MAY_ASK_THE_MACHINE)
        for line, name, _ in calls(path)
        if name in MACHINE_CALLS
    ] == []


@pytest.mark.parametrize("path", files(".py", below=str(ENGINE)), ids=str)
def test_inner_modules_do_not_import_the_public_surface(path: Path) -> None:
    """`import kluis` inside the engine would tie every module to all others."""
    if path == ENGINE / "__init__.py":
        return
    submodules = {p.stem for p in files(".py", below=str(ENGINE)) if p.parent == ENGINE}
    submodules |= {p.parts[2] for p in files(".py", below=str(ENGINE)) if len(p.parts) > 3}
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            assert "kluis" not in {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module == "kluis":
            assert {alias.name for alias in node.names} <= submodules | {"__version__"}
