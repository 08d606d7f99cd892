"""A walk yields every directory after its children, with all that is in it, and never stops."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.options import Excludes
from kluis.source import records as listing
from kluis.source import walk as walking
from kluis.source.exclude import NOTHING, Exclusions
from kluis.source.openat import open_directory
from kluis.source.paths import gather
from kluis.source.problem import Problem
from kluis.source.walk import Directory, WalkOptions, walk
from tests.unit.source.unprivileged import as_nobody

DEPTH = 10_000


def names_of(directory: Directory) -> list[bytes]:
    return listing.split_names(directory.records, directory.names)


class Seen:
    """What one walk gave, below some folder."""

    def __init__(self, *paths: bytes, rules: Excludes = NOTHING, **options: object) -> None:
        self.problems: list[Problem] = []
        self.order: list[bytes] = []
        self.entries: dict[bytes, list[bytes]] = {}
        self.partial: set[bytes] = set()
        self.unreadable: dict[bytes, frozenset[bytes]] = {}
        wanted = WalkOptions(**options)  # type: ignore[arg-type]
        for directory in walk(paths, Exclusions(rules), wanted, self.problems.append):
            assert directory.path not in self.entries
            self.order.append(directory.path)
            self.entries[directory.path] = names_of(directory)
            if directory.partial:
                self.partial.add(directory.path)
            if directory.unreadable:
                self.unreadable[directory.path] = directory.unreadable
            status = os.fstat(directory.descriptor)
            assert listing.identity_of(directory.own) == (status.st_dev, status.st_ino)

    def whole(self) -> dict[bytes, list[bytes]]:
        return {path: e for path, e in self.entries.items() if path not in self.partial}


def make(root: Path, *paths: str) -> None:
    """Makes files, or folders where a path ends in a slash."""
    for path in paths:
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(path.encode())


def test_children_come_before_their_parents_and_siblings_in_the_order_of_names(
    tmp_path: Path,
) -> None:
    make(tmp_path, "b/y/", "b/x/deep/", "a/f", "c", "b-/")
    root = bytes(tmp_path)
    seen = Seen(root)
    below = [path.removeprefix(root) for path in seen.order if path.startswith(root)]
    assert below == [b"/a", b"/b/x/deep", b"/b/x", b"/b/y", b"/b", b"/b-", b""]
    assert seen.entries[root] == [b"a", b"b", b"b-", b"c"]
    assert seen.order[-1] == b"/"
    assert not seen.problems


def test_the_way_to_what_was_asked_for_is_partial(tmp_path: Path) -> None:
    make(tmp_path, "x/one", "x/other", "y/z/f", "w/f")
    root = bytes(tmp_path)
    seen = Seen(root + b"/x/one", root + b"/y/z")
    assert seen.whole() == {root + b"/y/z": [b"f"]}
    assert seen.entries[root + b"/x"] == [b"one"]
    assert seen.entries[root + b"/y"] == [b"z"]
    assert seen.entries[root] == [b"x", b"y"]
    parts = root.strip(b"/").split(b"/")
    for number in range(len(parts)):
        assert seen.entries[b"/" + b"/".join(parts[:number])] == [parts[number]]


def test_nested_repeated_and_relative_paths_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a/b/c", "a/d")
    monkeypatch.chdir(tmp_path / "a")
    root = bytes(tmp_path)
    expected = {root + b"/a/b": [b"c"], root + b"/a": [b"b", b"d"]}
    for paths in ([b"."], [root + b"/a", b"b"], [b"b/../../a/", b".", b"b/c", root + b"//a"]):
        assert Seen(*paths).whole() == expected
    monkeypatch.chdir(tmp_path)
    assert Seen(b"a/b/", b"a").whole() == expected


def test_a_link_that_was_asked_for_is_kept_and_one_on_the_way_is_followed(tmp_path: Path) -> None:
    make(tmp_path, "real/sub/f")
    (tmp_path / "link").symlink_to("real")
    root = bytes(tmp_path)
    seen = Seen(root + b"/link")
    assert seen.entries[root] == [b"link"]
    assert seen.whole() == {}
    seen = Seen(root + b"/link/sub")
    assert seen.whole() == {root + b"/link/sub": [b"f"]}
    assert seen.entries[root + b"/link"] == [b"sub"]


def test_what_does_not_exist_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "here/f")
    root = bytes(tmp_path)
    seen = Seen(root + b"/here", root + b"/gone/x", root + b"/gone/y/z", root + b"/no")
    assert {(p.path, p.errno) for p in seen.problems} == {
        (root + b"/gone/x", errno.ENOENT),
        (root + b"/gone/y/z", errno.ENOENT),
        (root + b"/no", errno.ENOENT),
    }
    assert seen.entries[root] == [b"here"]
    assert Seen(root + b"/no").order == []
    assert Seen(root + b"/here/f/below").problems[0].errno == errno.ENOTDIR


def test_a_directory_that_cannot_be_opened_is_reported_and_the_rest_is_walked(
    shared: Path,
) -> None:
    make(shared, "a/f", "closed/f", "unsearchable/f", "z/f")
    (shared / "closed").chmod(0)
    (shared / "unsearchable").chmod(0o744)
    root = bytes(shared)
    seen = as_nobody(lambda: vars(Seen(root)))
    assert seen["entries"][root] == [b"a", b"closed", b"unsearchable", b"z"]
    assert seen["unreadable"] == {root: frozenset({b"closed"})}
    assert [(p.path, p.operation, p.errno) for p in seen["problems"]] == [
        (root + b"/closed", "list", errno.EACCES),
        (root + b"/unsearchable/f", "stat", errno.EACCES),
    ]
    assert root + b"/z" in seen["entries"]


def test_a_way_that_may_only_be_searched_is_walked(shared: Path) -> None:
    make(shared, "mine/f")
    shared.chmod(0o711)
    seen = as_nobody(lambda: vars(Seen(bytes(shared) + b"/mine")))
    assert seen["entries"][bytes(shared) + b"/mine"] == [b"f"]
    assert not seen["problems"]


def test_the_repository_is_left_out_silently(tmp_path: Path) -> None:
    make(tmp_path, "a/repo/packs/p", "a/f", "repo")
    status = (tmp_path / "a/repo").stat()
    root = bytes(tmp_path)
    skip = frozenset({(status.st_dev, status.st_ino)})
    seen = Seen(root, skip=skip)
    assert seen.whole() == {root + b"/a": [b"f"], root: [b"a", b"repo"]}
    assert not seen.problems
    assert Seen(root + b"/a/repo", skip=skip).order == []


def test_one_file_system_stores_what_is_mounted_as_empty_folders() -> None:
    seen = Seen(b"/dev", one_file_system=True)
    device = os.lstat("/dev").st_dev
    mounted = [e.name for e in os.scandir("/dev") if e.is_dir() and os.lstat(e).st_dev != device]
    assert mounted, "every Linux has something mounted in /dev"
    for name in mounted:
        assert os.fsencode(name) in seen.entries[b"/dev"]
        assert seen.entries[b"/dev/" + os.fsencode(name)] == []
    for path in seen.whole():
        assert os.lstat(path).st_dev == device or not seen.entries[path]


def test_a_directory_that_contains_itself_is_cut(tmp_path: Path) -> None:
    """A bind mount makes one; here a walk is told that it already is in `loop`."""
    make(tmp_path, "a/loop/f", "z/f")
    problems: list[Problem] = []
    status = (tmp_path / "a/loop").stat()
    state = walking._Walk(Exclusions(), WalkOptions(), problems.append)
    state._active.add((status.st_dev, status.st_ino))
    found = {d.path: d for d in state.run(gather([bytes(tmp_path)]))}
    assert [(p.path, p.errno) for p in problems] == [(bytes(tmp_path / "a/loop"), errno.ELOOP)]
    assert found[bytes(tmp_path / "a")].unreadable == {b"loop"}
    assert bytes(tmp_path / "z") in found


def deep_tree(top: Path, name: bytes, depth: int) -> None:
    """Folders in one another, deeper than any path could say."""
    at = open_directory(bytes(top))
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_ten_thousand_levels_need_few_descriptors_and_no_recursion(deep: Path) -> None:
    deep_tree(deep, b"d", DEPTH)
    before = open_descriptors()
    most = count = 0
    problems: list[Problem] = []
    for directory in walk([bytes(deep)], Exclusions(), WalkOptions(), problems.append):
        count += not directory.partial
        if count % 100 == 1:
            most = max(most, open_descriptors() - before)
    assert count == DEPTH + 1
    assert most <= 64
    assert not problems
    assert open_descriptors() == before


def walk_while_moved(shared: Path, *moves: tuple[int, str]) -> tuple[list[bytes], list[Problem]]:
    """Walks 120 levels; at the deepest, folders of some levels get another name in `shared`.

    By then the upper levels are closed, so the walk has to find its way back.
    """
    deep_tree(shared, b"d", 120)
    (shared / "d" / "z").mkdir()
    problems: list[Problem] = []
    found: list[bytes] = []
    for directory in walk([bytes(shared)], Exclusions(), WalkOptions(), problems.append):
        if not found:
            for level, name in moves:
                (shared / "/".join(["d"] * level)).rename(shared / name)
        found.append(directory.path)
    return found, problems


def test_a_directory_that_is_moved_meanwhile_is_found_again(shared: Path) -> None:
    found, problems = walk_while_moved(shared, (30, "elsewhere"))
    assert not problems
    assert bytes(shared / "d" / "z") in found
    assert len(found) == len(set(found)) == 120 + 1 + len(shared.parts)


def test_directories_to_which_no_way_leads_back_are_given_up_and_named(shared: Path) -> None:
    found, problems = walk_while_moved(shared, (30, "elsewhere"), (10, "aside"))
    lost = [bytes(shared / "/".join(["d"] * level)) for level in range(29, 9, -1)]
    assert [p.path for p in problems] == lost
    assert {p.errno for p in problems} <= {errno.ESTALE, errno.ENOENT}
    assert not set(lost) & set(found)
    assert found[-1] == b"/"
    assert bytes(shared / "d" / "z") in found


def test_a_walk_that_is_given_up_closes_everything(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c/d")
    before = open_descriptors()
    walked = walk([bytes(tmp_path)], Exclusions(), WalkOptions(), print)
    next(walked)
    assert open_descriptors() > before
    walked.close()  # type: ignore[attr-defined]
    assert open_descriptors() == before


# Names of all kinds; "." and ".." are no names.
entry_name = (
    st.binary(min_size=1, max_size=8).filter(lambda n: b"/" not in n and 0 not in n)
    | st.sampled_from([b"\xff" * 255, b"a\nb", b" ", b"-", "ä".encode(), b"..."])
).filter(lambda n: n not in (b".", b".."))
tree = st.recursive(
    st.just(None),
    lambda children: st.dictionaries(entry_name, children, max_size=4),
    max_leaves=12,
)


@given(tree)
def test_a_walk_finds_exactly_what_is_there(shape: dict[bytes, object] | None) -> None:
    top = os.fsencode(tempfile.mkdtemp())
    expected: dict[bytes, list[bytes]] = {}
    pending = [(top, shape or {})]
    while pending:
        at, entries = pending.pop()
        expected[at] = sorted(entries)
        for name, below in entries.items():
            if below is None:
                os.close(os.open(at + b"/" + name, os.O_CREAT | os.O_WRONLY))
            else:
                os.mkdir(at + b"/" + name)
                pending.append((at + b"/" + name, below))  # type: ignore[arg-type]
    seen = Seen(top)
    assert seen.whole() == expected
    assert not seen.problems
    shutil.rmtree(top)


def test_the_records_are_those_of_lstat(tmp_path: Path) -> None:
    make(tmp_path, "f", "d/")
    (tmp_path / "l").symlink_to("nowhere")
    os.mkfifo(tmp_path / "p")
    os.utime(tmp_path / "f", ns=(1, 1_600_000_000_123_456_789))
    for directory in walk([bytes(tmp_path)], Exclusions(), WalkOptions(), print):
        if directory.path != bytes(tmp_path):
            continue
        for index, name in enumerate(names_of(directory)):
            record = listing.unpack(listing.record_at(directory.records, index))
            status = os.lstat(tmp_path / os.fsdecode(name))
            assert record.mode == status.st_mode
            assert record.size == status.st_size
            assert record.mtime_s * 10**9 + record.mtime_ns == status.st_mtime_ns
            assert record.identity == (status.st_dev, status.st_ino)
            is_folder = bool(listing.directory_marks(directory.records)[index])
            assert is_folder == stat.S_ISDIR(status.st_mode)
            is_file = bool(listing.file_marks(directory.records)[index])
            assert is_file == stat.S_ISREG(status.st_mode)
