"""A cache that cannot be written costs a warning and time, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kluis_cli.main import main
from tests.repositories import PASSPHRASE, Place, make_place, small_tree
from tests.small_disk import SmallDisk, small_disk
from tests.unit.cli.test_json import checked

NOISE_BYTES = 300_000
SMALL_BYTES = 10_000
CANNOT = "cannot be used"


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: bytes
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return checked(self.out)


Run = Callable[..., Done]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    small_tree(made)
    made.write("noise", os.urandom(NOISE_BYTES))
    return made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def run(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Run]:
    monkeypatch.setenv("KLUIS_REPOSITORY", str(place.location))
    monkeypatch.setenv("KLUIS_PASSWORD", PASSPHRASE.decode())
    monkeypatch.setenv("KLUIS_CACHE_DIR", str(place.folder / "disk" / "cache"))
    handler = signal.getsignal(signal.SIGTERM)

    def call(*words: str) -> Done:
        status = main(words)
        printed = capfdbinary.readouterr()
        return Done(status, printed.out, printed.err.decode("utf-8", "surrogateescape"))

    yield call
    signal.signal(signal.SIGTERM, handler)


def all_verbs(place: Place) -> list[tuple[str, ...]]:
    source = str(place.source)
    return [
        ("backup", source),
        ("snapshots",),
        ("ls", "latest"),
        ("find", "report*"),
        ("stats",),
        ("verify", "--level", "2"),
        ("dump", "latest", f"{source}/letter.txt"),
        ("restore", f"latest:{source}", "--target", str(place.folder / "out")),
        ("backup", source),
        ("diff", "latest~1", "latest"),
        ("tag", "--add", "x", "latest"),
        ("rewrite", "latest", "--exclude", "letter.txt", "--forget"),
        ("hold", "latest"),
        ("hold", "--release", "latest"),
        ("forget", "--keep-last", "1", "--group-by", "", "--prune"),
        ("prune", "--now"),
        ("key", "list"),
        ("repair",),
    ]


def check_all_verbs(run: Run, place: Place) -> None:
    for words in all_verbs(place):
        done = run(*words)
        assert done.status == 0, (words, done)
        assert done.err.count(CANNOT) <= 1, words
    assert (place.folder / "out" / "noise").read_bytes() == (place.source / "noise").read_bytes()


@pytest.mark.parametrize("why", ["fill", "protect"])
def test_every_verb_goes_on_where_the_cache_cannot_be_written(
    run: Run, place: Place, disk: SmallDisk, why: str
) -> None:
    getattr(disk, why)()
    done = run("backup", str(place.source))
    assert done.status == 0, done
    assert done.err.count(CANNOT) == done.err.count("\n") == 1
    assert str(disk.folder / "cache") in done.err
    assert "kluis prune" not in done.err
    if disk.mounted:
        reason = {"fill": "no space left on device", "protect": "read-only file system"}[why]
        assert f"({reason})" in done.err
    check_all_verbs(run, place)
    assert not list(disk.folder.glob("cache/*/*/seen"))


def test_every_verb_goes_on_where_the_home_of_the_user_is_not_there(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KLUIS_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nobody")
    check_all_verbs(run, place)
    assert "/proc/nobody/.cache" in run("snapshots").err


def test_in_json_the_warning_is_an_event(run: Run, place: Place, disk: SmallDisk) -> None:
    disk.protect()
    for words in (("backup", str(place.source)), ("snapshots",), ("verify",)):
        events = run(*words, "--json").events
        warnings = [event for event in events if event["message_type"] == "warning"]
        assert [warning["code"] for warning in warnings] == ["cache"], words
        assert CANNOT in warnings[0]["message"]


def test_nothing_is_stored_twice_and_nothing_left_behind_without_a_cache(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setenv("TMPDIR", str(spare))
    run("backup", str(place.source))
    monkeypatch.setenv("KLUIS_CACHE_DIR", "/proc/nobody")
    [*_, summary] = run("backup", str(place.source), "--json").events
    assert summary["data_read"] >= NOISE_BYTES
    assert summary["data_added"] < SMALL_BYTES
    assert list(spare.iterdir()) == []


def test_what_was_seen_is_still_compared_where_the_cache_can_only_be_read(
    run: Run, place: Place, disk: SmallDisk
) -> None:
    run("backup", str(place.source))
    older = place.folder / "older"
    shutil.copytree(place.location, older)
    run("backup", str(place.source))
    disk.protect()
    assert CANNOT not in run("snapshots").err
    shutil.rmtree(place.location)
    older.rename(place.location)
    assert "rolled back" in run("snapshots").err


@pytest.mark.parametrize("pages", [*range(12), 16, 24, 40, 80])
def test_a_cache_disk_of_any_size_fails_no_backup(run: Run, place: Place, pages: int) -> None:
    """It becomes full at another moment each time; later it has room again."""
    for number in range(60):
        place.write(f"many/{number}", os.urandom(3000))
    with small_disk(place.folder / "disk", pages * os.sysconf("SC_PAGESIZE") or 1) as disk:
        for day in range(2):
            place.write("diary", f"day {day}")
            assert run("backup", str(place.source)).status == 0
        assert run("forget", "--keep-last", "1", "--prune").status == 0
        disk.free()
        place.write("diary", "the last day")
        assert run("backup", str(place.source)).err == ""
        assert run("verify", "--level", "2").status == 0
        [*_, summary] = run("backup", str(place.source), "--json").events
        assert (summary["files_new"], summary["files_changed"]) == (0, 0)
        assert summary["data_added"] < SMALL_BYTES
