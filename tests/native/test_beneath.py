"""Paths and names given from outside never lead out of the folder that was opened."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from kluis._native import scatter
from kluis._native.twins import scatter as twin
from tests.native import trees

BOTH = (scatter, twin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to stay in: a file, a folder and links of every kind; `outside` beside it."""
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "f").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_bytes(b"outside")
    (inside / "away").symlink_to("../outside")
    (inside / "home").symlink_to("sub")
    (inside / "file").symlink_to("sub/f")
    return inside


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"sub/f", 0),
        (b"./sub//f", 0),
        (b".", 0),
        (b"", errno.ENOENT),
        (b"absent", errno.ENOENT),
        (b"sub/f/x", errno.ENOTDIR),
        (b"..", errno.EXDEV),
        (b"../outside/f", errno.EXDEV),
        (b"sub/../../outside/f", errno.EXDEV),
        (b"/etc/passwd", errno.EXDEV),
        (b"away/f", errno.ELOOP),
        (b"home/f", errno.ELOOP),
        (b"file", errno.ELOOP),
    ],
)
@pytest.mark.parametrize("module", BOTH)
def test_open_beneath_stays_inside_and_follows_no_link(
    folder: Path, module: ModuleType, path: bytes, error: int
) -> None:
    fds: list[int] = []
    with trees.opened(folder) as dirfd:
        failed = trees.errno_of(
            lambda: fds.append(module.open_beneath(dirfd, path, os.O_RDONLY, 0o7777))
        )
    assert failed == error
    for fd in fds:
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_open_beneath_passes_through_no_magic_link() -> None:
    with trees.opened("/proc/self") as fd, pytest.raises(OSError, match="symbolic links"):
        scatter.open_beneath(fd, b"root/etc/passwd", os.O_RDONLY, 0)


@pytest.mark.parametrize("module", BOTH)
def test_open_beneath_creates_with_the_mode(folder: Path, module: ModuleType) -> None:
    with trees.opened(folder) as dirfd:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(module.open_beneath(dirfd, b"sub/new", flags, 0o600))
        with pytest.raises(FileExistsError):
            module.open_beneath(dirfd, b"sub/new", flags, 0o600)
        assert trees.errno_of(lambda: module.open_beneath(dirfd, b"away/x", flags, 0o600))
    assert stat.S_IMODE((folder / "sub" / "new").stat().st_mode) == 0o600
    assert os.listdir(folder.parent / "outside") == ["f"]


def test_open_beneath_tells_an_old_kernel_from_a_refusal(folder: Path) -> None:
    def open_on_an_old_kernel(dirfd: int) -> int:
        trees.refuse("openat2", errno.ENOSYS)
        return trees.errno_of(lambda: scatter.open_beneath(dirfd, b"sub/f", os.O_RDONLY, 0))

    with trees.opened(folder) as dirfd:
        assert trees.in_thread(lambda: open_on_an_old_kernel(dirfd)) == errno.ENOSYS


def test_a_link_raced_into_the_path_never_leads_outside(
    folder: Path, trials: Callable[[int, int], int]
) -> None:
    stop = threading.Event()

    def swap(dirfd: int) -> None:
        while not stop.is_set():
            scatter.exchange(dirfd, b"sub", dirfd, b"away")

    contents: set[bytes] = set()
    errors: set[int | None] = set()
    deadline = time.monotonic() + trials(1, 600)
    with trees.opened(folder) as dirfd:
        thread = threading.Thread(target=swap, args=(dirfd,))
        thread.start()
        try:
            while time.monotonic() < deadline:
                try:
                    fd = scatter.open_beneath(dirfd, b"sub/f", os.O_RDONLY, 0)
                except OSError as failure:
                    errors.add(failure.errno)
                else:
                    contents.add(os.read(fd, 10))
                    os.close(fd)
        finally:
            stop.set()
            thread.join()
    assert contents == {b"inside"}
    assert errors == {errno.ELOOP}


