"""What is put into a target many at a time, and folders that are finished while they are open."""

from __future__ import annotations

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from kluis._native import scatter
from kluis.source import setting
from kluis.source.folders import LEAST_OPEN_FOLDERS, MOST_OPEN_FOLDERS, open_folders
from tests.unit.source.restoring import MOMENT, Restoring, ours

EXPECTED_NS = MOMENT[0] * 10**9 + MOMENT[1]


def entry(name: bytes, start: int, length: int, mode: int = 0o640, flags: int = 0) -> bytes:
    owner = os.geteuid(), os.getegid()
    fields = len(name), 0, mode, start, length, *MOMENT, *owner, scatter.SMALL_CHOWN | flags
    return setting._ENTRY.pack(*fields)


def test_files_come_from_one_buffer_with_all_that_is_theirs(restoring: Restoring) -> None:
    target = restoring.target
    target.make_folder(b"d", replace=False)
    names = [b"a", b"\xff\n", b"n" * 255]
    hidden = scatter.SMALL_HIDDEN
    entries = entry(names[0], 0, 3) + entry(names[1], 3, 4, 0o604, hidden) + entry(names[2], 7, 0)
    assert target.write_files(b"d", b"".join(names), entries, b"onetwo!") == []
    folder = bytes(restoring.folder / "d")
    for name, content, mode in zip(
        names, (b"one", b"two!", b""), (0o640, 0o604, 0o640), strict=True
    ):
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            assert file.read() == content
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
        assert os.stat(path).st_mtime_ns == EXPECTED_NS
    assert not restoring.problems


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_stands_in_the_way_of_one_stops_no_other(restoring: Restoring, kind: str) -> None:
    outside = restoring.folder.parent / "outside"
    outside.write_bytes(b"precious")
    restoring.target.make_folder(b"d", replace=False)
    there = restoring.folder / "d" / "b"
    if kind == "file":
        there.write_bytes(b"theirs")
    elif kind == "link":
        there.symlink_to(outside)
    else:
        there.mkdir()
    entries = b"".join(entry(name, 0, 3) for name in (b"a", b"b", b"c"))
    (failure,) = restoring.target.write_files(b"d", b"abc", entries, b"new")
    assert (failure.name, failure.step, failure.errno) == (b"b", "open", errno.EEXIST)
    assert outside.read_bytes() == b"precious"
    assert (restoring.folder / "d" / "a").read_bytes() == b"new"
    assert (restoring.folder / "d" / "c").read_bytes() == b"new"


def test_a_folder_that_became_a_link_gets_no_files(restoring: Restoring) -> None:
    outside = restoring.folder.parent / "outside"
    outside.mkdir()
    for number in range(MOST_OPEN_FOLDERS + 2):  # until the first is closed
        restoring.target.make_folder(b"%d" % number, replace=False)
    (restoring.folder / "0").rmdir()
    (restoring.folder / "0").symlink_to(outside)
    with pytest.raises(OSError):
        restoring.target.write_files(b"0", b"a", entry(b"a", 0, 0), b"")
    assert os.listdir(outside) == []


@pytest.mark.parametrize("still_open", [True, False])
def test_a_folder_is_finished_open_or_not(restoring: Restoring, still_open: bool) -> None:
    target = restoring.target
    placed = target.make_folder(b"d", replace=False)
    for number in range(0 if still_open else MOST_OPEN_FOLDERS + 2):
        target.make_folder(b"other%d" % number, replace=False)
    target.finish_folder(placed, ours(0o2751))
    status = (restoring.folder / "d").stat()
    assert stat.S_IMODE(status.st_mode) == 0o2751
    assert status.st_mtime_ns == EXPECTED_NS
    assert not restoring.problems


@pytest.mark.parametrize("swap", ["symlink", "folder", "nothing"])
def test_a_folder_swapped_while_it_is_open_gets_nothing(restoring: Restoring, swap: str) -> None:
    outside = restoring.folder.parent / "outside"
    outside.mkdir()
    placed = restoring.target.make_folder(b"d", replace=False)
    (restoring.folder / "d").rename(restoring.folder / "aside")
    if swap == "symlink":
        (restoring.folder / "d").symlink_to(outside)
    elif swap == "folder":
        (restoring.folder / "d").mkdir()
    before = [path.lstat() for path in (outside, restoring.folder / "aside")]
    with pytest.raises(OSError):
        restoring.target.finish_folder(placed, ours(0o751))
    assert [path.lstat() for path in (outside, restoring.folder / "aside")] == before


def test_a_plain_link_has_time_and_owner(restoring: Restoring) -> None:
    restoring.target.make_plain_link(b"", b"l", b"/etc/passwd", ours(0o777))
    path = restoring.folder / "l"
    assert os.readlink(path) == "/etc/passwd"
    assert path.lstat().st_mtime_ns == EXPECTED_NS
    with pytest.raises(FileExistsError):
        restoring.target.make_plain_link(b"", b"l", b"x", ours(0o777))
    with pytest.raises(ValueError):
        restoring.target.make_plain_link(b"", b"../l", b"x", ours(0o777))
    assert not restoring.problems


def test_what_one_call_cannot_set_of_a_link_is_tried_and_reported_by_itself(
    restoring: Restoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_made(folder: int, name: bytes, points_to: bytes, entry: bytes) -> bool:
        os.symlink(points_to, name, dir_fd=folder)
        return False

    monkeypatch.setattr(scatter, "make_link", only_made)
    restoring.target.make_plain_link(b"", b"l", b"x", ours(0o777))
    restoring.target.make_plain_link(b"", b"m", b"x", ours(0o777, xattrs={b"user.no": b""}))
    assert (restoring.folder / "l").lstat().st_mtime_ns == EXPECTED_NS
    assert [problem[:2] for problem in restoring.problems] == [("m", "xattr")]


def test_as_many_folders_stay_open_as_the_process_may_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = {0: LEAST_OPEN_FOLDERS, 256: 42, 1024: MOST_OPEN_FOLDERS, 20_000: MOST_OPEN_FOLDERS}
    for limit, expected in {**known, resource.RLIM_INFINITY: MOST_OPEN_FOLDERS}.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert open_folders() == expected
