"""Nothing outside the target is touched: not by names, links in the way, or a racing process."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import scatter
from kluis.source.problem import Problem
from kluis.source.setting import Metadata
from kluis.source.target import Target, TargetOptions

SLICE_SECONDS = 1.0
SOAK_SECONDS = 600
HOSTILE_NAMES = [b"", b".", b"..", b"a/b", b"../x", b"/etc", b"/", b"a\0b", b"n" * 256]
HOSTILE_PATHS = [b"..", b"../x", b"d/..", b"d/../..", b"/etc", b"/", b"./d", b"d//e", b"d/", b"d\0"]


def wanted(mode: int = 0o666) -> Metadata:
    return Metadata(mode, os.geteuid(), os.getegid(), 1, 2, {b"user.hostile": b"x"})


class Scene:
    """A target, and beside it a folder with a file that must stay as they are."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.inside = top / "target"
        self.outside = top / "outside"
        self.outside.mkdir()
        (self.outside / "sub").mkdir()
        (self.outside / "file").write_bytes(b"precious")
        (self.outside / "sub" / "file").write_bytes(b"precious too")
        self.problems: list[Problem] = []
        self.before = self.state()
        self.target = Target(bytes(self.inside), TargetOptions(), self.problems.append)

    def state(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in sorted([self.outside, *self.outside.rglob("*")]):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((
                path, content, status.st_mode, status.st_uid, status.st_mtime_ns,
                status.st_nlink, os.listxattr(path),
            ))  # fmt: skip
        return found

    def assert_untouched(self) -> None:
        assert self.state() == self.before


@pytest.fixture(params=["openat2", "old kernel"])
def scene(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    if request.param == "old kernel":
        monkeypatch.setattr("kluis.source.folders.scatter.open_beneath", unknown_call)
    made = Scene(tmp_path)
    with made.target:
        yield made
    made.assert_untouched()


def unknown_call(*arguments: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_is_none_is_refused_everywhere(scene: Scene, name: bytes) -> None:
    target = scene.target
    first = target.create_file(b"", b"first", replace=False)
    calls: list[Callable[[], object]] = [
        lambda: target.create_file(b"", name, replace=True),
        lambda: target.reuse_file(b"", name),
        lambda: target.existing_file(b"", name),
        lambda: target.look(b"", name),
        lambda: target.make_link(b"", name, b"x", wanted(), replace=True),
        lambda: target.make_special(b"", name, wanted(stat.S_IFIFO), 0, replace=True),
        lambda: target.make_hard_link(first, b"", name, replace=True),
        lambda: target.remove(b"", name),
        lambda: target.small_batch().add(name, wanted(), 0, 0),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()
    assert sorted(os.listdir(scene.inside)) == ["first"]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_folder_that_is_no_way_down_is_refused_everywhere(scene: Scene, path: bytes) -> None:
    target = scene.target
    target.make_folder(b"d", replace=False)
    batch = target.small_batch()
    calls: list[Callable[[], object]] = [
        lambda: target.make_folder(path, replace=True),
        lambda: target.folder_at(path),
        lambda: target.entries(path),
        lambda: target.create_file(path, b"f", replace=True),
        lambda: target.write_small(path, batch, b"", replace=True),
        lambda: target.remove(path, b"f"),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()
    assert os.listdir(scene.inside) == ["d"]


def test_no_link_is_followed_to_a_folder(scene: Scene) -> None:
    (scene.inside / "l").symlink_to("../outside")
    (scene.inside / "abs").symlink_to(scene.outside)
    (scene.inside / "self").symlink_to(".")
    for link in (b"l", b"abs", b"self"):
        for path in (link, link + b"/sub"):
            for call in (scene.target.entries, scene.target.folder_at):
                with pytest.raises(OSError):
                    call(path)
            with pytest.raises(OSError):
                scene.target.create_file(path, b"new", replace=True)
            with pytest.raises(OSError):
                scene.target.remove(path, b"file")


def test_no_link_is_followed_to_a_file(scene: Scene) -> None:
    (scene.inside / "l").symlink_to("../outside/file")
    target = scene.target
    for call in (target.reuse_file, target.existing_file):
        with pytest.raises(OSError):
            call(b"", b"l")
    with pytest.raises(FileExistsError):
        target.create_file(b"", b"l", replace=False)
    batch = target.small_batch()
    batch.add(b"l", Metadata(0o600, os.geteuid(), os.getegid(), 1, 2), 0, 3)
    assert target.write_small(b"", batch, b"new", replace=False)[0].errno == errno.EEXIST
    assert target.write_small(b"", batch, b"new", replace=True) == []
    assert (scene.inside / "l").read_bytes() == b"new"


def test_a_file_with_names_elsewhere_is_not_written_into(scene: Scene) -> None:
    """Seen only as a failure: the state of the outside includes the number of links."""
    os.link(scene.outside / "file", scene.inside / "f")
    with pytest.raises(OSError) as caught:
        scene.target.reuse_file(b"", b"f")
    assert caught.value.errno == errno.EMLINK
    placed = scene.target.create_file(b"", b"f", replace=True)
    scatter.write_at(scene.target.descriptor(placed), b"new", 0)
    assert (scene.outside / "file").read_bytes() == b"precious"


@pytest.mark.parametrize("swap", ["symlink", "hard link", "other file", "folder", "fifo"])
def test_a_file_that_was_swapped_gets_neither_content_nor_owner(scene: Scene, swap: str) -> None:
    target = scene.target
    path = scene.inside / "f"
    placed = target.create_file(b"", b"f", replace=False)
    for number in range(100):  # until the file is closed, and has to be opened by name again
        target.create_file(b"", b"%d" % number, replace=False)
    time.sleep(0.02)  # birth times advance with the kernel's tick, and inode numbers come again
    path.unlink()
    if swap == "symlink":
        path.symlink_to("../outside/file")
    elif swap == "hard link":
        os.link(scene.outside / "file", path)
    elif swap == "other file":
        path.write_bytes(b"other")
    elif swap == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    for call in (
        lambda: target.descriptor(placed),
        lambda: target.set_size(placed, 0),
        lambda: target.finish(placed, wanted()),
        lambda: target.make_hard_link(placed, b"", b"second", replace=False),
    ):
        with pytest.raises(OSError):
            call()
    assert not (scene.inside / "second").exists()
    if swap == "hard link":
        path.unlink()


def test_a_folder_that_was_swapped_gets_no_owner(scene: Scene) -> None:
    placed = scene.target.make_folder(b"d", replace=False)
    (scene.inside / "d").rename(scene.inside / "aside")
    (scene.inside / "d").symlink_to("../outside")
    with pytest.raises(OSError):
        scene.target.finish(placed, wanted())
    (scene.inside / "d").unlink()
    (scene.inside / "d").mkdir()
    with pytest.raises(OSError) as caught:
        scene.target.finish(placed, wanted())
    assert caught.value.errno == errno.ESTALE


def test_restoring_over_the_root_itself_works(tmp_path: Path) -> None:
    problems: list[Problem] = []
    path = bytes(tmp_path)[1:]
    with Target(b"/", TargetOptions(), problems.append) as target:
        at = b""
        for name in path.split(b"/"):
            at = at + b"/" + name if at else name
            target.make_folder(at, replace=False)
        placed = target.create_file(path, b"f", replace=True)
        target.finish(placed, wanted(0o604))
        assert problems == []
        target.finish(target.make_folder(path + b"/d", replace=False), wanted(0o705))
        assert target.remove(path, b"d")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o604


def racing(action: Callable[[], object]) -> Callable[[], None]:
    """Does `action` over and over in another process; returns how to stop it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's threads
        child = os.fork()
    if child == 0:
        while os.getppid() != 1:
            try:
                action()
            except OSError:
                continue
        os._exit(0)

    def stop() -> None:
        os.kill(child, 9)
        os.waitpid(child, 0)

    return stop


def test_a_process_that_swaps_links_in_leads_nothing_out(
    scene: Scene, trials: Callable[[int, int], int]
) -> None:
    """Folder, and the file in it, change places with links to the outside all the time."""
    target, inside = scene.target, scene.inside
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "link").symlink_to(scene.outside)
    (inside / "link").symlink_to(scene.outside)
    (inside / "bait").symlink_to(scene.outside / "file")
    top = os.open(inside, os.O_RDONLY)

    def swap() -> None:
        for one, other in ((b"a", b"link"), (b"f", b"bait")):
            scatter.exchange(top, one, top, other)
        middle = os.open(b"a", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
        try:
            scatter.exchange(middle, b"b", middle, b"link")
        finally:
            os.close(middle)

    stop = racing(swap)
    outcomes = {"done": 0, "refused": 0}
    deadline = time.monotonic() + trials(int(SLICE_SECONDS * 1000), SOAK_SECONDS * 1000) / 1000
    number = 0
    try:
        while time.monotonic() < deadline:
            number += 1
            with Target(bytes(inside), TargetOptions(), scene.problems.append) as target:
                for step in hostile_steps(target, number):
                    try:
                        step()
                        outcomes["done"] += 1
                    except OSError:
                        outcomes["refused"] += 1
    finally:
        stop()
        os.close(top)
    assert outcomes["done"] > 10
    assert outcomes["refused"] > 10


def hostile_steps(target: Target, number: int) -> list[Callable[[], object]]:
    """One round of all that a restore does, in places that somebody keeps swapping."""
    name = b"n%d" % (number % 5)
    batch = target.small_batch()
    batch.add(name, Metadata(0o666, os.geteuid(), os.getegid(), 1, 2), 0, 3)

    def replace_file() -> None:
        placed = target.create_file(b"", b"f", replace=True)
        scatter.write_at(target.descriptor(placed), b"new", 0)
        target.finish(placed, wanted())

    def reuse_file() -> None:
        placed = target.reuse_file(b"", b"f")
        scatter.write_at(target.descriptor(placed), b"new", 0)
        target.finish(placed, wanted())

    return [
        lambda: target.make_folder(b"a", replace=number % 7 == 0),
        lambda: target.make_folder(b"a/b", replace=number % 11 == 0),
        lambda: target.write_small(b"a/b", batch, b"new", replace=True),
        lambda: target.make_link(b"a/b", b"l" + name, b"x", wanted(), replace=True),
        lambda: target.finish(target.folder_at(b"a/b"), wanted(0o755)),
        lambda: target.finish(target.folder_at(b"a"), wanted(0o755)),
        replace_file,
        reuse_file,
        lambda: number % 5 or target.remove(b"a", b"b"),
        lambda: number % 50 or target.remove(b"", b"a"),
    ]


NAMES = [b"a", b"b", b"l", b"file", b"sub"]
POINTS_TO = ["../outside", "../../outside", ".", "..", "/", "a", "../outside/file", "file"]
somewhere = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
there = st.lists(
    st.tuples(somewhere, st.sampled_from(["folder", "file", "link"]), st.sampled_from(POINTS_TO)),
    max_size=8,
)
stored = st.lists(
    st.tuples(
        somewhere | st.sampled_from(HOSTILE_PATHS),
        st.sampled_from(
            ["folder", "file", "small", "link", "fifo", "remove", "reuse", "hard link"]
        ),
        st.booleans(),
    ),
    max_size=12,
)


def lay_out(inside: Path, entries: list[tuple[bytes, str, str]]) -> None:
    """Makes what is possible of it; things in the way of others are left."""
    for relative, kind, points_to in entries:
        path = inside / os.fsdecode(relative)
        if any(part.is_symlink() for part in path.parents if part != inside.parent):
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "file":
                path.touch(exist_ok=False)  # which follows no link
            else:
                path.symlink_to(points_to)
        except OSError:
            continue


def restore_one(target: Target, relative: bytes, kind: str, replace: bool) -> None:
    folder, _, name = relative.rpartition(b"/")
    if kind == "folder":
        target.finish(target.make_folder(relative, replace), wanted(0o755))
    elif kind == "small":
        batch = target.small_batch()
        batch.add(name, Metadata(0o666, os.geteuid(), os.getegid(), 1, 2), 0, 3)
        target.write_small(folder, batch, b"new", replace)
    elif kind == "link":
        target.make_link(folder, name, b"../outside", wanted(), replace)
    elif kind == "fifo":
        target.make_special(folder, name, wanted(stat.S_IFIFO | 0o666), 0, replace)
    elif kind == "remove":
        target.remove(folder, name)
    else:
        if kind == "reuse":
            placed = target.reuse_file(folder, name)
        else:
            placed = target.create_file(folder, name, replace)
        scatter.write_at(target.descriptor(placed), b"new", 0)
        if kind == "hard link":
            target.make_hard_link(placed, b"", b"second", replace)
        target.finish(placed, wanted())


@given(there, stored)
def test_hostile_trees_stay_inside(
    entries: list[tuple[bytes, str, str]], snapshot: list[tuple[bytes, str, bool]]
) -> None:
    top = Path(tempfile.mkdtemp(prefix="kluis-hostile-"))
    scene = Scene(top)
    lay_out(scene.inside, entries)
    with scene.target as target:
        for relative, kind, replace in snapshot:
            try:
                restore_one(target, relative, kind, replace)
            except (OSError, ValueError):
                continue
    scene.assert_untouched()
    assert sorted(os.listdir(top)) == ["outside", "target"]
    shutil.rmtree(top)
