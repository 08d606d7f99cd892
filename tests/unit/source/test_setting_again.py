"""What is there and right is not set again: the system may refuse it, and nothing is wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kluis._native import scatter
from kluis.source.metadata import ACL_ACCESS, FLAG_IMMUTABLE
from kluis.source.setting import Metadata
from tests.unit.source.restoring import Restoring, ours
from tests.unit.source.unprivileged import is_root

FLAG_NODUMP = 0x40  # of <linux/fs.h>
SETTERS = ("chmod", "chown", "setxattr", "removexattr")


@contextmanager
def unchangeable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Setting anything fails, as on a file that may not be changed."""

    def refused(*_arguments: object, **_named: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        for name in SETTERS:
            patch.setattr(os, name, refused)
        patch.setattr(scatter, "set_times_at", refused)
        patch.setattr(scatter, "set_flags", refused)
        yield


def finish_again(restoring: Restoring, wanted: Metadata) -> None:
    """As a restore does that finds a folder there."""
    target = restoring.target
    target.finish(target.make_folder(b"d", replace=False), wanted)
    target.complete()


def made(restoring: Restoring) -> Metadata:
    wanted = ours(0o2750, xattrs={b"user.k": b"v"}, attributes=FLAG_NODUMP)
    finish_again(restoring, wanted)
    assert not restoring.problems
    return wanted


def test_a_folder_that_is_right_is_left_as_it_is(
    restoring: Restoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = made(restoring)
    with unchangeable(monkeypatch):
        finish_again(restoring, wanted)
    assert not restoring.problems


@pytest.mark.parametrize(
    ("change", "operation"),
    [
        (lambda path: os.chmod(path, 0o700), "mode"),
        (lambda path: os.utime(path, (5, 5)), "times"),
        (lambda path: os.setxattr(path, "user.k", b"other"), "xattr"),
        (lambda path: os.setxattr(path, "user.more", b"v"), "xattr"),
    ],
)
def test_what_differs_is_set_and_nothing_else_is_tried(
    restoring: Restoring,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    operation: str,
) -> None:
    wanted = made(restoring)
    change(restoring.folder / "d")
    with unchangeable(monkeypatch):
        finish_again(restoring, wanted)
    assert restoring.problems == [("d", operation, errno.EPERM)]
    restoring.problems.clear()
    finish_again(restoring, wanted)
    assert not restoring.problems
    status = (restoring.folder / "d").stat()
    assert stat.S_IMODE(status.st_mode) == 0o2750
    assert os.getxattr(restoring.folder / "d", "user.k") == b"v"
    assert os.listxattr(restoring.folder / "d") == ["user.k"]
    assert divmod(status.st_mtime_ns, 1_000_000_000) == (wanted.mtime_s, wanted.mtime_ns)


def test_a_mode_that_an_acl_changes_is_set_after_it(restoring: Restoring) -> None:
    """Setting the ACL rewrites the group's bits of a mode that was right before."""
    (restoring.folder / "d").mkdir()
    (restoring.folder / "d").chmod(0o2750)
    acl = bytes.fromhex("0200000001000700ffffffff04000500ffffffff20000000ffffffff")
    finish_again(restoring, ours(0o2700, xattrs={ACL_ACCESS: acl}))
    assert stat.S_IMODE((restoring.folder / "d").stat().st_mode) == 0o2700


def test_what_may_not_be_changed_and_is_right_is_no_problem(privileged: Restoring) -> None:
    """With `chattr +i`, which takes root; the flag stays, or goes if the snapshot has it not."""
    if not is_root():
        return
    wanted = ours(0o750, attributes=FLAG_IMMUTABLE)
    finish_again(privileged, wanted)
    folder = os.open(privileged.folder / "d", os.O_RDONLY)
    try:
        assert scatter.get_flags(folder) & FLAG_IMMUTABLE
        changed = os.fstat(folder).st_ctime_ns
        finish_again(privileged, wanted)
        assert scatter.get_flags(folder) & FLAG_IMMUTABLE
        assert os.fstat(folder).st_ctime_ns == changed
        finish_again(privileged, ours(0o750))
        assert not scatter.get_flags(folder) & FLAG_IMMUTABLE
    finally:
        scatter.set_flags(folder, scatter.get_flags(folder) & ~FLAG_IMMUTABLE)
        os.close(folder)
    assert not privileged.problems
