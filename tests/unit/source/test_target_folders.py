"""Folders of a target: reached at any depth, made again, replaced and removed only as asked."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from kluis.source import records as listing
from kluis.source.exclude import Exclusions
from kluis.source.folders import MOST_OPEN_FOLDERS
from kluis.source.openat import open_directory
from kluis.source.walk import WalkOptions, walk
from tests.unit.source.restoring import Restoring, ours
from tests.unit.source.unprivileged import as_nobody, is_root


def test_folders_of_a_former_restore_can_be_written_again(shared: Path) -> None:
    """By a user who is not root: the first restore left them read-only."""

    def restore() -> list[tuple[str, str, int]]:
        problems = []
        for content in (b"one", b"two"):
            started = Restoring(shared / "t")
            with started.target as target:
                outer = target.make_folder(b"a", replace=False)
                inner = target.make_folder(b"a/b", replace=False)
                started.file(b"a/b", b"f", content, ours(0o400))
                target.finish(inner, ours(0o300))
                target.finish(outer, ours(0o500))
            problems += started.problems
        (shared / "t" / "a" / "b").chmod(0o700)
        assert (shared / "t" / "a" / "b" / "f").read_bytes() == b"two"
        return problems

    assert as_nobody(restore) == []


def test_a_folder_that_may_only_be_searched_is_passed(shared: Path) -> None:
    (shared / "home" / "joe").mkdir(parents=True)
    (shared / "home" / "joe").chmod(0o777)
    (shared / "home").chmod(0o711)

    def restore() -> list[tuple[str, str, int]]:
        started = Restoring(shared)
        with started.target as target:
            target.make_folder(b"home", replace=False)
            target.make_folder(b"home/joe", replace=False)
            started.file(b"home/joe", b"f", b"x", ours())
        return started.problems

    assert as_nobody(restore) == []
    assert (shared / "home/joe/f").read_bytes() == b"x"


@pytest.mark.parametrize("replace_it", [False, True])
def test_what_stands_in_the_way_of_a_folder_goes_only_on_request(
    restoring: Restoring, tmp_path: Path, replace_it: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (restoring.folder / "l").symlink_to(outside)
    (restoring.folder / "f").write_bytes(b"x")
    for name in (b"l", b"f"):
        if replace_it:
            restoring.target.make_folder(name, replace=True)
            restoring.file(name, b"inside", b"", ours())
        else:
            with pytest.raises(OSError):
                restoring.target.make_folder(name, replace=False)
    assert list(outside.iterdir()) == []
    assert (restoring.folder / "l").is_symlink() is not replace_it
    assert (restoring.folder / "f" / "inside").exists() is replace_it


def test_a_full_folder_is_never_replaced_by_something_else(restoring: Restoring) -> None:
    (restoring.folder / "d" / "e").mkdir(parents=True)
    (restoring.folder / "empty").mkdir()
    target = restoring.target
    with pytest.raises(OSError) as caught:
        target.create_file(b"", b"d", replace=True)
    assert caught.value.errno == errno.ENOTEMPTY
    with pytest.raises(OSError):
        target.make_link(b"", b"d", b"x", ours(), replace=True)
    assert (restoring.folder / "d" / "e").is_dir()
    restoring.file(b"", b"empty", b"x", ours())
    assert (restoring.folder / "empty").is_file()


def test_what_is_there_can_be_listed_looked_at_and_read(restoring: Restoring) -> None:
    (restoring.folder / "d").mkdir()
    (restoring.folder / "d" / "f").write_bytes(b"abc")
    (restoring.folder / "d" / "l").symlink_to("f")
    target = restoring.target
    records, names = target.entries(b"d")
    assert listing.split_names(records, names) == [b"f", b"l"]
    found = target.look(b"d", b"f")
    assert found is not None
    assert found.size == 3
    link = target.look(b"d", b"l")
    assert link is not None
    assert stat.S_ISLNK(link.mode)
    assert target.look(b"d", b"no") is None
    with target.existing_file(b"d", b"f") as file:
        buffer = memoryview(bytearray(10))
        assert file.read_at(buffer, 0) == 3
    with pytest.raises(OSError):
        target.existing_file(b"d", b"l")


def test_removing_an_entry_removes_all_below_it_and_follows_no_link(restoring: Restoring) -> None:
    for path in ("keep/x", "go/a/b/c", "go/d", "file"):
        (restoring.folder / path).mkdir(parents=True)
    (restoring.folder / "go" / "a" / "f").touch()
    outside = restoring.folder.parent / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (restoring.folder / "go" / "l").symlink_to(outside)
    (restoring.folder / "l").symlink_to(outside)
    restoring.target.make_folder(b"go/a", replace=False)
    for name in (b"file", b"go", b"l"):
        assert restoring.target.remove(b"", name)
    assert os.listdir(restoring.folder) == ["keep"]
    assert (outside / "precious").exists()
    assert (restoring.folder / "keep" / "x").is_dir()
    with pytest.raises(FileNotFoundError):
        restoring.target.entries(b"go/a")
    assert restoring.target.remove(b"", b"go")
    assert not restoring.problems


def test_what_cannot_be_deleted_is_named_and_the_rest_goes(shared: Path) -> None:
    for path in ("t/go/closed", "t/go/open", "t/go/mine"):
        (shared / path).mkdir(parents=True)
    (shared / "t/go/closed/f").touch()
    (shared / "t/go/open/f").touch()
    for path in ("t", "t/go", "t/go/open"):
        (shared / path).chmod(0o777)

    def delete() -> tuple[bool, list[tuple[str, str, int]]]:
        started = Restoring(shared / "t")
        with started.target as target:
            return target.remove(b"", b"go"), started.problems

    gone, problems = as_nobody(delete)
    if not is_root():
        assert gone
        return
    assert not gone
    assert problems == [("go/closed/f", "delete", errno.EACCES)]
    assert os.listdir(shared / "t/go") == ["closed"]


def test_what_is_mounted_below_is_not_emptied() -> None:
    """In a file system in which nothing can be deleted, by a user who may delete nothing."""

    def delete() -> list[tuple[str, str, int]]:
        started = Restoring(Path("/"))
        with started.target as target:
            assert not target.remove(b"", b"proc")
        return started.problems

    assert as_nobody(delete) == [("proc", "delete", errno.EBUSY)]


def test_ten_thousand_levels_are_restored_and_removed_again(deep: Path) -> None:
    depth = 10_000
    before = len(os.listdir("/proc/self/fd"))
    started = Restoring(deep / "t")
    most = 0
    with started.target as target:
        path = b""
        made = []
        for level in range(depth):
            path = path + b"/d" if path else b"d"
            made.append(target.make_folder(path, replace=False))
            if level % 1000 == 0:
                most = max(most, len(os.listdir("/proc/self/fd")) - before)
        started.file(path, b"f", b"deep", ours())
        for placed in reversed(made):
            target.finish(placed, ours(0o755))
        assert most <= MOST_OPEN_FOLDERS + 16
        levels = list(walk([bytes(deep / "t")], Exclusions(), WalkOptions(), print))
        assert sum(not d.partial for d in levels) == depth + 1
        assert levels[0].names == b"f"
        assert target.remove(b"", b"d")
    assert not started.problems
    assert os.listdir(deep / "t") == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_deep_folder_is_opened_from_the_root_in_few_calls(restoring: Restoring) -> None:
    path = b"/".join([b"n" * 200] * 100)
    at = b""
    for name in path.split(b"/"):
        at = at + b"/" + name if at else name
        restoring.target.make_folder(at, replace=False)
    for number in range(30):
        restoring.target.make_folder(b"other%d" % number, replace=False)
    restoring.file(path, b"f", b"x", ours())
    assert restoring.target.entries(path)[1] == b"f"
    restoring.target.remove(b"", b"n" * 200)
    assert open_directory(bytes(restoring.folder)) > 0
