"""Reading gives what is there, waits for nothing, and tells what happened meanwhile."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kluis.source import records as listing
from kluis.source.exclude import Exclusions
from kluis.source.openat import open_directory, read_file_at
from kluis.source.read import (
    Change,
    SmallFile,
    each_small,
    open_file,
    read_link,
    small_files,
)
from kluis.source.walk import WalkOptions, walk

LIMIT = 64 << 10


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = open_directory(bytes(tmp_path))
    yield descriptor
    os.close(descriptor)


def read_all(directory: int, name: bytes) -> bytes:
    parts = []
    buffer = bytearray(7)
    with open_file(directory, name) as file:
        offset = 0
        while count := file.read_at(memoryview(buffer), offset):
            parts.append(bytes(buffer[:count]))
            offset += count
    return b"".join(parts)


def test_small_files_come_in_one_call_with_what_is_special_about_each(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "c").write_bytes(bytes(LIMIT + 1))
    (tmp_path / "d").write_bytes(b"gone soon")
    (tmp_path / "e").write_bytes(b"last")
    os.setxattr(tmp_path / "e", b"user.note", b"x")
    walked = walk([bytes(tmp_path)], Exclusions(), WalkOptions(), print)
    directory = next(walked)
    (tmp_path / "d").unlink()
    (tmp_path / "b").write_bytes(b"grown")
    data, results = small_files(directory, struct.pack("=5I", 0, 1, 2, 3, 4), LIMIT)
    found = list(each_small(results))
    plain = [file._replace(attributes=0) for file in found]
    assert plain == [
        SmallFile(5, 0, False, False, False, 0),
        SmallFile(5, 0, True, False, False, 0),
        SmallFile(0, 0, False, True, False, 0),
        SmallFile(0, errno.ENOENT, False, False, False, 0),
        SmallFile(4, 0, False, False, True, 0),
    ]
    assert bytes(data) == b"firstgrownlast"
    walked.close()  # type: ignore[attr-defined]


def test_a_file_is_read_in_windows_up_to_its_size(tmp_path: Path, folder: int) -> None:
    content = bytes(range(100))
    (tmp_path / "f").write_bytes(content)
    assert read_all(folder, b"f") == content
    (tmp_path / "empty").touch()
    assert read_all(folder, b"empty") == b""
    with open_file(folder, b"empty") as file:
        assert file.data_ranges() == []


def test_the_record_is_fresh_and_names_its_length(tmp_path: Path, folder: int) -> None:
    (tmp_path / "name").write_bytes(b"abc")
    with open_file(folder, b"name") as file:
        assert file.fields.name_length == 4
        assert file.fields.size == file.size == 3
        assert listing.unpack(file.record) == file.fields
        assert file.fields.identity == listing.identity_of(file.record)


def test_holes_are_told_apart_from_data(tmp_path: Path, folder: int) -> None:
    size = 8 << 20
    with (tmp_path / "f").open("wb") as file:
        file.truncate(size)
        file.seek(4 << 20)
        file.write(b"x" * 4096)
    with open_file(folder, b"f") as opened:
        ranges = opened.data_ranges()
        assert sum(end - start for start, end in ranges) < size
        assert any(start <= 4 << 20 < end for start, end in ranges)
        assert opened.change() is Change.NONE
    (tmp_path / "full").write_bytes(b"x" * 5000)
    with open_file(folder, b"full") as opened:
        assert opened.data_ranges() == [(0, 5000)]


def test_a_change_while_a_file_is_read_is_told(tmp_path: Path, folder: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345678")
    buffer = memoryview(bytearray(8))
    with open_file(folder, b"f") as file:
        path.chmod(0o600)
        os.link(path, tmp_path / "g")
        assert file.change() is Change.NONE
        os.utime(path, ns=(0, 5))
        assert file.change() is Change.CONTENT
        path.write_bytes(b"123456789")
        assert file.change() is Change.GREW
        assert file.read_at(buffer, 8) == 0
        path.write_bytes(b"123")
        assert file.change() is Change.SHRANK
        assert file.read_at(buffer, 0) == 3
        path.unlink()
        assert file.read_at(buffer, 0) == 3


@pytest.mark.parametrize("kind", ["fifo", "symlink", "folder", "socket", "missing", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, folder: int, kind: str) -> None:
    expected = errno.ESTALE
    name, directory = b"x", folder
    if kind == "fifo":
        os.mkfifo(tmp_path / "x")
    elif kind == "symlink":
        (tmp_path / "real").touch()
        (tmp_path / "x").symlink_to("real")
    elif kind == "folder":
        (tmp_path / "x").mkdir()
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"/proc/self/fd/{folder}/x")
        server.close()
    elif kind == "device":
        name, directory = b"null", open_directory(b"/dev")
    else:
        expected = errno.ENOENT
    with pytest.raises(OSError) as caught:
        open_file(directory, name)
    assert caught.value.errno == expected
    if directory != folder:
        os.close(directory)


def test_a_fifo_that_replaces_a_small_file_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    walked = walk([bytes(tmp_path)], Exclusions(), WalkOptions(), print)
    directory = next(walked)
    (tmp_path / "f").unlink()
    os.mkfifo(tmp_path / "f")
    data, results = small_files(directory, struct.pack("=I", 0), LIMIT)
    (result,) = each_small(results)
    assert result.errno == errno.ESTALE
    assert not data
    walked.close()  # type: ignore[attr-defined]


def test_links_are_read_and_not_followed(tmp_path: Path, folder: int) -> None:
    (tmp_path / "l").symlink_to(os.fsdecode(b"no\xffwhere"))
    assert read_link(folder, b"l") == b"no\xffwhere"
    (tmp_path / "f").touch()
    with pytest.raises(OSError) as caught:
        read_link(folder, b"f")
    assert caught.value.errno == errno.ESTALE
    with pytest.raises(OSError) as caught:
        read_file_at(folder, b"l", 10)
    assert caught.value.errno == errno.ESTALE


def test_racing_writers_never_stop_a_reader(tmp_path: Path, folder: int) -> None:
    """What comes back is a prefix of some state, or an error that has a name."""
    path = tmp_path / "f"
    path.write_bytes(b"a" * 50_000)
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            path.write_bytes(b"b" * 70_000)
            os.truncate(path, 10)
            path.unlink()
            path.write_bytes(b"c" * 5)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    outcomes: set[Change] = set()
    rounds = 0
    buffer = memoryview(bytearray(100_000))
    try:
        while rounds < 300 or not outcomes:
            rounds += 1
            try:
                with open_file(folder, b"f") as file:
                    assert file.read_at(buffer, 0) <= file.size
                    outcomes.add(file.change())
            except OSError as failure:
                assert failure.errno == errno.ENOENT
    finally:
        done.set()
        disturber.join()
    assert outcomes <= set(Change)
