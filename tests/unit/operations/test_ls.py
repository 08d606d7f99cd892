from __future__ import annotations

import os
from pathlib import Path

import pytest

from kluis.errors import DamageError, NotFoundError
from kluis.format import tree
from kluis.operations.ls import ls
from kluis.options import LsOptions
from kluis.repository.listing import listed_entry
from kluis.source.removing import remove
from tests.repositories import DAY_NS, START_NS, Place

EVERYTHING = [
    "docs",
    "docs/notes",
    "docs/notes/monday.txt",
    "docs/notes/tuesday.txt",
    "docs/report.odt",
    "empty",
    "letter.txt",
    "link",
]


def paths(place: Place, options: LsOptions) -> list[bytes]:
    with place.open() as repository:
        found = [entry.path for entry in ls(repository, options, place.context()).entries]
        assert list(ls(repository, options, place.context()).paths) == found
        return found


def test_whole_paths_each_folder_before_what_is_in_it(place: Place) -> None:
    place.backup()
    found = paths(place, LsOptions())
    above = [place.path()[:n] for n, byte in enumerate(place.path()) if n and byte == ord("/")]
    assert found == [*above, place.path(), *(place.path(name) for name in EVERYTHING)]


def test_below_a_path_of_the_snapshot(place: Place) -> None:
    place.backup()
    notes = ["docs/notes/monday.txt", "docs/notes/tuesday.txt"]
    wanted = [place.path(name) for name in notes]
    assert paths(place, LsOptions(path=place.path("docs/notes"))) == wanted
    assert paths(place, LsOptions(path=place.path("letter.txt"))) == [place.path("letter.txt")]


def test_only_what_lies_in_the_named_folders(place: Place) -> None:
    place.backup()
    names = ["docs", "docs/notes", "docs/report.odt"]
    wanted = [place.path(name) for name in names]
    assert paths(place, LsOptions(paths=(place.path("docs"),), recursive=False)) == wanted
    deep = LsOptions(paths=(place.path("docs/notes"), place.path("docs")))
    assert paths(place, deep) == [place.path(name) for name in EVERYTHING[:5]]


@pytest.mark.parametrize("name", ["nothing", "letter.txt/x"])
def test_a_missing_path_is_named_before_anything_is_listed(place: Place, name: str) -> None:
    place.backup()
    with place.open() as repository:
        for options in (LsOptions(path=place.path(name)), LsOptions(paths=(place.path(name),))):
            with pytest.raises(NotFoundError, match=name.partition("/")[0]):
                ls(repository, options, place.context())


def test_entries_tell_what_was_recorded(place: Place) -> None:
    file = place.source / "letter.txt"
    os.utime(file, ns=(0, 1_600_000_000_123_456_789))
    file.chmod(0o640)
    os.mkfifo(place.source / "pipe")
    place.backup()
    with place.open() as repository:
        result = ls(repository, LsOptions(path=place.path()), place.context())
        found = {entry.path.rpartition(b"/")[2]: entry for entry in result.entries}
    letter = found[b"letter.txt"]
    assert (letter.kind, letter.mode, letter.size) == ("file", 0o640, 500)
    assert letter.mtime_ns == 1_600_000_000_123_456_789
    assert (letter.uid, letter.gid) == (os.getuid(), os.getgid())
    assert (found[b"link"].kind, found[b"link"].target) == ("symlink", b"letter.txt")
    assert found[b"pipe"].kind == "fifo"
    assert found[b"docs"].kind == "dir"


@pytest.mark.parametrize(
    ("second", "nanosecond", "shown"),
    [(0, tree.NO_BIRTH, None), (0, 0, None), (0, 1, 1), (-1, 0, -1_000_000_000)],
)
def test_a_birth_time_that_is_unknown_is_none(
    second: int, nanosecond: int, shown: int | None
) -> None:
    entry = tree.Entry(b"a", tree.FILE, 0o644, 0, 0, 0, 0, 0, second, nanosecond)
    assert listed_entry(b"/a", entry, tree.Tree((entry,))).birth_ns == shown


def test_ten_thousand_levels_are_listed(place: Place) -> None:
    levels = 10_000
    here = os.open(place.source, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(b"d", dir_fd=here)
        deeper = os.open(b"d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    try:
        result = place.backup()
    finally:
        folder = os.open(place.source, os.O_RDONLY)
        remove(folder, b"d", place.path(), print)
        os.close(folder)
    assert result.problems == ()
    with place.open() as repository:
        listed = ls(repository, LsOptions(path=place.path("d")), place.context()).entries
        last = b""
        count = 0
        for entry in listed:
            last = entry.path
            count += 1
    assert count == levels - 1
    assert last == place.path("d") + b"/d" * (levels - 1)


def test_a_folder_that_is_lost_is_told_at_the_end_and_the_rest_is_listed(place: Place) -> None:
    place.backup(START_NS)
    place.write("docs/notes/wednesday.txt", "new\n")
    place.backup(START_NS + DAY_NS)
    _destroy_packs_of_second_backup(place.location)
    with place.open() as repository:
        entries = ls(repository, LsOptions("latest~1"), place.context()).entries
        assert sum(1 for _ in entries) >= len(EVERYTHING)
        entries = ls(repository, LsOptions(), place.context()).entries
        with pytest.raises(DamageError, match="not everything could be listed"):
            list(entries)


def _destroy_packs_of_second_backup(location: Path) -> None:
    packs = sorted((location / "packs").rglob("*"), key=lambda path: path.stat().st_mtime_ns)
    newest = [path for path in packs if path.is_file()][-1]
    newest.write_bytes(bytes(newest.stat().st_size))
    for path in (location / "parity").iterdir():
        path.unlink()
