from __future__ import annotations

import os
from pathlib import Path

import pytest

from kluis.errors import NotFoundError, UsageError
from kluis.operations.find import find
from kluis.options import FindOptions, SnapshotFilter
from tests.repositories import DAY_NS, START_NS, Place


def found(place: Place, options: FindOptions) -> list[tuple[str, bytes]]:
    """(snapshot, name below the source) of each match."""
    prefix = place.path() + b"/"
    with place.open() as repository:
        return [
            (match.snapshot.id, match.entry.path.removeprefix(prefix))
            for match in find(repository, options, place.context()).matches
        ]


def test_a_name_is_found_in_every_snapshot_oldest_first(place: Place) -> None:
    first = place.backup(START_NS).snapshot_id
    place.write("docs/monday.txt", "another")
    second = place.backup(START_NS + DAY_NS).snapshot_id
    assert found(place, FindOptions(patterns=(b"monday.txt",))) == [
        (first, b"docs/notes/monday.txt"),
        (second, b"docs/monday.txt"),
        (second, b"docs/notes/monday.txt"),
    ]


def test_patterns_paths_and_letters(place: Place) -> None:
    one = place.backup().snapshot_id
    cases: list[tuple[FindOptions, list[bytes]]] = [
        (FindOptions(patterns=(b"*.ODT",), any_case=True), [b"docs/report.odt"]),
        (FindOptions(patterns=(b"*.ODT",)), []),
        (FindOptions(patterns=(place.path("docs") + b"/*.odt",)), [b"docs/report.odt"]),
        (FindOptions(patterns=(b"notes/*day.txt", b"empty")), [
            b"docs/notes/monday.txt", b"docs/notes/tuesday.txt", b"empty",
        ]),
        (FindOptions(patterns=(b"notes",)), [  # what lies below a match matches too
            b"docs/notes", b"docs/notes/monday.txt", b"docs/notes/tuesday.txt",
        ]),
    ]  # fmt: skip
    for options, wanted in cases:
        assert found(place, options) == [(one, name) for name in wanted], options


def test_an_exclamation_mark_is_part_of_a_name(place: Place) -> None:
    place.write("!urgent", "x")
    one = place.backup().snapshot_id
    assert found(place, FindOptions(patterns=(b"!urg*",))) == [(one, b"!urgent")]


def test_changed_since_and_until(place: Place) -> None:
    for name, time_ns in (("old", 10**18), ("new", 2 * 10**18)):
        os.utime(place.write(name), ns=(time_ns, time_ns))
    one = place.backup().snapshot_id
    since = FindOptions(patterns=(b"old", b"new"), newer_than_ns=10**18 + 1)
    until = FindOptions(patterns=(b"old", b"new"), older_than_ns=10**18)
    assert found(place, since) == [(one, b"new")]
    assert found(place, until) == [(one, b"old")]


def test_only_in_the_chosen_snapshots(place: Place) -> None:
    first = place.backup(START_NS, tags=("a",)).snapshot_id
    second = place.backup(START_NS + DAY_NS).snapshot_id
    pattern = (b"empty",)
    assert found(place, FindOptions(pattern, snapshots=("latest",))) == [(second, b"empty")]
    tagged = SnapshotFilter(tags=(("a",),))
    assert found(place, FindOptions(pattern, filter=tagged)) == [(first, b"empty")]


def test_the_files_that_have_bytes_in_a_pack(place: Place) -> None:
    place.backup(START_NS)
    old = packs(place)
    place.write("docs/photo.jpg", os.urandom(200_000))
    second = place.backup(START_NS + DAY_NS).snapshot_id
    [new] = packs(place) - old
    matches = found(place, FindOptions(packs=(new[:12],)))
    files = [name for _, name in matches if b"." in name]
    assert files == [b"docs/photo.jpg"]
    assert {snapshot for snapshot, _ in matches} == {second}
    narrowed = FindOptions(patterns=(b"*.jpg",), packs=(f"packs/{new[0]}/{new}",))
    assert found(place, narrowed) == [(second, b"docs/photo.jpg")]


def test_an_unknown_pack_and_no_question_are_refused(place: Place) -> None:
    place.backup()
    with pytest.raises(NotFoundError, match="zzzzzz"):
        found(place, FindOptions(packs=("zzzzzz",)))
    with pytest.raises(UsageError):
        found(place, FindOptions())


def packs(place: Place) -> set[str]:
    return {path.name for path in Path(place.location, "packs").rglob("*") if path.is_file()}
