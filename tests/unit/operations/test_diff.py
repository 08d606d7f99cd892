from __future__ import annotations

import os
import shutil

import pytest

from kluis.errors import NotFoundError, UsageError
from kluis.operations.diff import diff
from kluis.options import DiffOptions
from tests.repositories import DAY_NS, START_NS, Place


def changes(place: Place, options: DiffOptions) -> list[tuple[str, bytes]]:
    prefix = place.path() + b"/"
    with place.open() as repository:
        return [
            (change.change, change.path.removeprefix(prefix))
            for change in diff(repository, options, place.context()).changes
        ]


LAST_TWO = DiffOptions("latest~1", "latest")


def test_only_changed_paths_are_named(place: Place) -> None:
    place.write("swap", "a file")
    place.write("box/inside", "x")
    place.backup(START_NS)
    place.write("letter.txt", "Dear Bob,\n" * 50)
    place.write("docs/notes/friday.txt", "done\n")
    (place.source / "empty").unlink()
    (place.source / "link").unlink()
    (place.source / "link").symlink_to("empty")
    (place.source / "swap").unlink()
    place.write("swap/inside", "now a folder")
    shutil.rmtree(place.source / "box")
    place.backup(START_NS + DAY_NS)
    assert changes(place, LAST_TWO) == [
        ("removed", b"box"),
        ("removed", b"box/inside"),
        ("added", b"docs/notes/friday.txt"),
        ("removed", b"empty"),
        ("content", b"letter.txt"),
        ("content", b"link"),
        ("type", b"swap"),
        ("added", b"swap/inside"),
    ]


def test_metadata_only_when_asked_for(place: Place) -> None:
    place.backup(START_NS)
    os.utime(place.source / "letter.txt", ns=(5, 5))
    (place.source / "docs" / "report.odt").chmod(0o600)
    place.backup(START_NS + DAY_NS)
    assert changes(place, LAST_TWO) == []
    below = place.path()
    options = DiffOptions("latest~1", "latest", below, below, metadata=True)
    assert changes(place, options) == [
        ("metadata", b"docs/report.odt"),
        ("metadata", b"letter.txt"),
    ]


def test_both_sides_of_a_change_are_described(place: Place) -> None:
    place.backup(START_NS)
    place.write("letter.txt", "short")
    place.backup(START_NS + DAY_NS)
    with place.open() as repository:
        [change] = diff(repository, LAST_TWO, place.context()).changes
    assert change.old is not None
    assert change.new is not None
    assert (change.old.size, change.new.size) == (500, 5)


def test_folders_and_files_below_a_path_are_compared(place: Place) -> None:
    place.write("copy/notes/monday.txt", "call the accountant\n")
    place.backup()
    options = DiffOptions("latest", "latest", place.path("docs"), place.path("copy"))
    assert changes(place, options) == [
        ("removed", b"copy/notes/tuesday.txt"),
        ("removed", b"copy/report.odt"),
    ]
    same = place.path("docs/notes/monday.txt"), place.path("copy/notes/monday.txt")
    assert changes(place, DiffOptions("latest", "latest", *same)) == []
    other = place.path("docs/notes/tuesday.txt"), same[1]
    assert changes(place, DiffOptions("latest", "latest", *other)) == [
        ("content", b"copy/notes/monday.txt")
    ]


def test_what_cannot_be_compared_is_refused(place: Place) -> None:
    place.backup()
    with pytest.raises(UsageError):
        changes(place, DiffOptions("latest", "latest", place.path("docs"), place.path("empty")))
    with pytest.raises(NotFoundError, match="nothing"):
        changes(place, DiffOptions("latest", "latest", place.path("nothing")))


def test_equal_folders_are_not_read(place: Place) -> None:
    place.backup(START_NS)
    place.backup(START_NS + DAY_NS)
    with place.open() as repository:
        result = diff(repository, LAST_TWO, place.context())
        for path in place.location.rglob("packs/*/*"):
            path.unlink()
        assert list(result.changes) == []
