"""A target takes a tree with all its metadata, and reports what it cannot hold."""

from __future__ import annotations

import errno
import os
import stat
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kluis._native import scatter
from kluis.errors import KluisError
from kluis.source.metadata import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, FLAG_IMMUTABLE
from kluis.source.openfiles import OPEN_FILES
from kluis.source.problem import Problem
from kluis.source.setting import Owners
from kluis.source.target import Target, TargetOptions
from tests.unit.source.restoring import MOMENT, Restoring, ours
from tests.unit.source.unprivileged import as_nobody, is_root

FLAG_NODUMP = 0x40
CAPABILITY_VALUE = struct.pack("<5I", 0x02000000, 1, 0, 0, 0)


def mtime_ns(path: Path) -> int:
    return path.lstat().st_mtime_ns


EXPECTED_NS = MOMENT[0] * 10**9 + MOMENT[1]


def test_a_target_is_created_with_the_folders_above_it(tmp_path: Path) -> None:
    with Restoring(tmp_path / "a" / "b").target as target:
        assert target.path == bytes(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_target_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(KluisError, match=path):
            Restoring(tmp_path / path)


def test_a_file_gets_content_permissions_and_times(restoring: Restoring) -> None:
    restoring.file(b"", b"f", b"hello", ours(0o441))
    path = restoring.folder / "f"
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o441
    assert mtime_ns(path) == EXPECTED_NS
    assert not restoring.problems


def test_a_file_is_closed_to_others_until_it_is_finished(restoring: Restoring) -> None:
    placed = restoring.target.create_file(b"", b"f", replace=False)
    assert stat.S_IMODE((restoring.folder / "f").stat().st_mode) == 0o600
    restoring.target.make_folder(b"d", replace=False)
    assert stat.S_IMODE((restoring.folder / "d").stat().st_mode) == 0o700
    restoring.target.finish(placed, ours(0o644))
    assert stat.S_IMODE((restoring.folder / "f").stat().st_mode) == 0o644


def test_more_files_than_stay_open_can_be_written(restoring: Restoring) -> None:
    count = OPEN_FILES + 20
    target = restoring.target
    placed = [target.create_file(b"", b"%d" % n, replace=False) for n in range(count)]
    for part in (0, 1):
        for number, file in enumerate(placed):
            scatter.write_at(target.descriptor(file), b"%04d" % number, part * 4)
    for file in placed:
        target.set_size(file, 7)
        target.finish(file, ours())
    for number in range(count):
        assert (restoring.folder / str(number)).read_bytes() == (b"%04d" % number * 2)[:7]


def test_small_files_are_created_in_one_call(restoring: Restoring) -> None:
    target = restoring.target
    target.make_folder(b"d", replace=False)
    (restoring.folder / "d" / "there").write_bytes(b"old")
    (restoring.folder / "d" / "full" / "x").mkdir(parents=True)
    batch = target.small_batch()
    batch.add(b"a", ours(0o600), 0, 3)
    batch.add(b"there", ours(0o644), 3, 4)
    batch.add(b"setuid", ours(0o4755), 0, 0)
    batch.add(b"full", ours(), 0, 1)
    batch.add(b"x" * 255, ours(0o604), 2, 2)
    failures = target.write_small(b"d", batch, b"onetwo!", replace=True)
    assert [(f.name, f.step, f.errno) for f in failures] == [(b"full", "open", errno.ENOTEMPTY)]
    folder = restoring.folder / "d"
    assert (folder / "a").read_bytes() == b"one"
    assert (folder / "there").read_bytes() == b"two!"
    assert (folder / ("x" * 255)).read_bytes() == b"et"
    assert stat.S_IMODE((folder / "setuid").stat().st_mode) == 0o755
    assert mtime_ns(folder / "there") == EXPECTED_NS
    assert restoring.problems == [("d/setuid", "setuid", errno.EPERM)]


def test_small_files_leave_what_is_there_unless_told_to_replace_it(restoring: Restoring) -> None:
    (restoring.folder / "f").write_bytes(b"old")
    batch = restoring.target.small_batch()
    batch.add(b"f", ours(), 0, 1)
    (failure,) = restoring.target.write_small(b"", batch, b"n", replace=False)
    assert failure.errno == errno.EEXIST
    assert (restoring.folder / "f").read_bytes() == b"old"


def test_links_fifos_and_hard_links(restoring: Restoring) -> None:
    target = restoring.target
    target.make_folder(b"d", replace=False)
    target.make_link(b"d", b"l", b"/etc/passwd", ours(0o777), replace=False)
    target.make_special(b"d", b"p", ours(stat.S_IFIFO | 0o622), 0, replace=False)
    restoring.file(b"", b"f", b"x", ours())
    first = target.create_file(b"", b"g", replace=False)
    target.make_hard_link(first, b"d", b"g2", replace=False)
    target.make_hard_link(first, b"d", b"g2", replace=True)
    target.finish(first, ours(0o640))
    folder = restoring.folder / "d"
    assert os.readlink(folder / "l") == "/etc/passwd"
    assert mtime_ns(folder / "l") == EXPECTED_NS
    assert stat.S_ISFIFO((folder / "p").lstat().st_mode)
    assert stat.S_IMODE((folder / "p").lstat().st_mode) == 0o622
    assert mtime_ns(folder / "p") == EXPECTED_NS
    assert (folder / "g2").samefile(restoring.folder / "g")
    assert (folder / "g2").stat().st_nlink == 2
    assert not restoring.problems


def test_a_fifo_takes_no_number(restoring: Restoring) -> None:
    """The record of one with several names holds its file system's there, of any size."""
    fifo = ours(stat.S_IFIFO | 0o600)
    made = restoring.target.make_special(b"", b"p", fifo, (1 << 63) + 5, replace=False)
    assert made is not None
    restoring.target.make_hard_link(made, b"", b"p2", replace=False)
    assert stat.S_ISFIFO((restoring.folder / "p2").lstat().st_mode)
    assert (restoring.folder / "p2").samefile(restoring.folder / "p")
    assert not restoring.problems


def test_devices_and_sockets_are_reported_without_the_right_to_make_them(
    restoring: Restoring,
) -> None:
    target = restoring.target
    for name, kind in ((b"c", stat.S_IFCHR), (b"b", stat.S_IFBLK), (b"s", stat.S_IFSOCK)):
        made = target.make_special(b"", name, ours(kind | 0o600), os.makedev(1, 3), replace=False)
        assert made is None
    assert restoring.problems == [
        ("c", "device", errno.EPERM),
        ("b", "device", errno.EPERM),
        ("s", "socket", errno.EOPNOTSUPP),
    ]
    assert list(restoring.folder.iterdir()) == []


def test_a_fifo_that_cannot_be_made_leaves_no_empty_file(
    restoring: Restoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As exfat over FUSE does it. What was there before stays."""

    def half(name: bytes, mode: int, device: int, *, dir_fd: int) -> None:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL, mode & 0o777, dir_fd=dir_fd))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (restoring.folder / "there").touch()
    monkeypatch.setattr(os, "mknod", half)
    for name in (b"f", b"there"):
        with pytest.raises(OSError):
            restoring.target.make_special(b"", name, ours(stat.S_IFIFO), 0, replace=False)
    assert os.listdir(restoring.folder) == ["there"]


@pytest.mark.parametrize("small", [True, False])
def test_a_file_system_that_ignores_permissions_is_reported_once(
    restoring: Restoring, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    target = restoring.target
    monkeypatch.setattr(scatter, "write_small", ignoring_modes(scatter.write_small))
    for number in range(3):
        if small:
            batch = target.small_batch()
            batch.add(b"%d" % number, ours(0o640), 0, 0)
            assert target.write_small(b"", batch, b"", replace=False) == []
        else:
            restoring.file(b"", b"%d" % number, b"", ours(0o640))
    assert restoring.problems == [("", "mode", errno.EOPNOTSUPP)]


def ignoring_modes(write: Callable[..., bytes]) -> Callable[..., bytes]:
    def written(folder: int, names: bytes, entries: bytes, data: bytes) -> bytes:
        results = write(folder, names, entries, data)
        os.fchmod(os.open(names, os.O_RDONLY, dir_fd=folder), 0o777)
        return results

    return written


def test_what_is_left_out_without_privileges_names_the_flag(tmp_path: Path) -> None:
    told: list[Problem] = []
    with Target(bytes(tmp_path / "out"), TargetOptions(), told.append) as target:
        target.make_special(b"", b"device", ours(stat.S_IFCHR), 0x103, replace=False)
        target.finish(target.create_file(b"", b"large", replace=False), ours(0o4755))
        batch = target.small_batch()
        batch.add(b"small", ours(0o2755), 0, 0)
        target.write_small(b"", batch, b"", replace=False)
    assert [problem.operation for problem in told] == ["device", "setuid", "setuid"]
    assert all("--privileged" in problem.reason for problem in told)


def test_a_device_is_made_on_request_or_the_system_says_no(privileged: Restoring) -> None:
    target = privileged.target
    wanted = ours(stat.S_IFCHR | 0o640)
    if not is_root():
        with pytest.raises(PermissionError):
            target.make_special(b"", b"c", wanted, os.makedev(1, 3), replace=False)
        return
    target.make_special(b"", b"c", wanted, os.makedev(1, 3), replace=False)
    status = (privileged.folder / "c").lstat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE(status.st_mode) == 0o640


def test_setuid_and_capabilities_of_a_file_need_to_be_asked_for(
    restoring: Restoring, tmp_path: Path
) -> None:
    xattrs = {b"user.k": b"v", **({CAPABILITY: CAPABILITY_VALUE} if is_root() else {})}
    wanted = ours(0o6755, xattrs=xattrs)
    restoring.file(b"", b"f", b"#!", wanted)
    placed = restoring.target.make_folder(b"d", replace=False)
    restoring.target.finish(placed, ours(0o3775))
    assert stat.S_IMODE((restoring.folder / "f").stat().st_mode) == 0o755
    assert os.listxattr(restoring.folder / "f") == ["user.k"]
    assert stat.S_IMODE((restoring.folder / "d").stat().st_mode) == 0o3775
    assert restoring.problems == [("f", "setuid", errno.EPERM)]
    asked = Restoring(tmp_path / "second", privileged=True)
    with asked.target:
        asked.file(b"", b"f", b"#!", wanted)
    assert not asked.problems
    assert stat.S_IMODE((asked.folder / "f").stat().st_mode) == 0o6755
    assert len(os.listxattr(asked.folder / "f")) == len(xattrs)


def test_an_owner_that_cannot_be_set_is_reported_and_gets_no_setuid(shared: Path) -> None:
    def restore() -> tuple[list[tuple[str, str, int]], int]:
        started = Restoring(shared / "t", privileged=True)
        with started.target:
            started.file(b"", b"f", b"", replace(ours(0o4755), uid=0))
            link = replace(ours(), uid=0, gid=0)
            started.target.make_link(b"", b"l", b"x", link, replace=False)
        return started.problems, (started.folder / "f").stat().st_mode

    problems, mode = as_nobody(restore)
    assert problems == [("f", "owner", errno.EPERM), ("l", "owner", errno.EPERM)]
    assert stat.S_IMODE(mode) == 0o755


def test_owners_are_set_on_every_kind_by_root_and_reported_otherwise(
    privileged: Restoring,
) -> None:
    target = privileged.target
    wanted = replace(ours(), uid=12345, gid=54321)
    privileged.file(b"", b"f", b"", wanted)
    target.make_link(b"", b"l", b"nowhere", wanted, replace=False)
    target.make_special(b"", b"p", replace(wanted, mode=stat.S_IFIFO | 0o600), 0, replace=False)
    target.finish(target.make_folder(b"d", replace=False), wanted)
    batch = target.small_batch()
    batch.add(b"s", wanted, 0, 0)
    target.write_small(b"", batch, b"", replace=False)
    if not is_root():
        assert {p[1] for p in privileged.problems} == {"owner"}
        return
    for name in "flpds":
        status = (privileged.folder / name).lstat()
        assert (status.st_uid, status.st_gid) == (12345, 54321), name
    assert not privileged.problems


def test_owners_go_by_name_where_it_is_known_here() -> None:
    owners = Owners({7000: "root", 7001: "no-such-user"}, {7000: "root"})
    assert (owners.uid(7000), owners.uid(7001), owners.uid(9)) == (0, 7001, 9)
    assert owners.gid(7000) == 0
    assert Owners().uid(7000) == 7000


def test_xattrs_acls_and_flags_are_set(restoring: Restoring, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    subprocess.run(["setfacl", "-m", "u:1234:rx,d:g:77:r", tmp_path / "model"], check=True)
    acls = {n: os.getxattr(tmp_path / "model", n) for n in (ACL_ACCESS, ACL_DEFAULT)}
    wanted = ours(stat.S_IMODE((tmp_path / "model").stat().st_mode), xattrs=acls)
    target = restoring.target
    target.finish(target.make_folder(b"d", replace=False), wanted)
    more = ours(0o400, xattrs={b"user.\xff": b"\0" * 100}, attributes=FLAG_NODUMP)
    restoring.file(b"", b"f", b"x", more)
    for name, value in acls.items():
        assert os.getxattr(restoring.folder / "d", name) == value
    assert os.getxattr(restoring.folder / "f", b"user.\xff") == b"\0" * 100
    descriptor = os.open(restoring.folder / "f", os.O_RDONLY)
    assert scatter.get_flags(descriptor) & FLAG_NODUMP
    os.close(descriptor)
    assert mtime_ns(restoring.folder / "f") == EXPECTED_NS
    assert not restoring.problems


def test_what_the_file_system_cannot_hold_is_reported_and_the_rest_is_set(
    restoring: Restoring,
) -> None:
    wanted = ours(0o604, xattrs={b"nonsense.k": b"v", b"user.k": b"v"})
    restoring.file(b"", b"f", b"x", wanted)
    assert restoring.problems == [("f", "xattr", errno.EOPNOTSUPP)]
    assert os.listxattr(restoring.folder / "f") == ["user.k"]
    assert stat.S_IMODE((restoring.folder / "f").stat().st_mode) == 0o604
    assert mtime_ns(restoring.folder / "f") == EXPECTED_NS


def test_flags_that_forbid_changes_come_last(privileged: Restoring) -> None:
    target = privileged.target
    folder = target.make_folder(b"d", replace=False)
    first = target.create_file(b"d", b"f", replace=False)
    target.finish(first, ours(attributes=FLAG_IMMUTABLE))
    target.make_hard_link(first, b"d", b"g", replace=False)
    target.finish(folder, ours(0o700, attributes=FLAG_IMMUTABLE))
    target.complete()
    if not is_root():
        assert {p[1] for p in privileged.problems} == {"flags"}
        return
    assert not privileged.problems
    with pytest.raises(PermissionError):
        (privileged.folder / "d" / "new").touch()
    for name in ("d", "d/f"):
        descriptor = os.open(privileged.folder / name, os.O_RDONLY)
        flags = scatter.get_flags(descriptor)
        assert flags & FLAG_IMMUTABLE
        scatter.set_flags(descriptor, flags & ~FLAG_IMMUTABLE)
        os.close(descriptor)


def test_an_acl_that_a_folder_hands_on_does_not_reach_restored_files(tmp_path: Path) -> None:
    (tmp_path / "target" / "d").mkdir(parents=True)
    for folder in ("target", "target/d"):
        subprocess.run(["setfacl", "-m", "d:u:1234:rwx", tmp_path / folder], check=True)
    started = Restoring(tmp_path / "target")
    with started.target as target:
        started.file(b"", b"f", b"", ours(0o640))
        batch = target.small_batch()
        batch.add(b"s", ours(0o640), 0, 0)
        target.write_small(b"", batch, b"", replace=False)
        target.make_special(b"", b"p", ours(stat.S_IFIFO | 0o640), 0, replace=False)
        new = target.make_folder(b"n", replace=False)
        started.file(b"n", b"f", b"", ours(0o640))
        there = target.make_folder(b"d", replace=False)
        started.file(b"d", b"f", b"", ours(0o640))
        target.finish(new, ours(0o750))
        target.finish(there, ours(0o750))
    for name in ("f", "s", "p", "n", "n/f", "d", "d/f"):
        path = started.folder / name
        assert os.listxattr(path, follow_symlinks=False) == [], name
        assert stat.S_IMODE(path.lstat().st_mode) == (0o750 if name in "nd" else 0o640), name
    assert ACL_DEFAULT.decode() in os.listxattr(started.folder)
    assert not started.problems


def test_metadata_that_the_snapshot_has_not_is_taken_away(restoring: Restoring) -> None:
    path = restoring.folder / "f"
    path.write_bytes(b"old content")
    os.setxattr(path, b"user.old", b"x")
    descriptor = os.open(path, os.O_RDONLY)
    scatter.set_flags(descriptor, scatter.get_flags(descriptor) | FLAG_NODUMP)
    os.close(descriptor)
    placed = restoring.target.reuse_file(b"", b"f")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    scatter.write_at(restoring.target.descriptor(placed), b"new", 0)
    restoring.target.set_size(placed, 5)
    restoring.target.finish(placed, ours(0o444, xattrs={b"user.new": b"y"}))
    assert path.read_bytes() == b"newco"[:3] + b" c"
    assert os.listxattr(path) == ["user.new"]
    descriptor = os.open(path, os.O_RDONLY)
    assert not scatter.get_flags(descriptor) & FLAG_NODUMP
    os.close(descriptor)
    restoring.target.reuse_file(b"", b"f")
