"""Each verb on a real repository: codes, words, and events that fit their schemas."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import kluis
from kluis.options import BackupOptions, Credentials, InitOptions
from kluis_cli.main import main
from tests.unit.cli.test_json import checked

PASSPHRASE = "geheim"
KLUIS = (sys.executable, "-m", "kluis_cli")


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.decode("utf-8", "surrogateescape").splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return checked(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Run]:
    """`run("snapshots", "--json")`: runs it on the repository of this test."""
    monkeypatch.setenv("KLUIS_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("KLUIS_PASSWORD", PASSPHRASE)
    monkeypatch.setenv("KLUIS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    handler = signal.getsignal(signal.SIGTERM)

    def call(*words: str) -> Done:
        status = main(words)
        printed = capfdbinary.readouterr()
        return Done(status, printed.out, printed.err.decode("utf-8", "surrogateescape"))

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, and a repository with two snapshots of it; cheap to open."""
    place = tmp_path_factory.mktemp("template")
    folder = place / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "books.txt").write_text("one\n")
    (folder / "sub" / "deep.txt").write_text("deep\n")
    (folder / "link").symlink_to("books.txt")
    Path(os.fsdecode(bytes(folder) + b"/odd\xff")).write_bytes(b"odd")
    secret = Credentials(passphrase=PASSPHRASE.encode())
    kluis.init(place / "repository", InitOptions(secret, kdf_memory_bytes=1 << 20))
    with kluis.open(place / "repository", secret, cache_folder=place / "cache") as repository:
        kluis.backup(repository, BackupOptions(tags=("first",)), paths=[folder])
        (folder / "books.txt").write_text("one\ntwo\n")
        (folder / "new.txt").write_text("new\n")
        kluis.backup(repository, BackupOptions(tags=("second", "daily")), paths=[folder])
    return place


@pytest.fixture
def twice(template: Path, tmp_path: Path) -> Path:
    """The folder; its two snapshots lie in the repository of this test."""
    for name in ("repository", "cache"):
        shutil.copytree(template / name, tmp_path / name)
    return template / "source"


def test_init_says_what_matters_and_refuses_a_second_time(run: Run) -> None:
    first = run("init")
    assert first.status == 0
    assert b"passphrase" in first.out
    second = run("init", "--json")
    assert second.status == 1
    assert [event["code"] for event in second.events] == ["already_exists"]


def test_a_listing_of_snapshots(run: Run, twice: Path) -> None:
    events = run("snapshots", "--json").events
    assert [event["tags"] for event in events] == [["first"], ["second", "daily"]]
    assert [event["paths"] for event in events] == [[str(twice)]] * 2
    text = run("snapshots")
    rows = [line.split() for line in text.lines if str(twice) in line]
    assert [row[0] for row in rows] == [event["short_id"] for event in events]
    assert all(len(row[0]) >= 4 for row in rows)
    assert len(run("snapshots", "--tag", "daily,second", "--json").events) == 1
    assert run("snapshots", "--tag", "never").out == b"no snapshots\n"


def test_contents_of_a_snapshot(run: Run, twice: Path) -> None:
    listed = run("ls", "latest").out.splitlines()
    assert bytes(twice) + b"/books.txt" in listed
    assert bytes(twice) + b"/odd\xff" in listed
    snapshot, *nodes = run("ls", "latest", "--json").events
    assert snapshot["message_type"] == "snapshot"
    assert {node["type"] for node in nodes} == {"dir", "file", "symlink"}
    inside = run("ls", "latest", str(twice / "sub")).lines
    assert str(twice / "sub" / "deep.txt") in inside
    assert str(twice / "books.txt") not in inside


def test_find_prints_path_and_snapshot(run: Run, twice: Path) -> None:
    ids = [event["short_id"] for event in run("snapshots", "--json").events]
    assert run("find", "books.txt").lines == [f"{id_}  {twice}/books.txt" for id_ in ids]
    found = run("find", "--json", "new.*").events
    assert [event["message_type"] for event in found] == ["match", "summary"]
    nothing = run("find", "never")
    assert (nothing.status, nothing.out) == (0, b"")


def test_diff_names_changed_paths_only(run: Run, twice: Path) -> None:
    changes = run("diff", "latest~1", "latest", "--json").events
    assert {event["path"]: event["modifier"] for event in changes[:-1]} == {
        f"{twice}/books.txt": "M",
        f"{twice}/new.txt": "+",
    }
    assert "deep.txt" not in "".join(run("diff", "latest~1", "latest").lines)


def test_dump(run: Run, twice: Path, tmp_path: Path) -> None:
    assert run("dump", "latest~1", str(twice / "books.txt")).out == b"one\n"
    archive = run("dump", f"latest:{twice}")
    with tarfile.open(fileobj=BytesIO(archive.out)) as tar:
        assert any(name.endswith("sub/deep.txt") for name in tar.getnames())
    target = tmp_path / "out"
    refused = run("dump", "latest", "/never", "--target", str(target))
    assert (refused.status, target.exists()) == (1, False)
    assert "/never" in refused.err
    assert run("dump", "latest", f"{twice}/books.txt", "--target", str(target)).status == 0
    assert target.read_text() == "one\ntwo\n"
    again = run("dump", "latest", f"{twice}/new.txt", "--target", str(target))
    assert (again.status, target.read_text()) == (1, "one\ntwo\n")


