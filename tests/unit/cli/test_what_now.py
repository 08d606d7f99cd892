"""Whatever goes wrong, a person gets a true sentence and a next step, and no traceback."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kluis_cli.commands import snapshots
from kluis_cli.main import main
from tests.repositories import PASSPHRASE, Place, make_place, small_tree
from tests.unit.cli.test_json import checked

MORE_THAN_A_BUFFER_BYTES = 600_000  # so that the first bytes come while the archive is written


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return checked(self.out)


Run = Callable[..., Done]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    small_tree(made)
    return made


@pytest.fixture
def run(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Run]:
    """`run("snapshots")`: on the repository of `place`."""
    monkeypatch.setenv("KLUIS_REPOSITORY", str(place.location))
    monkeypatch.setenv("KLUIS_PASSWORD", PASSPHRASE.decode())
    monkeypatch.setenv("KLUIS_CACHE_DIR", str(place.cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.folder))
    monkeypatch.delenv("KLUIS_DEBUG", raising=False)
    monkeypatch.chdir(place.folder)
    handler = signal.getsignal(signal.SIGTERM)

    def call(*words: str) -> Done:
        status = main(words)
        out, err = (text.decode("utf-8", "replace") for text in capfdbinary.readouterr())
        return Done(status, out, err)

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("flag", ["--files-from", "--files-from-verbatim"])
def test_a_list_with_zero_bytes_is_told_how_to_be_given(flag: str, run: Run, place: Place) -> None:
    (place.folder / "list").write_bytes(b"source/docs\0source/letter.txt\0")
    refused = run("backup", flag, "list")
    assert refused.status == 2
    assert "zero bytes" in refused.err
    assert "--files-from0 list" in refused.err
    assert "fault" not in refused.err
    assert run("backup", "--files-from0", "list").status == 0


def test_a_zero_byte_in_a_path_is_wrong_usage_from_everywhere(run: Run, place: Place) -> None:
    (place.folder / "kluis").mkdir()
    for content in (r'paths = ["a\u0000b"]', r'cache-dir = "a\u0000b"'):
        (place.folder / "kluis" / "profiles.toml").write_text(f"[default]\n{content}\n")
        refused = run("backup")
        assert refused.status == 2
        assert "zero byte" in refused.err
    (place.folder / "kluis" / "profiles.toml").unlink()
    (place.folder / "name").write_bytes(b"a\0b")
    refused = run("snapshots", "--repository-file", "name")
    assert refused.status == 10
    assert "zero bytes" in refused.err


def _break(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("embedded null")

    monkeypatch.setattr(snapshots, "show", fail)


def test_a_fault_of_kluis_is_a_sentence_that_says_how_to_report_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(monkeypatch)
    done = run("snapshots")
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    for words in ("fault of kluis", "ValueError: embedded null", "CONTRIBUTING.md", "KLUIS_DEBUG"):
        assert words in done.err
    (event,) = run("snapshots", "--json").events
    assert (event["code"], event["exit_status"], event["fatal"]) == ("fault", 1, True)


def test_a_fault_shows_its_traceback_to_who_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _break(monkeypatch)
    assert "Traceback" in run("snapshots", "-vv").err
    assert "Traceback" not in run("snapshots", "-v").err
    monkeypatch.setenv("KLUIS_DEBUG", "1")
    assert "Traceback" in run("snapshots").err


@pytest.mark.parametrize(
    ("target", "words"),
    [("gone/x.tar", "mkdir -p gone"), ("there", "there/dump.tar"), ("kept", "another file")],
)
def test_a_dump_whose_file_cannot_be_made_says_what_to_do(
    target: str, words: str, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    muttered: list[object] = []  # what Python prints of an exception in a destructor
    monkeypatch.setattr(sys, "unraisablehook", muttered.append)
    place.write("large", os.urandom(MORE_THAN_A_BUFFER_BYTES))
    place.backup()
    (place.folder / "there").mkdir()
    (place.folder / "kept").touch()
    done = run("dump", "latest", "/", "--target", target)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert words in done.err
    *_, event = run("dump", "latest", "/", "--target", target, "--json").events
    assert event["fatal"]
    assert words in event["message"]
    gc.collect()
    assert muttered == []


def test_a_dump_leaves_sockets_out_with_a_note(run: Run, place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.source / "talk"))
        place.backup()
    done = run("dump", "latest", "/", "--target", "new.tar")
    assert done.status == 0
    assert "warning: sockets are left out" in done.err
    assert "/source/talk" in done.err


def test_a_foreign_file_is_not_sent_to_repair(run: Run, place: Place) -> None:
    (place.location / "mine.txt").write_text("hello\n")
    done = run("verify")
    assert done.status == 4
    assert "remove it" in done.err
    assert "repair" not in done.err


def test_what_repair_can_heal_is_sent_to_repair(run: Run, place: Place) -> None:
    place.backup()
    (place.location / "mine.txt").write_text("hello\n")
    (place.location / "store").write_bytes(b"")
    assert run("verify").err.rstrip().endswith("next: `kluis repair`")


def test_a_store_that_went_back_has_a_next_step(run: Run, place: Place) -> None:
    place.backup()
    older = {path: path.read_bytes() for path in place.location.rglob("*") if path.is_file()}
    assert run("tag", "--add", "later").status == 0
    for path in [path for path in place.location.rglob("*") if path.is_file()]:
        path.unlink()
    for path, content in older.items():
        path.write_bytes(content)
    for verb in ("snapshots", "verify"):
        done = run(verb)
        assert "rolled back" in done.err
        assert "next: `kluis snapshots`" in done.err


def test_a_restore_that_finds_nothing_to_include_says_so(run: Run, place: Place) -> None:
    place.backup()
    words = ("restore", "latest", "--target", "back", "--include")
    for more in ((), ("--dry-run",)):
        nothing = run(*words, "never", *more)
        assert nothing.status == 0
        assert "warning: nothing was" in nothing.err
        assert "`kluis ls latest`" in nothing.err
        assert run(*words, "letter.txt", *more).err == ""
    assert run(*words, "never", "--json").events[0]["code"] == "no_match"
    assert run(*words, "docs").err == ""
    assert run(*words, "letter.txt").err == ""


def test_a_rewrite_says_that_the_old_snapshot_stays(run: Run, place: Place) -> None:
    place.backup()
    dry = run("rewrite", "latest", "--new-host", "other", "--dry-run")
    assert "stays and would get a changed copy" in dry.out
    kept = run("rewrite", "latest", "--new-host", "other")
    assert "stays and has a changed copy" in kept.out
    assert "is now" not in kept.out
    assert "made 1 new snapshot; the old ones stay" in kept.out
    replaced = run("rewrite", "latest", "--new-host", "third", "--forget")
    assert "is now" in replaced.out
    assert "stay" not in replaced.out


def test_many_tags_do_not_widen_the_table(run: Run, place: Place) -> None:
    many = tuple(f"tag{number}" for number in range(5000))
    place.backup(tags=("x" * 300,))
    place.backup(tags=many)
    lines = run("snapshots").out.splitlines()
    assert max(map(len, lines)) < 300 + len(os.fspath(place.source))
    assert "tag0,tag1," in lines[-2]
    assert "and 49" in lines[-2]
    assert lines[-2].count("more") == 1
    assert run("snapshots", "--json").events[-1]["tags"] == list(many)