@pytest.mark.parametrize("module", BOTH)
def test_rename_noreplace_moves_onto_nothing_only(folder: Path, module: ModuleType) -> None:
    with trees.opened(folder) as one, trees.opened(folder / "sub") as other:
        with pytest.raises(FileExistsError):
            module.rename_noreplace(one, b"file", other, b"f")
        with pytest.raises(FileNotFoundError):
            module.rename_noreplace(one, b"absent", other, b"new")
        module.rename_noreplace(other, b"f", one, b"\xff")
    assert (folder / os.fsdecode(b"\xff")).read_bytes() == b"inside"
    assert os.listdir(folder / "sub") == []


@pytest.mark.parametrize("module", BOTH)
def test_exchange_swaps_two_names_of_any_kind(folder: Path, module: ModuleType) -> None:
    with trees.opened(folder) as one, trees.opened(folder / "sub") as other:
        module.exchange(one, b"home", other, b"f")
        with pytest.raises(FileNotFoundError):
            module.exchange(one, b"home", other, b"absent")
    assert (folder / "home").read_bytes() == b"inside"
    assert os.readlink(folder / "sub" / "f") == "sub"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/etc/passwd"])
@pytest.mark.parametrize("module", BOTH)
def test_a_name_of_more_than_one_component_is_refused_everywhere(
    folder: Path, module: ModuleType, name: bytes
) -> None:
    with trees.opened(folder) as fd:
        calls = [
            lambda: module.rename_noreplace(fd, name, fd, b"x"),
            lambda: module.rename_noreplace(fd, b"file", fd, name),
            lambda: module.exchange(fd, name, fd, b"file"),
            lambda: module.exchange(fd, b"file", fd, name),
        ]
        if name:
            calls.append(lambda: module.set_times_at(fd, name, 1, 1))
        assert [trees.errno_of(call) for call in calls] == [errno.EINVAL] * len(calls)


@pytest.mark.parametrize("call", ["open_beneath", "rename_noreplace", "set_times_at"])
def test_a_zero_byte_in_a_name_is_refused(call: str) -> None:
    arguments: dict[str, tuple[object, ...]] = {
        "open_beneath": (-1, b"a\0b", 0, 0),
        "rename_noreplace": (-1, b"a\0b", -1, b"c"),
        "set_times_at": (-1, b"a\0b", 0, 0),
    }
    with pytest.raises(ValueError, match="zero byte"):
        getattr(scatter, call)(*arguments[call])


@pytest.mark.parametrize("module", BOTH)
def test_times_are_set_on_links_and_folders_and_leave_the_access_time(
    folder: Path, module: ModuleType
) -> None:
    os.utime(folder / "away", ns=(7, 7), follow_symlinks=False)
    outside = (folder.parent / "outside").stat().st_mtime_ns
    with trees.opened(folder) as fd:
        module.set_times_at(fd, b"away", -1, 999_999_999)
        module.set_times_at(fd, b"", 12, 34)
        with pytest.raises(OSError, match="Invalid argument"):
            module.set_times_at(fd, b"away", 0, 10**9)
        with pytest.raises(FileNotFoundError):
            module.set_times_at(fd, b"absent", 0, 0)
    link = (folder / "away").lstat()
    assert (link.st_atime_ns, link.st_mtime_ns) == (7, -1)
    assert folder.stat().st_mtime_ns == 12 * 10**9 + 34
    assert (folder.parent / "outside").stat().st_mtime_ns == outside


def test_inode_flags_come_back_as_set_or_are_not_supported(folder: Path) -> None:
    nodump = 0x40
    with trees.opened(folder / "sub") as fd:
        before = [trees.errno_of(partial(module.get_flags, fd)) for module in BOTH]
        assert before[0] == before[1]
        assert before[0] in (0, errno.ENOTTY, errno.EOPNOTSUPP)
        if not before[0]:
            plain = scatter.get_flags(fd)
            scatter.set_flags(fd, plain | nodump)
            assert scatter.get_flags(fd) == twin.get_flags(fd) == plain | nodump
            twin.set_flags(fd, plain)
            assert scatter.get_flags(fd) == plain
    with pytest.raises(OSError, match="Bad file descriptor"):
        scatter.set_flags(-1, 0)