def test_events_of_a_dump_stand_alone_on_standard_error(
    run: Run, twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = str(twice / "books.txt")

    def refused(*words: str) -> tuple[int, str]:
        done = run(*words)
        (event,) = Done(0, done.err.encode(), "").events
        assert done.out == b""
        assert (event["message_type"], event["fatal"]) == ("error", True)
        assert event["exit_status"] == done.status
        return done.status, event["code"]

    assert refused("dump", "latest", "/never", "--json") == (1, "not_found")
    assert refused("dump", "--json") == refused("--json", "dump", "latest", "") == (2, "usage")
    assert refused("dump", "latest", book, "--json", "-r", str(tmp_path)) == (10, "no_repository")
    good = run("dump", "latest", book, "--json")
    assert good == Done(0, b"one\ntwo\n", "")
    apart = run("dump", "latest", "/never", "--json", "--target", str(tmp_path / "new"))
    assert apart.events[0]["code"] == "not_found"
    assert apart.err.startswith("kluis: ")
    monkeypatch.setenv("KLUIS_PASSWORD", "wrong")
    assert refused("dump", "latest", book, "--json") == (12, "password")
    assert [event["code"] for event in run("snapshots", "--json").events] == ["password"]


@pytest.mark.parametrize("words", [("dump", "latest", "/"), ("--version",), ("snapshots",)])
def test_a_full_or_deaf_standard_output_makes_no_traceback(
    words: tuple[str, ...], run: Run, twice: Path
) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*KLUIS, *words], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode in (1, 13)
    reading, writing = os.pipe()
    os.close(reading)
    deaf = subprocess.run([*KLUIS, *words], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (deaf.returncode, deaf.stderr) == (0, b"")
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_verify_and_what_damage_looks_like(run: Run, twice: Path, tmp_path: Path) -> None:
    assert run("verify").status == 0
    assert run("check", "--level", "2", "--json").events[-1]["damage_count"] == 0
    pack = max((tmp_path / "repository" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    pack.chmod(stat.S_IRUSR | stat.S_IWUSR)
    pack.write_bytes(whole[:-1])
    damaged = run("verify", "--json")
    assert damaged.status == 4
    assert pack.name in "".join(event.get("object", "") for event in damaged.events)
    assert pack.name in run("verify").err
    healed = run("repair", "--json")
    assert healed.status == 0, healed.err
    assert healed.events[-1]["unhealed"] == 0
    assert pack.read_bytes() == whole


def test_forget_undo_and_prune(run: Run, twice: Path) -> None:
    planned = run("forget", "--keep-last", "1", "--dry-run", "--json").events
    (gone,) = planned[0]["remove"]
    assert gone["tags"] == ["first"]
    assert len(run("snapshots", "--json").events) == 2
    assert run("forget", "--keep-last", "1").status == 0
    assert len(run("snapshots", "--json").events) == 1
    assert [e["id"] for e in run("snapshots", "--forgotten", "--json").events] == [gone["id"]]
    assert run("forget", "--undo", gone["id"], "--json").events[-1]["undone"] == [gone["id"]]
    assert run("forget", "--undo", gone["id"]).out == b"brought back no snapshot\n"
    assert run("forget", gone["short_id"], "--prune", "--json").events[-1]["dry_run"] is False
    assert run("forget", "--undo", gone["id"]).status == 1
    assert run("prune", "--json", "--dry-run").events[-1]["message_type"] == "prune"
    assert run("verify", "--level", "2").status == 0


def test_held_snapshots_stay(run: Run, twice: Path) -> None:
    assert run("hold", "--tag", "first").status == 0
    assert run("forget", "--keep-last", "1").status == 0
    assert [event["held"] for event in run("snapshots", "--json").events] == [True, False]
    assert run("hold", "--release", "latest~1", "--json").events[0]["released"] is True


def test_tag_and_rewrite_make_new_snapshots(run: Run, twice: Path) -> None:
    assert run("tag", "--add", "checked", "latest", "--json").status == 0
    assert run("snapshots", "--json").events[-1]["tags"] == ["second", "daily", "checked"]
    words = ("rewrite", "latest", "--exclude", "new.txt", "--new-host", "other", "--forget")
    assert run(*words).status == 0
    assert f"{twice}/new.txt" not in run("ls", "latest").lines
    assert run("snapshots", "--json").events[-1]["hostname"] == "other"


def test_stats_key_list_and_cache(run: Run, twice: Path) -> None:
    assert run("stats", "--json").events[0]["snapshots_count"] == 2
    assert run("stats", "--mode", "raw-data", "--json").events[0]["total_stored_size"] > 0
    assert [event["current"] for event in run("key", "list", "--json").events] == [True]
    assert run("cache", "clear").status == 0
    assert run("backup", "-q", str(twice)).status == 0


def test_passphrases(
    run: Run, twice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner, changed = tmp_path / "partner", tmp_path / "changed"
    partner.write_text("partner's\n")
    changed.write_text("changed\n")
    added = run("key", "add", "--name", "ann", "--new-password-file", str(partner), "--json")
    assert [event["name"] for event in added.events if event["name"] == "ann"] == ["ann"]
    assert run("snapshots", "--password-file", str(partner)).status == 0
    assert run("key", "passwd", "--new-password-file", str(changed)).status == 0
    refused = run("snapshots")
    assert (refused.status, refused.out) == (12, b"")
    assert run("snapshots", "--password-file", str(changed)).status == 0
    monkeypatch.setenv("KLUIS_PASSWORD", "changed")
    assert run("key", "remove", "first").status == 5
    removed = run("key", "remove", "ann", "--json")
    assert [event["name"] for event in removed.events] == ["first"]
    assert run("snapshots", "--password-file", str(partner)).status == 12
    assert run("key", "remove", "ann").status == 1
    monkeypatch.delenv("KLUIS_PASSWORD")
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert run("snapshots").status == 12
        assert run("snapshots", "-r", str(tmp_path / "none")).status == 10


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("ls zzzz", 1, "zzzz"),
        ("ls latest~99", 1, "latest~99"),
        ("dump latest /never", 1, "/never"),
        ("forget zzzz", 1, "zzzz"),
        ("diff latest zzzz", 1, "zzzz"),
        ("backup /no/such/source", 1, "/no/such/source"),
        ("bench /no/such --only disk", 1, "/no/such"),
        ("bench --rto 8h --only cut", 2, "folder of a medium"),
        ("forget --undo zzzz", 1, "snapshots --forgotten"),
        ("forget --undo latest", 1, "snapshots --forgotten"),
        ("forget --undo latest --prune", 2, "--prune"),
        ("forget --keep-within 0d", 2, "nothing was chosen"),
        ("forget --keep-tag never", 1, "would not keep any of the 2 snapshots"),
        ("snapshots --repo=", 10, "empty"),
        ("snapshots --repository-file=", 10, "empty"),
        ("snapshots --key-file /etc/passwd", 12, "key file"),
        ("rewrite latest --new-host=", 2, "empty"),
        ("backup --host= /etc/hostname", 2, "empty"),
    ],
)
def test_what_does_not_exist_is_named(
    words: str, status: int, said: str, run: Run, twice: Path
) -> None:
    done = run(*words.split())
    assert (done.status, done.out) == (status, b"")
    assert said in done.err


def test_a_missing_source_beside_another_is_code_3(run: Run, twice: Path) -> None:
    done = run("backup", str(twice), "/no/such/source", "--json")
    assert done.status == 3
    errors = [event for event in done.events if event["message_type"] == "error"]
    assert [event["path"] for event in errors] == ["/no/such/source"]
    assert done.events[-1]["exit_status"] == 3
    assert done.err.count("/no/such/source") == 1


def test_standard_input_and_commands(run: Run, twice: Path) -> None:
    words = ("backup", "--stdin-filename", "dump.sql", "--stdin-from-command", "--")
    assert run(*words, "printf", "rows").status == 0
    assert run("dump", "latest", "/dump.sql").out == b"rows"
    before = run("snapshots").out
    failed = run(*words, "sh", "-c", "printf rows; exit 3")
    assert failed.status not in (0, 3)
    assert run("snapshots").out == before


def test_a_profile_runs_a_backup_with_its_hooks(run: Run, twice: Path, tmp_path: Path) -> None:
    story = tmp_path / "story"
    (tmp_path / "kluis").mkdir()
    (tmp_path / "kluis" / "profiles.toml").write_text(
        f'[office]\npaths = ["{twice}"]\ntags = ["office"]\n'
        f'excludes = ["*.txt"]\n[office.hooks]\nbefore = "echo before >> {story}"\n'
        f'after = "echo after $KLUIS_EXIT_STATUS >> {story}"\n'
    )
    assert run("-p", "office", "backup", "--json").status == 0
    assert story.read_text() == "before\nafter 0\n"
    assert run("-p", "office", "backup", "--dry-run").status == 0
    assert story.read_text() == "before\nafter 0\n"
    assert run("-p", "office", "snapshots", "--json").events[-1]["tags"] == ["office"]
    assert not any(line.endswith(".txt") for line in run("-p", "office", "ls", "latest").lines)


def test_dry_run_stores_nothing(run: Run, twice: Path) -> None:
    done = run("backup", "-n", "--force", str(twice))
    assert done.status == 0
    assert b"Would add to the repository: " in done.out
    assert b" of new data, stored as " in done.out
    assert run("backup", "-n", str(twice), "--json").events[-1]["snapshot_id"] == ""
    assert len(run("snapshots", "--json").events) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_snapshot(number: int, run: Run, twice: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = [
        *KLUIS,
        "backup",
        "--stdin-from-command",
        "--",
        "sh",
        "-c",
        f"touch {ready}; exec yes",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert len(run("snapshots", "--json").events) == 2
