"""xattrs, ACLs and flags of every kind of entry are found, and owners have names."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kluis._native import scatter
from kluis.source import names
from kluis.source.metadata import (
    ACL_ACCESS,
    ACL_DEFAULT,
    RESTORABLE_FLAGS,
    Extras,
    extras_of,
    read_extras,
)
from kluis.source.openat import open_directory
from tests.unit.source.unprivileged import as_nobody, is_root

FLAG_NODUMP = 0x40


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = open_directory(bytes(tmp_path))
    yield descriptor
    os.close(descriptor)


def extras(folder: int, name: str) -> Extras:
    failures: list[tuple[str, int]] = []
    mode = os.lstat(name, dir_fd=folder).st_mode
    found = read_extras(folder, name.encode(), mode, lambda what, no: failures.append((what, no)))
    assert not failures
    return found


def test_xattrs_come_sorted_and_with_any_value(tmp_path: Path, folder: int) -> None:
    (tmp_path / "f").touch()
    for name in (b"user.z", b"user.a", b"user.\xff"):
        os.setxattr(tmp_path / "f", name, b"\0" + name)
    os.setxattr(tmp_path / "f", b"user.empty", b"")
    found = extras(folder, "f").xattrs
    assert found == {
        b"user.z": b"\0user.z", b"user.a": b"\0user.a", b"user.\xff": b"\0user.\xff",
        b"user.empty": b"",
    }  # fmt: skip
    assert list(found) == sorted(found)


def test_acls_are_xattrs(tmp_path: Path, folder: int) -> None:
    (tmp_path / "d").mkdir()
    subprocess.run(["setfacl", "-m", "u:1234:rx,d:g:77:r", tmp_path / "d"], check=True)
    assert {ACL_ACCESS, ACL_DEFAULT} <= set(extras(folder, "d").xattrs)


def test_flags_that_somebody_set_are_found_and_the_others_are_not(
    tmp_path: Path, folder: int
) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    for name in ("f", "d"):
        descriptor = os.open(tmp_path / name, os.O_RDONLY)
        scatter.set_flags(descriptor, scatter.get_flags(descriptor) | FLAG_NODUMP)
        assert extras_of(descriptor, print).attributes == FLAG_NODUMP
        os.close(descriptor)
        assert extras(folder, name).attributes == FLAG_NODUMP
    (tmp_path / "g").touch()
    assert extras(folder, "g") == Extras()
    extents = 0x00080000
    assert not RESTORABLE_FLAGS & extents


def test_links_and_fifos_are_asked_themselves(tmp_path: Path, folder: int) -> None:
    (tmp_path / "f").touch()
    os.setxattr(tmp_path / "f", b"user.of-the-file", b"x")
    (tmp_path / "l").symlink_to("f")
    os.mkfifo(tmp_path / "p")
    expected: dict[bytes, bytes] = {}
    if is_root():
        for name in ("l", "p"):
            os.setxattr(tmp_path / name, b"trusted.k", b"v", follow_symlinks=False)
        expected = {b"trusted.k": b"v"}
    assert extras(folder, "l") == Extras(expected)
    assert extras(folder, "p") == Extras(expected)


def test_attributes_of_a_file_that_may_not_be_read_are_found_or_reported(shared: Path) -> None:
    path = shared / "f"
    path.touch()
    os.setxattr(path, b"user.k", b"v")
    path.chmod(0)

    def ask() -> tuple[Extras, list[tuple[str, int]]]:
        failures: list[tuple[str, int]] = []
        directory = open_directory(bytes(shared))
        mode = os.lstat(path).st_mode
        return read_extras(directory, b"f", mode, lambda w, n: failures.append((w, n))), failures

    found, failures = as_nobody(ask)
    assert found == Extras()
    assert failures == [("xattr", errno.EACCES)]


def test_what_vanished_is_reported(folder: int) -> None:
    failures: list[tuple[str, int]] = []
    found = read_extras(folder, b"gone", 0o100644, lambda w, n: failures.append((w, n)))
    assert found == Extras()
    assert failures == [("xattr", errno.ENOENT)]


def test_owners_have_names_both_ways() -> None:
    assert names.user_name(0) == "root"
    assert names.group_name(0) == "root"
    assert names.user_number("root") == 0
    assert names.group_number("root") == 0
    assert names.user_name(4_000_000_123) == ""
    assert names.group_name(4_000_000_123) == ""
    assert names.user_number("no-such-user") is None
    assert names.group_number("a\0b") is None
    names.forget_names()
    assert names.user_name(0) == "root"
