"""What was read is what is restored: content, metadata and links of trees of all shapes."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import read as native_read
from kluis._native import scatter
from kluis.source.metadata import ACL_ACCESS, ACL_DEFAULT
from tests.integration.source_copy import portrait, read_tree, write_tree
from tests.unit.source.unprivileged import as_nobody, is_root, shared_folder

FLAGS = 0x40 | 0x80  # no dump, no access time


@dataclass(frozen=True)
class Made:
    """One entry to make."""

    kind: str
    content: bytes
    hole: int
    mode: int
    mtime_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    flags: int
    owner: int


def is_name(name: bytes) -> bool:
    return b"/" not in name and 0 not in name and name not in (b".", b"..")


names = (
    st.binary(min_size=1, max_size=12)
    | st.sampled_from([b"\xff" * 255, b"a" * 255, b"-rf", b" ", b"\n", "ä".encode(), b"*"])
).filter(is_name)
made = st.builds(
    Made,
    kind=st.sampled_from(["file", "file", "file", "folder", "folder", "link", "fifo", "same"]),
    content=st.binary(max_size=64) | st.binary(min_size=5000, max_size=5001),
    hole=st.sampled_from([0, 0, 0, 1, 4096, 1 << 20, (1 << 20) + 17]),
    mode=st.sampled_from([0o644, 0o600, 0o755, 0o400, 0o4755, 0o2711, 0o1777, 0o000, 0o666]),
    mtime_ns=st.integers(-(2**31) * 10**9, 2**33 * 10**9) | st.just(1_700_000_000_000_000_001),
    xattrs=st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=20)
            .filter(lambda name: 0 not in name)
            .map(lambda name: b"user." + name),
            st.binary(max_size=40),
        ),
        max_size=2,
        unique_by=lambda pair: pair[0],
    ).map(tuple),
    flags=st.sampled_from([0, 0, 0, FLAGS]),
    owner=st.sampled_from([0, 0, 1234, 65534]),
)
trees = st.lists(st.tuples(st.integers(0, 5), names, made), max_size=10)


def make_entry(path: bytes, entry: Made, files: list[bytes]) -> None:
    if entry.kind == "folder":
        os.mkdir(path)
    elif entry.kind == "link":
        os.symlink(entry.content[:64].replace(b"\0", b"") or b"x", path)
    elif entry.kind == "fifo":
        os.mkfifo(path)
    elif entry.kind == "same" and files:
        os.link(files[-1], path)
    else:
        with open(path, "wb") as file:
            file.write(entry.content)
            file.truncate(len(entry.content) + entry.hole)
            if entry.hole:
                file.seek(0, os.SEEK_END)
                file.write(entry.content[:5])
        files.append(path)


def set_up(top: bytes, tree: list[tuple[int, bytes, Made]]) -> None:
    """Makes the entries, each in one of the folders so far, and then sets metadata."""
    folders, files = [top], list[bytes]()
    entries: list[tuple[bytes, Made]] = []
    for number, name, entry in tree:
        path = folders[number % len(folders)] + b"/" + name
        if not os.path.lexists(path):
            make_entry(path, entry, files)
            entries.append((path, entry))
            folders += [path] if entry.kind == "folder" else []
    for path, entry in reversed(entries):
        set_metadata(path, entry)


def set_metadata(path: bytes, entry: Made) -> None:
    mode = entry.mode
    if not is_root():  # as nobody we have to be able to read what we made
        mode |= 0o700 if entry.kind == "folder" else 0o400
    elif entry.owner:
        os.chown(path, entry.owner, entry.owner + 1, follow_symlinks=False)
    if entry.kind in ("file", "folder"):
        os.chmod(path, mode | 0o200)
        for name, value in entry.xattrs:
            os.setxattr(path, name, value)
        if entry.flags:
            descriptor = os.open(path, os.O_RDONLY)
            scatter.set_flags(descriptor, scatter.get_flags(descriptor) | entry.flags)
            os.close(descriptor)
    if entry.kind != "link":
        os.chmod(path, mode)
    os.utime(path, ns=(0, entry.mtime_ns), follow_symlinks=False)


def flags_of(top: bytes, relative: bytes) -> int:
    path = top + b"/" + relative
    if not stat.S_IFMT(os.lstat(path).st_mode) & stat.S_IFREG:
        return 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return scatter.get_flags(descriptor) & FLAGS
    finally:
        os.close(descriptor)


def round_trip(top: Path, tree: list[tuple[int, bytes, Made]]) -> None:
    source, restored = bytes(top / "source"), top / "restored"
    os.mkdir(source)
    set_up(source, tree)
    copy = read_tree(source)
    assert copy.problems == []
    assert write_tree(copy, restored, privileged=True) == []
    before, after = portrait(source), portrait(bytes(restored))
    assert after == before
    for relative, values in before.items():
        if stat.S_ISREG(int(str(values[0]))):
            assert flags_of(bytes(restored), relative) == flags_of(source, relative)


@given(trees)
def test_any_tree_comes_back_as_it_was(tree: list[tuple[int, bytes, Made]]) -> None:
    top = Path(tempfile.mkdtemp(prefix="kluis-round-trip-"))
    try:
        round_trip(top, tree)
    finally:
        shutil.rmtree(top)


def test_trees_of_a_user_without_rights_come_back_too() -> None:
    """In one child process, since to start one for each tree takes most of the time."""

    @given(trees)
    def try_trees(tree: list[tuple[int, bytes, Made]]) -> None:
        top = Path(tempfile.mkdtemp(prefix="kluis-round-trip-", dir=folder))
        try:
            round_trip(top, tree)
        finally:
            subprocess.run(["chmod", "-R", "u+rwx", top], check=True)
            shutil.rmtree(top)

    for place in shared_folder():
        folder = place
        as_nobody(try_trees)


@pytest.mark.parametrize("size", [1 << 20, (3 << 20) + 5])
def test_holes_come_back_as_holes(tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "f").open("wb") as file:
        file.truncate(size)
        file.seek(512 << 10)
        file.write(b"data")
    assert write_tree(read_tree(bytes(source)), tmp_path / "restored", privileged=False) == []
    ranges = []
    for folder in (source, tmp_path / "restored"):
        descriptor = os.open(folder / "f", os.O_RDONLY)
        ranges.append(native_read.data_ranges(descriptor, size))
        os.close(descriptor)
    assert ranges[0] == ranges[1]
    assert (tmp_path / "restored" / "f").stat().st_blocks <= (source / "f").stat().st_blocks


def test_acls_links_and_devices_come_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d" / "f").write_bytes(b"x")
    subprocess.run(["setfacl", "-m", "u:1234:rwx,d:g:77:rx", source / "d"], check=True)
    subprocess.run(["setfacl", "-m", "g:88:r", source / "d" / "f"], check=True)
    os.link(source / "d" / "f", source / "again")
    if is_root():
        os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(source / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 200))
        os.symlink("x", source / "l")
        os.setxattr(source / "l", b"trusted.k", b"v", follow_symlinks=False)
        os.lchown(source / "l", 5, 6)
    restored = tmp_path / "restored"
    assert write_tree(read_tree(bytes(source)), restored, privileged=True) == []
    assert portrait(bytes(restored)) == portrait(bytes(source))
    assert {ACL_ACCESS.decode(), ACL_DEFAULT.decode()} == set(os.listxattr(restored / "d"))
    assert (restored / "again").samefile(restored / "d" / "f")
