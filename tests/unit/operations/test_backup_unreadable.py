"""A backup names once what it could not read, or what changed, and stores all the rest."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from kluis.events import Cancel, Context, FileProblem
from kluis.format import tree
from kluis.operations.backup import backup
from kluis.options import BackupOptions
from kluis.results import BackupResult
from tests.repositories import Place, make_place
from tests.unit.operations.stored import files_of, source_files, stored
from tests.unit.source.unprivileged import as_nobody, shared_folder

MIB = 1 << 20


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


def run(place: Place, context: Context) -> BackupResult:
    with place.open() as repository:
        return backup(repository, BackupOptions(paths=(place.path(),)), context)


def test_what_cannot_be_read_is_named_once_and_stops_nothing() -> None:
    for folder in shared_folder():
        problems, files = as_nobody(partial(_partly_readable, folder))
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
    first, result = place.backup(), place.backup()
    assert (first.exit_status, result.exit_status) == (3, 3)
    events = [event.problem for event in place.told if isinstance(event, FileProblem)]
    assert events == [*result.problems] * 2
    with place.open() as repository:
        found = stored(repository)
        entries = found.entries()
        assert found.snapshot.facts.incomplete
        assert {p.path for p in found.root.problems} == {p.path for p in result.problems}
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


def _now_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _now_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "reason"),
    [(Path.unlink, "No such file"), (_now_a_fifo, "replaced"), (_now_a_folder, "replaced")],
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


@pytest.mark.parametrize("later", [b"later", os.urandom(MIB), b""])
def test_a_small_file_that_changes_is_stored_as_it_is_when_it_is_read(
    place: Place, later: bytes
) -> None:
    path = place.write("docs/small", "as it was")
    context = Context(place.told.append, Watch(2, lambda: path.write_bytes(later)), place.clock)
    assert run(place, context).exit_status == 0
    assert files_of(place)[b"docs/small"] == later
    place.backup()
    assert files_of(place) == source_files(place)
