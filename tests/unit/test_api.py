"""The public interface: `import kluis` and nothing else."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import kluis
from tests.repositories import KDF_MEMORY_BYTES, PASSPHRASE

CREDENTIALS = kluis.Credentials(PASSPHRASE)
VERBS = {
    *("init", "open", "backup", "snapshots", "ls", "find", "diff", "restore", "dump", "verify"),
    *("repair", "forget", "prune", "hold", "rewrite", "tag", "stats", "key_list", "key_add"),
    *("key_passwd", "cache_clear", "bench"),
}


def given_on() -> set[str]:
    """The names that the package says it gives on from other modules."""
    source = inspect.getsource(kluis)
    return {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname == alias.name
    }


def test_the_docstring_runs() -> None:
    found = doctest.testmod(kluis)
    assert found.failed == 0
    assert found.attempted >= 3


def test_every_name_that_is_promised_is_there() -> None:
    for name in given_on() | VERBS:
        assert getattr(kluis, name) is not None


def test_all_options_results_events_and_errors_are_given_on() -> None:
    missing = []
    for module in (kluis.errors, kluis.events, kluis.listing, kluis.options, kluis.results):
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                if not name.startswith("_") and name not in given_on():
                    missing.append(name)
    assert missing == ["Sink"]  # a protocol: anything with `write`


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        kluis.nonsense  # noqa: B018 - to see it fail


def test_importing_loads_nothing_of_the_engine() -> None:
    code = "import sys, kluis; print([m for m in sys.modules if m.startswith('kluis')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['kluis']"


def test_no_repository_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for name in ("missing", "empty", "file"):
        with pytest.raises(kluis.NoRepositoryError, match=name) as caught:
            kluis.open(tmp_path / name, CREDENTIALS, cache_folder=tmp_path / "cache")
        assert caught.value.exit_status == 10
    assert sorted(tmp_path.iterdir()) == before
    assert not list((tmp_path / "empty").iterdir())


def test_a_wrong_passphrase_opens_nothing(tmp_path: Path) -> None:
    options = kluis.InitOptions(CREDENTIALS, kdf_memory_bytes=KDF_MEMORY_BYTES)
    kluis.init(tmp_path / "repository", options)
    for wrong in (kluis.Credentials(b"wrong"), kluis.Credentials()):
        with pytest.raises(kluis.PasswordError):
            kluis.open(tmp_path / "repository", wrong, cache_folder=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_cache_lies_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = kluis.InitOptions(CREDENTIALS, kdf_memory_bytes=KDF_MEMORY_BYTES)
    kluis.init(tmp_path / "repository", options)
    home = {"HOME": tmp_path / "home"}
    cases = (
        (home, "home/.cache/kluis"),
        ({**home, "XDG_CACHE_HOME": tmp_path / "xdg"}, "xdg/kluis"),
        ({**home, "XDG_CACHE_HOME": "relative"}, "home/.cache/kluis"),
        ({**home, "XDG_CACHE_HOME": tmp_path / "xdg", "KLUIS_CACHE_DIR": tmp_path / "own"}, "own"),
    )
    for environment, wanted in cases:
        for name in ("XDG_CACHE_HOME", "KLUIS_CACHE_DIR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        kluis.open(tmp_path / "repository", CREDENTIALS).close()
        assert (tmp_path / wanted).is_dir()
    assert not Path("relative").exists()


def test_operations_take_defaults_and_paths_of_any_kind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    options = kluis.InitOptions(CREDENTIALS, kdf_memory_bytes=KDF_MEMORY_BYTES)
    kluis.init(str(tmp_path / "repository"), options)
    place = str(tmp_path / "repository")
    with kluis.open(place, CREDENTIALS, cache_folder=str(tmp_path / "cache")) as repository:
        made = kluis.backup(repository, paths=[source, str(source), bytes(source)])
        assert kluis.backup(repository, paths=[source]).exit_status == 0
        assert len(kluis.snapshots(repository).groups[0].snapshots) == 2
        assert kluis.stats(repository).files == 2
        assert [key.name for key in kluis.key_list(repository).keys] == ["first"]
        assert kluis.prune(repository).exit_status == 0
        result = kluis.diff(repository, kluis.DiffOptions(made.snapshot_id, "latest"))
        assert list(result.changes) == []
    with pytest.raises(TypeError):
        kluis.diff(repository)
