"""Restoring what is no plain file: links, holes, devices, and what cannot be set."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from kluis.errors import KluisError
from kluis.events import FileProblem, Warning_
from tests.repositories import Place, make_place
from tests.unit.operations.test_restore import restored, same


def test_hard_links_are_one_file_again(place: Place, tmp_path: Path) -> None:
    os.link(place.source / "letter.txt", place.source / "docs" / "twin.txt")
    os.link(place.source / "link", place.source / "link twin")
    place.write("large", os.urandom(3_000_000))
    os.link(place.source / "large", place.source / "large twin")
    place.backup()
    target = tmp_path / "out"
    for expected in ((8, 0), (0, 8)):
        result = restored(place, target)
        assert same(place.source, target)
        assert (target / "docs/twin.txt").samefile(target / "letter.txt")
        assert (target / "large twin").samefile(target / "large")
        assert (result.files_restored, result.files_unchanged) == expected


def test_links_to_outside_are_cut_before_anything_is_set(place: Place, tmp_path: Path) -> None:
    """A name in the target that is another name of a file elsewhere must not lead there."""
    place.backup()
    target, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    target.mkdir()
    elsewhere.write_bytes((place.source / "letter.txt").read_bytes())
    elsewhere.chmod(0o600)
    os.utime(elsewhere, ns=(5, 5))
    before = elsewhere.stat()
    os.link(elsewhere, target / "letter.txt")
    restored(place, target)
    after = elsewhere.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert same(place.source, target)


def test_holes_stay_holes_and_sparse_makes_more(place: Place, tmp_path: Path) -> None:
    with (place.source / "image").open("wb") as file:
        file.write(os.urandom(100_000))
        file.truncate(30_000_000)
        file.seek(20_000_000)
        file.write(os.urandom(3_000_000) + bytes(1_000_000))
    with (place.source / "nothing").open("wb") as file:
        file.truncate(5_000_000)
    place.backup()
    for sparse in (False, True):
        target = tmp_path / f"out {sparse}"
        restored(place, target, sparse=sparse)
        assert same(place.source, target)
        assert (target / "image").stat().st_blocks * 512 < 5_000_000
        assert (target / "nothing").stat().st_blocks * 512 < 100_000
    target = tmp_path / "out False"
    (target / "image").write_bytes(b"\1" * 30_000_000)
    (target / "nothing").write_bytes(b"\0" * 4_000_000 + b"\2" * 2_000_000)
    restored(place, target)
    assert same(place.source, target)


def test_a_symlink_that_is_there_and_right_is_not_made_anew(place: Place, tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (place.source / name).symlink_to("letter.txt")
    place.backup()
    target = tmp_path / "out"
    restored(place, target)
    (target / "b").unlink()
    (target / "b").symlink_to("elsewhere")
    os.utime(target / "c", ns=(1, 1), follow_symlinks=False)
    (target / "d").unlink()
    (target / "d").write_text("no link")
    before = (target / "a").lstat()
    result = restored(place, target)
    assert result.others_restored == 3
    after = (target / "a").lstat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert same(place.source, target)


def test_devices_and_setuid_need_to_be_asked_for(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.write("program", "#!/bin/sh\n").chmod(0o4755)
    place.write("group program", os.urandom(3_000_000)).chmod(0o2755)
    os.mkfifo(place.source / "pipe")
    os.mknod(place.source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    place.backup()
    target = tmp_path / "out"
    result = restored(place, target)
    assert {problem.path.rpartition(b"/")[2] for problem in result.problems} == {
        b"program", b"group program", b"null",
    }  # fmt: skip
    assert result.exit_status == 3
    assert stat.S_IMODE((target / "program").stat().st_mode) == 0o755
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert not (target / "null").exists()
    result = restored(place, target, privileged=True)
    assert result.exit_status == 0
    assert same(place.source, target)


# Targets that cannot be used.


def test_a_file_as_target_is_refused(place: Place, tmp_path: Path) -> None:
    place.backup()
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        for dry_run in (False, True):
            with pytest.raises(KluisError, match="file"):
                restored(place, target, dry_run=dry_run)


def test_problems_are_named_and_the_rest_is_restored(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    (target / "docs/notes/monday.txt/full").mkdir(parents=True)
    result = restored(place, target)
    assert [problem.path for problem in result.problems] == [
        bytes(target / "docs/notes/monday.txt")
    ]
    assert [e.problem for e in place.told if isinstance(e, FileProblem)] == list(result.problems)
    assert result.exit_status == 3
    assert (result.files_restored, result.files_total) == (4, 5)
    assert (target / "docs/notes/tuesday.txt").exists()


def test_sockets_are_left_to_their_programs_and_named(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.source / "s"))
    place.backup()
    target = tmp_path / "out"
    assert restored(place, target).exit_status == 0
    assert not (target / "s").exists()
    told = [event.message for event in place.told if isinstance(event, Warning_)]
    assert [str(place.source / "s") in message for message in told] == [True]


def test_a_socket_that_is_in_use_is_not_removed(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    for path in (place.source / "s", target / "s"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    place.backup()
    restored(place, target)
    assert stat.S_ISSOCK((target / "s").lstat().st_mode)
