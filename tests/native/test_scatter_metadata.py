"""What is created many at a time, and what is set at the end, is told of one by one."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path
from types import ModuleType

import pytest

from kluis._native import scatter
from tests.native import trees
from tests.native.test_scatter import BOTH, small, steps
from tests.small_disk import small_disk


@pytest.mark.parametrize("module", BOTH)
def test_a_hidden_file_has_its_mode_from_the_start(tmp_path: Path, module: ModuleType) -> None:
    """Whatever the umask would leave of it, and with the bits that it cannot have at once."""
    flags = scatter.SMALL_HIDDEN
    before = os.umask(0o022)
    try:
        with trees.opened(tmp_path) as fd:
            for name, mode in ((b"a", 0o644), (b"b", 0o666), (b"c", 0o4711), (b"d", 0)):
                results = module.write_small(fd, name, small(name, mode=mode, flags=flags), b"")
                assert steps(results) == [(0, "")]
                assert stat.S_IMODE(os.stat(name, dir_fd=fd).st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_finishing_sets_owner_mode_and_time_of_what_is_open(
    tmp_path: Path, module: ModuleType, kind: str
) -> None:
    path = tmp_path / "x"
    path.mkdir() if kind == "folder" else path.touch()
    own = {"uid": os.getuid(), "gid": os.getgid(), "flags": scatter.SMALL_CHOWN}
    fd = os.open(path, os.O_RDONLY)
    try:
        assert module.finish(fd, small(b"", mode=0o1751, mtime_s=-5, mtime_ns=7, **own)) == 0o1751
    finally:
        os.close(fd)
    assert path.stat().st_mtime_ns == -5 * 10**9 + 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o1751


@pytest.mark.parametrize("module", BOTH)
def test_finishing_says_what_failed_and_does_the_rest(tmp_path: Path, module: ModuleType) -> None:
    tmp_path.chmod(0o777)
    entry = small(b"", mode=0o755, mtime_s=5, flags=scatter.SMALL_CHOWN)  # the owner is root

    def as_nobody(above: int) -> None:
        trees.become_nobody()
        os.mkdir("d", dir_fd=above)
        folder = os.open("d", os.O_RDONLY, dir_fd=above)
        try:
            with pytest.raises(PermissionError):
                module.finish(folder, entry)
        finally:
            os.close(folder)

    with trees.opened(tmp_path) as fd:
        trees.in_thread(lambda: as_nobody(fd))
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o755
    assert (tmp_path / "d").stat().st_mtime_ns == 5 * 10**9
    for wrong in (entry[:-1], b""):
        with trees.opened(tmp_path) as fd, pytest.raises((ValueError, struct.error)):
            module.finish(fd, wrong)


@pytest.mark.parametrize("module", BOTH)
def test_a_link_is_made_with_owner_and_time_of_its_own(tmp_path: Path, module: ModuleType) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    before = os.lstat(tmp_path / "outside")
    (tmp_path / "in").mkdir()
    own = {"uid": os.getuid(), "gid": os.getgid()}
    names = [b"l", b"\xff\n ", b"n" * 255]
    with trees.opened(tmp_path / "in") as fd:
        for name in names:
            assert module.make_link(fd, name, b"../outside", small(b"", mtime_s=9, **own))
            assert os.readlink(name, dir_fd=fd) == b"../outside"
            assert os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime_ns == 9 * 10**9
        with pytest.raises(FileExistsError):
            module.make_link(fd, b"l", b"elsewhere", small(b"", **own))
        assert os.readlink(b"l", dir_fd=fd) == b"../outside"
        for name in (b"", b".", b"..", b"a/b"):
            with pytest.raises(OSError):
                module.make_link(fd, name, b"x", small(b"", **own))
        assert sorted(map(os.fsencode, os.listdir(fd))) == sorted(names)
    assert os.lstat(tmp_path / "outside") == before


@pytest.mark.parametrize("module", BOTH)
def test_a_link_whose_owner_or_time_cannot_be_set_is_there_and_told(
    tmp_path: Path, module: ModuleType
) -> None:
    tmp_path.chmod(0o777)
    own = {"uid": os.getuid(), "gid": os.getgid()}
    with trees.opened(tmp_path) as fd:
        assert not module.make_link(fd, b"t", b"x", small(b"", mtime_ns=10**9, **own))

        def as_nobody() -> bool:
            trees.become_nobody()
            return bool(module.make_link(fd, b"o", b"x", small(b"")))

        assert not trees.in_thread(as_nobody)
        assert sorted(os.listdir(fd)) == ["o", "t"]


def test_a_full_disk_is_told_of_each_file_that_it_has_no_room_for(tmp_path: Path) -> None:
    """Or, without the right to mount one, a folder that takes no file at all."""
    content = b"x" * 4096
    with small_disk(tmp_path / "disk") as disk, trees.opened(disk.folder) as fd:
        if not disk.mounted:
            disk.protect()
        all_names = [b"%03d" % number for number in range(400)]
        entries = b"".join(small(name, length=4096) for name in all_names)
        results = steps(scatter.write_small(fd, b"".join(all_names), entries, content))
        there = [name for name, (error, _) in zip(all_names, results, strict=True) if not error]
        assert len(there) < 400
        known = {(errno.ENOSPC, "write"), (errno.ENOSPC, "open"), (errno.EACCES, "open"), (0, "")}
        assert set(results) <= known
        assert sorted(map(os.fsencode, os.listdir(fd))) == there
        assert all(trees.read(fd, name) == content for name in there)
