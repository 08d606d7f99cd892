"""A backup holds what it was given, says what it did, and names once what it could not read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.errors import KluisError, UsageError
from kluis.events import Cancel, Context, Event, FileDone, Progress
from kluis.format import tree
from kluis.operations.archiving import telling
from kluis.operations.backup import backup
from kluis.operations.snapshots import snapshots
from kluis.options import BackupOptions, Compression, Excludes, SnapshotsOptions
from kluis.results import BackupResult
from kluis.units import format_time
from tests.repositories import DAY_NS, Place
from tests.unit.operations.stored import files_of, source_files, stored

KIB = 1 << 10
MIB = 1 << 20
# The folders above the source are stored too, and other processes change those meanwhile.
ABOVE_BYTES = 4 * KIB


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
    # Not the same again and again: where the secret table cuts in that, all chunks are one.
    place.write("words", b"".join(b"the word %d and then another " % n for n in range(20_000)))
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
        result = place.backup(None, **options)
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
    own = (os.fsencode(place.location), os.fsencode(place.cache) + b"/")
    assert [path for path in entries if path.startswith(own)] == []
    assert place.path("letter.txt") in entries


def test_the_repository_itself_is_no_source(place: Place) -> None:
    for inside in (place.location, place.location / "packs"):
        with pytest.raises(KluisError, match="repository"):
            place.backup(paths=(os.fsencode(inside),))
    assert not list((place.location / "snapshots").glob("*"))


def test_rules_leave_out(place: Place) -> None:
    place.backup(excludes=Excludes(patterns=(b"*.txt",)))
    assert set(files_of(place)) == {b"empty", b"docs/report.odt"}


def test_a_time_before_the_last_snapshot_is_taken_with_a_warning(place: Place) -> None:
    place.write("a", "1")
    first = place.backup()
    earlier = first.time_ns - DAY_NS
    second = place.backup(time_ns=earlier)
    assert first.warnings == ()
    assert second.time_ns == earlier
    [warning] = second.warnings
    assert format_time(earlier) in warning
    assert format_time(first.time_ns) in warning
    assert place.backup(time_ns=first.time_ns + 1).warnings == ()
    with place.open() as repository:
        [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
    listed = {item.id: (item.time_ns, item.counted_ns) for item in group.snapshots}
    assert listed[first.snapshot_id] == (first.time_ns, None)
    assert listed[second.snapshot_id] == (earlier, first.time_ns)


def test_a_longer_backup_that_ends_later_is_no_wrong_time(place: Place) -> None:
    place.write("a", "1")
    first = place.backup()
    assert place.backup(at=first.time_ns - 1).warnings == ()


def test_a_short_run_ends_with_its_totals(place: Place) -> None:
    result, events = told(place)
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert result.files_new > 0
    assert (last.files_done, last.bytes_done) == (result.files_new, result.bytes_total)
