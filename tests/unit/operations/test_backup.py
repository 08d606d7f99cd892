"""A backup holds what it was given, says what it did, and names once what it could not read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.errors import KluisError, UsageError
from kluis.events import Cancel, Context, Event, FileDone, FileProblem, Progress
from kluis.format import tree
from kluis.operations.archiving import telling
from kluis.operations.backup import backup
from kluis.options import BackupOptions, Compression, Excludes, StdinSource
from kluis.results import BackupResult
from tests.repositories import Place, make_place
from tests.unit.operations.stored import files_of, source_files, stored
from tests.unit.source.unprivileged import as_nobody, shared_folder

KIB = 1 << 10
MIB = 1 << 20
# The folders above the source are stored too, and other processes change those meanwhile.
ABOVE_BYTES = 4 * KIB


class Watch(Cancel):
    """Never cancels, but does something to the source the n-th time that it is asked."""

    def __init__(self, number: int, action: object) -> None:
        super().__init__()
        self.left, self.action = number, action

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            assert callable(self.action)
            self.action()
        super().check()


def run(place: Place, context: Context, **options: object) -> BackupResult:
    wanted = BackupOptions(paths=(place.path(),), host="box")
    with place.open() as repository:
        return backup(repository, replace(wanted, **options), context)  # type: ignore[arg-type]


def told(place: Place, **options: object) -> tuple[BackupResult, list[Event]]:
    """The result, and the events of a listener who wants to hear of each file."""
    events: list[Event] = []
    context = Context(events.append, Cancel(), place.clock, each_file=True)
    return run(place, context, **options), events


def done(events: list[Event]) -> dict[str, tuple[str, int, int]]:
    return {
        os.fsdecode(os.path.basename(event.path)): (event.action, event.size, event.bytes_added)
        for event in events
        if isinstance(event, FileDone)
    }


def repository_files(place: Place) -> set[str]:
    return {str(path) for path in place.location.rglob("*") if path.is_file()}


def test_every_byte_is_stored_whatever_the_size(place: Place) -> None:
    """Around the limits between one chunk, a batch and a window."""
    block = os.urandom(3 * MIB + 77)
    for size in (1, 4095, 4096, 4097, 65_536, 256 * KIB, 256 * KIB + 1, MIB, 3 * MIB + 77):
        place.write(f"noise {size}", block[:size])
        place.write(f"words/{size}", (b"so many words %d " % size * (size // 10))[:size])
    place.write("zeros/64", bytes(64 * KIB))
    place.write("zeros/batch", b"start" + bytes(200 * KIB) + b"end")
    place.write("zeros/window", b"start" + bytes(2 * MIB) + b"end")
    result = place.backup()
    assert files_of(place) == source_files(place)
    assert result.bytes_read == result.bytes_total == sum(map(len, source_files(place).values()))


@pytest.mark.parametrize("how", ["off", "auto", "fast", "max"])
def test_compression_changes_the_size_and_nothing_else(place: Place, how: str) -> None:
    place.write("words", b"the same words again and again " * 20_000)
    place.write("noise", os.urandom(100_000))
    levels = {
        "off": Compression(0, False),
        "auto": Compression(),
        "fast": Compression(1),
        "max": Compression(19, False),
    }
    result = place.backup(compression=levels[how])
    assert files_of(place) == source_files(place)
    assert (result.bytes_added > 600_000) is (how == "off")


def test_counts_say_what_happened(place: Place) -> None:
    first = place.backup()
    assert (first.files_new, first.files_changed, first.files_unmodified) == (5, 0, 0)
    assert first.parent is None
    place.write("letter.txt", "Dear Bob,\n")
    place.write("docs/new.txt", "new")
    (place.source / "empty").unlink()
    second = place.backup()
    assert (second.files_new, second.files_changed, second.files_unmodified) == (1, 1, 3)
    assert second.dirs_new == 0
    assert second.parent == first.snapshot_id
    third = place.backup()
    assert (third.files_new, third.files_changed, third.files_unmodified) == (0, 0, 5)
    assert third.dirs_new == 0
    # Other processes may change the folders above the source meanwhile.
    assert third.dirs_unmodified >= 3
    assert (
        third.dirs_changed + third.dirs_unmodified == second.dirs_changed + second.dirs_unmodified
    )


# Progress and events.


def test_totals_are_those_of_the_last_run_of_the_same_paths(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PROGRESS_SECONDS", 0.0)

    def progress(**options: object) -> list[Progress]:
        place.told.clear()
        result = place.backup(**options)
        found = [event for event in place.told if isinstance(event, Progress)]
        assert [item.bytes_done for item in found] == sorted(item.bytes_done for item in found)
        assert found[-1].bytes_done == result.bytes_total
        return found

    first = progress()
    assert {(item.files_total, item.bytes_total) for item in first} == {(None, None)}
    size = sum(map(len, source_files(place).values()))
    place.write("more", "more")
    assert {(item.files_total, item.bytes_total) for item in progress()} == {(5, size)}
    size += 4
    # Nothing changed, read again, compared with a snapshot: the last run is still known.
    for options in ({}, {"force": True}, {"parent": "latest"}, {"dry_run": True}):
        assert {(item.files_total, item.bytes_total) for item in progress(**options)} == {(6, size)}
    other = progress(paths=(place.path("docs"),))
    assert {(item.files_total, item.bytes_total) for item in other} == {(None, None)}


def test_progress_goes_on_within_a_large_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "PROGRESS_SECONDS", 0.0)
    path = place.write("large", bytes(range(256)) * (16 * KIB))
    place.backup()
    steps = {
        e.bytes_done for e in place.told if isinstance(e, Progress) and e.current == bytes(path)
    }
    assert len(steps) >= 4


def test_each_file_is_told_where_somebody_asks(place: Place) -> None:
    noise = os.urandom(300_000)
    place.write("noise", noise)
    place.write("zwin", noise)
    _, events = told(place)
    first = done(events)
    assert {action for action, _, _ in first.values()} == {"new"}
    assert len(first) == 7
    assert first["noise"] == ("new", 300_000, 300_000)
    assert first["zwin"] == ("new", 300_000, 0)
    assert first["monday.txt"] == ("new", 20, 20)
    assert first["empty"] == ("new", 0, 0)
    place.write("docs/notes/monday.txt", "do not call\n")
    place.write("docs/again", "call again\n")
    result, events = told(place)
    second = done(events)
    assert second.pop("monday.txt") == ("changed", 12, 12)
    assert second.pop("again") == ("new", 11, 0)
    assert set(second) == set(first) - {"monday.txt"}
    assert {action for action, _, _ in second.values()} == {"unmodified"}
    assert result.files_unmodified == len(second)
    _, events = told(place)
    assert {action for action, _, _ in done(events).values()} == {"unmodified"}
    assert len(done(events)) == 8


def test_no_file_is_told_where_nobody_asks(place: Place) -> None:
    place.backup()
    assert [event for event in place.told if isinstance(event, FileDone)] == []


# Dry runs.


def test_a_dry_run_estimates_what_a_run_then_adds_and_writes_nothing(place: Place) -> None:
    place.write("words", b"".join(b"line %d of many\n" % n for n in range(50_000)))
    place.write("noise", os.urandom(2 * MIB))
    before = repository_files(place)
    cached = {path.name for path in place.cache.rglob("*") if path.is_file()}
    dry = place.backup(dry_run=True)
    assert repository_files(place) == before
    with place.open() as repository:
        assert repository.cache.runs() == []
        assert repository.cache.open_runs() == []
    left = {path.name for path in place.cache.rglob("*") if path.is_file()} - cached
    assert left <= {"client", "clock", "lock", "seen", "table-lock"}
    real = place.backup()
    assert dry.bytes_added_plain == pytest.approx(real.bytes_added_plain, abs=ABOVE_BYTES)
    assert dry.bytes_added == pytest.approx(real.bytes_added, rel=0.01)
    assert (dry.files_new, dry.bytes_total) == (real.files_new, real.bytes_total)
    assert dry.snapshot_id == ""
    assert place.backup(dry_run=True).bytes_added_plain < ABOVE_BYTES


def test_a_dry_run_changes_nothing_for_the_next_run(place: Place) -> None:
    place.backup()
    place.write("noise", os.urandom(MIB))
    place.backup(dry_run=True)
    assert place.backup().bytes_added_plain > MIB
    assert files_of(place) == source_files(place)


# What may be named as a source.


def test_a_file_a_link_and_a_folder_can_be_named(place: Place, tmp_path: Path) -> None:
    result = place.backup(paths=(place.path("letter.txt"), place.path("link"), place.path("docs")))
    with place.open() as repository:
        found = stored(repository)
        entries = found.entries()
        assert found.read(place.path("letter.txt")) == b"Dear Ann,\n" * 50
    assert entries[place.path("link")].link == b"letter.txt"
    assert place.path("empty") not in entries
    assert place.path("docs/notes/monday.txt") in entries
    above = [path for path in entries if place.path().startswith(path + b"/")]
    assert len(above) == len(tmp_path.parts) - 1
    assert all(entries[path].kind == tree.DIRECTORY for path in above)
    assert result.exit_status == 0


def test_a_relative_path_is_taken_from_where_we_are(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.source / "docs")
    place.backup(paths=(b"../letter.txt", b"notes/."))
    assert set(files_of(place)) == {
        b"letter.txt",
        b"docs/notes/monday.txt",
        b"docs/notes/tuesday.txt",
    }


def test_a_missing_path_is_named_and_the_others_are_stored(place: Place) -> None:
    result = place.backup(paths=(place.path("letter.txt"), place.path("absent")))
    assert [(p.path, p.operation) for p in result.problems] == [(place.path("absent"), "stat")]
    assert result.exit_status == 3
    assert set(files_of(place)) == {b"letter.txt"}


def test_nothing_but_missing_paths_is_no_snapshot(place: Place) -> None:
    with pytest.raises(KluisError, match="absent: No such file"):
        place.backup(paths=(place.path("absent"),))
    assert not list((place.location / "snapshots").glob("*"))
    with pytest.raises(UsageError):
        place.backup(paths=())


def test_the_repository_and_the_cache_are_left_out_of_a_source_that_holds_them(
    place: Place,
) -> None:
    for _ in range(2):
        result = place.backup(paths=(os.fsencode(place.folder),))
        assert result.exit_status == 0
    with place.open() as repository:
        entries = stored(repository).entries()
    within = {path for path in entries if path.startswith(os.fsencode(place.location))}
    assert within == set()
    assert not [
        path for path in entries if path.startswith(os.fsencode(place.cache)) and b"." in path
    ]
    assert place.path("letter.txt") in entries


def test_the_repository_itself_is_no_source(place: Place) -> None:
    for inside in (place.location, place.location / "packs"):
        with pytest.raises(KluisError, match="repository"):
            place.backup(paths=(os.fsencode(inside),))
    assert not list((place.location / "snapshots").glob("*"))


def test_rules_leave_out(place: Place) -> None:
    place.backup(excludes=Excludes(patterns=(b"*.txt",)))
    assert set(files_of(place)) == {b"empty", b"docs/report.odt"}


# What cannot be read.


def test_what_cannot_be_read_is_named_once_and_stops_nothing() -> None:
    for folder in shared_folder():
        problems, files = as_nobody(lambda folder=folder: _partly_readable(folder))
        assert problems == [
            ("source/closed", "list", "Permission denied"),
            ("source/secret", "read", "Permission denied"),
            ("source/secret large", "read", "Permission denied"),
        ]
        assert files == ["also open", "docs/report.odt", "open"]


def _partly_readable(folder: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    place = make_place(folder)
    place.write("open", "readable")
    place.write("also open", "readable")
    place.write("docs/report.odt", os.urandom(90_000))
    place.write("closed/within", "not to be seen")
    place.write("secret", "not to be read").chmod(0)
    place.write("secret large", os.urandom(MIB)).chmod(0)
    (place.source / "closed").chmod(0)
    for _ in range(2):
        result = place.backup()
        assert result.exit_status == 3
    events = [event.problem for event in place.told if isinstance(event, FileProblem)]
    assert events == [*result.problems] * 2
    with place.open() as repository:
        found = stored(repository)
        entries = found.entries()
        assert found.snapshot.facts.incomplete
        assert {p.path for p in found.snapshot.root.problems} == {p.path for p in result.problems}
    assert entries[place.path("closed")].flags & tree.INCOMPLETE
    assert place.path("secret") not in entries
    assert (result.files_new, result.files_unmodified) == (0, 3)
    (place.source / "closed").chmod(0o700)
    (place.source / "secret").chmod(0o600)
    (place.source / "secret large").chmod(0o600)
    healed = place.backup()
    assert (healed.exit_status, healed.files_new) == (0, 3)
    assert files_of(place) == source_files(place)
    prefix = len(os.fsencode(folder)) + 1
    named = [(p.path[prefix:].decode(), p.operation, p.reason) for p in result.problems]
    plain = {b"open", b"also open", b"docs/report.odt"}
    return sorted(named), sorted(name.decode() for name in files_of(place) if name in plain)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.unlink() or os.mkfifo(path), "replaced"),
        (lambda path: path.unlink() or path.mkdir(), "replaced"),
    ],
)
@pytest.mark.parametrize("size", [20, 90_000, MIB])
def test_a_file_that_goes_away_before_it_is_read_is_named(
    place: Place, change: object, reason: str, size: int
) -> None:
    path = place.write("docs/goes", os.urandom(size))
    assert callable(change)
    # The folders are listed one after the other: the third question comes before docs is read.
    context = Context(place.told.append, Watch(2, lambda: change(path)), place.clock)
    result = run(place, context)
    assert [(p.path, p.operation) for p in result.problems] == [(bytes(path), "read")]
    assert reason in result.problems[0].reason
    assert b"docs/goes" not in files_of(place)
    assert b"docs/report.odt" in files_of(place)
    assert result.exit_status == 3
    after = place.backup()
    assert after.exit_status == 0


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _shrink(path: Path) -> None:
    os.truncate(path, 2 * MIB)


def _change(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"other")


@pytest.mark.parametrize("change", [_grow, _shrink, _change])
def test_a_file_that_changes_while_it_is_read_is_named_and_read_again_next_time(
    place: Place, change: object
) -> None:
    path = place.write("docs/report.odt", os.urandom(4 * MIB))
    assert callable(change)
    context = Context(place.told.append, Watch(5, lambda: change(path)), place.clock)
    result = run(place, context)
    assert [(p.path, p.operation) for p in result.problems] == [(bytes(path), "read")]
    assert "changed while it was read" in result.problems[0].reason
    with place.open() as repository:
        assert stored(repository).entries()[bytes(path)].flags & tree.INCOMPLETE
    again = place.backup()
    assert (again.exit_status, again.files_changed) == (0, 1)
    assert files_of(place) == source_files(place)


def test_a_small_file_that_changes_is_stored_as_it_is_when_it_is_read(place: Place) -> None:
    path = place.write("docs/small", "as it was")
    context = Context(place.told.append, Watch(2, lambda: path.write_text("later")), place.clock)
    assert run(place, context).exit_status == 0
    assert files_of(place)[b"docs/small"] == b"later"
    place.backup()
    assert files_of(place) == source_files(place)


# Streams.


@pytest.fixture
def silence() -> Iterator[int]:
    """Standard input that gives nothing and does not end; its other side."""
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(saved, 0)
    os.close(saved)
    os.close(writing)


@pytest.mark.parametrize("source", [StdinSource(b"x"), StdinSource(b"x", (b"sleep", b"600"))])
def test_a_silent_stream_can_be_cancelled(place: Place, silence: int, source: StdinSource) -> None:
    os.write(silence, b"something")
    cancel = Cancel()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(KluisError, match="cancelled"):
        run(place, Context(place.told.append, cancel, place.clock), paths=(), stdin=source)
    assert time.monotonic() - started < 5
    assert not list((place.location / "snapshots").glob("*"))


def test_a_stream_is_one_file_of_the_snapshot(place: Place) -> None:
    command = (b"seq", b"1", b"300000")
    result = place.backup(paths=(), stdin=StdinSource(b"dumps/numbers.txt", command))
    with place.open() as repository:
        found = stored(repository)
        assert found.read(b"/dumps/numbers.txt") == b"".join(b"%d\n" % n for n in range(1, 300_001))
        assert found.snapshot.root.paths == (b"/dumps/numbers.txt",)
    assert (result.files_new, result.bytes_total) == (1, result.bytes_read)


def test_a_command_that_fails_is_no_backup(place: Place) -> None:
    with pytest.raises(KluisError, match="exit status 3"):
        place.backup(paths=(), stdin=StdinSource(b"x", (b"sh", b"-c", b"echo half; exit 3")))
    assert not list((place.location / "snapshots").glob("*"))
