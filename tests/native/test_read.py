"""Small files come back whole, in order and with what changed about them; holes are found."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import tempfile
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import read, scan, scatter
from kluis._native.twins import read as twin
from tests.native import trees

LIMIT = 100
NODUMP_FLAG = 0x40
AT_FDCWD = -100


class Result(NamedTuple):
    """What became of one file, with its data."""

    length: int
    flags: int
    inode_flags: int
    data: bytes


def results_of(answer: tuple[bytearray, bytes]) -> list[Result]:
    data, packed = answer
    results, at = [], 0
    for length, flags, inode_flags in struct.iter_unpack(read.RESULT_FORMAT, packed):
        end = at + max(length, 0)
        results.append(Result(length, flags, inode_flags, bytes(data[at:end])))
        at = end
    assert at == len(data)
    return results


def read_all(fd: int, records: bytes, names: bytes, limit: int = LIMIT) -> list[Result]:
    wanted = array("I", range(len(records) // scan.RECORD_SIZE))
    return results_of(read.read_small(fd, records, names, wanted, limit))


def read_changed(folder: Path, change: Callable[[int], object], content: bytes = b"old") -> Result:
    """What a file `f` gives that is changed after the scan; the twin has to agree."""
    with trees.opened(folder) as fd:
        trees.write(fd, b"f", content)
        records, names, _ = scan.scan_directory(fd)
        change(fd)
        before = trees.descriptors()
        (result,) = read_all(fd, records, names)
        assert trees.descriptors() == before
        (expected,) = results_of(twin.read_small(fd, records, names, array("I", [0]), LIMIT))
    assert result._replace(inode_flags=0) == expected
    return result


contents = st.one_of(
    st.binary(max_size=8), st.integers(LIMIT - 2, LIMIT + 3).map(lambda size: b"\7" * size)
)


@given(
    st.dictionaries(trees.names, st.tuples(st.sampled_from(trees.KINDS), contents), max_size=8),
    st.lists(st.integers(0, 7), max_size=12),
    st.sampled_from([0, 1, LIMIT, 70_000, read.LIMIT_MAX]),
)
def test_any_entries_in_any_order_read_as_the_twin_reads_them(
    entries: dict[bytes, tuple[str, bytes]], numbers: list[int], limit: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, trees.opened(folder) as fd:
        for name, (kind, content) in entries.items():
            trees.make(fd, name, kind, content)
        records, names, _ = scan.scan_directory(fd)
        wanted = array("I", [number for number in numbers if number < len(entries)])
        results = results_of(read.read_small(fd, records, names, wanted, limit))
        if limit == read.LIMIT_MAX:
            limit = 100_000  # the twin makes room for all of it
        expected = results_of(twin.read_small(fd, records, names, wanted, limit))
        assert [result._replace(inode_flags=0) for result in results] == expected
        assert not any(result.flags & read.CHANGED for result in results)


def test_a_thousand_files_come_back_to_back(tmp_path: Path) -> None:
    expected = {b"%04d" % i: os.urandom(i * 37 % 5000) for i in range(1000)}
    with trees.opened(tmp_path) as fd:
        for name, content in expected.items():
            trees.write(fd, name, content)
        records, names, _ = scan.scan_directory(fd)
        results = read_all(fd, records, names, 5000)
    assert [result.data for result in results] == list(expected.values())
    assert {result.flags for result in results} == {0}


@pytest.mark.parametrize("old", [0, 1, 50, LIMIT])
@pytest.mark.parametrize("new", [0, 1, 50, LIMIT, LIMIT + 1, 10_000])
def test_a_file_that_changed_its_size_gives_what_it_holds_now(
    tmp_path: Path, old: int, new: int
) -> None:
    def rewrite(fd: int) -> None:
        trees.write(fd, b"f", b"n" * new)
        os.utime("f", ns=(0, 0), dir_fd=fd)  # even within one tick of the clock

    result = read_changed(tmp_path, rewrite, b"o" * old)
    assert result.flags == read.CHANGED | (read.GREW if new > LIMIT else 0)
    assert result.data == (b"" if new > LIMIT else b"n" * new)


def test_a_batch_whose_files_all_grew_finds_room_for_them(tmp_path: Path) -> None:
    names_expected = [b"%03d" % i for i in range(200)]
    with trees.opened(tmp_path) as fd:
        for name in names_expected:
            trees.write(fd, name, b"")
        records, names, _ = scan.scan_directory(fd)
        for name in names_expected:
            trees.write(fd, name, name * 30)
        results = read_all(fd, records, names)
    assert [result.data for result in results] == [name * 30 for name in names_expected]
    assert all(result.flags == read.CHANGED for result in results)


def test_a_file_that_was_too_large_already_is_no_changed_one(tmp_path: Path) -> None:
    result = read_changed(tmp_path, lambda _: None, b"x" * (LIMIT + 1))
    assert (result.length, result.flags) == (0, read.GREW)


def test_another_file_of_the_same_size_and_time_is_a_changed_one(tmp_path: Path) -> None:
    def replace(fd: int) -> None:
        times = os.stat("f", dir_fd=fd)
        trees.write(fd, b"other", b"new")
        os.utime("other", ns=(times.st_atime_ns, times.st_mtime_ns), dir_fd=fd)
        os.rename("other", "f", src_dir_fd=fd, dst_dir_fd=fd)

    result = read_changed(tmp_path, replace)
    assert (result.flags, result.data) == (read.CHANGED, b"new")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("fifo", errno.ESTALE), ("folder", errno.ESTALE), ("link", errno.ELOOP), ("", errno.ENOENT)],
)
def test_what_took_the_file_s_place_is_neither_read_nor_waited_for(
    tmp_path: Path, kind: str, error: int
) -> None:
    def replace(fd: int) -> None:
        os.unlink(b"f", dir_fd=fd)
        if kind:
            trees.make(fd, b"f", kind, b"/etc/passwd")

    assert read_changed(tmp_path, replace) == (-error, 0, 0, b"")


def test_files_that_lie_about_their_size_are_read_to_the_end() -> None:
    with trees.opened("/proc/sys/kernel") as fd:
        record = scan.stat_entry(fd, b"ostype")
        (result,) = read_all(fd, record, b"ostype")
    assert result.data == b"Linux\n"
    assert result.flags == read.CHANGED  # its length is not the recorded one


def test_extended_attributes_and_inode_flags_are_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    os.setxattr(tmp_path / "f", "user.color", b"blue")
    with (tmp_path / "f").open() as file:
        fd = file.fileno()
        refused = trees.errno_of(lambda: scatter.set_flags(fd, scatter.get_flags(fd) | NODUMP_FLAG))
        flags = 0 if refused else scatter.get_flags(fd)
    assert refused in (0, errno.ENOTTY, errno.EOPNOTSUPP)
    with trees.opened(tmp_path) as directory:
        records, names, _ = scan.scan_directory(directory)
        (result,) = read_all(directory, records, names)
    assert result == (1, read.XATTRS, flags, b"x")
    assert flags & NODUMP_FLAG == (0 if refused else NODUMP_FLAG)


def test_another_user_s_file_is_read_without_sparing_its_access_time(tmp_path: Path) -> None:
    def read_without_privilege(fd: int) -> list[Result]:
        trees.refuse("openat", errno.EPERM, 2, os.O_NOATIME, 0)
        records, names, _ = scan.scan_directory(fd)
        return read_all(fd, records, names)

    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"f", b"theirs")
        (result,) = trees.in_thread(lambda: read_without_privilege(fd))
    assert result.data == b"theirs"


def test_a_file_that_may_not_be_read_is_named_by_its_errno(tmp_path: Path) -> None:
    def read_as_nobody(fd: int) -> list[Result]:
        trees.become_nobody()
        records, names, _ = scan.scan_directory(fd)
        return read_all(fd, records, names)

    tmp_path.chmod(0o755)
    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"closed", b"secret")
        trees.write(fd, b"open", b"public")
        os.chmod("closed", 0, dir_fd=fd)
        closed, public = trees.in_thread(lambda: read_as_nobody(fd))
    assert closed == (-errno.EACCES, 0, 0, b"")
    assert public.data == b"public"


def test_a_file_under_another_s_lease_is_not_waited_for(tmp_path: Path) -> None:
    told = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks the holder to let go
    try:
        with trees.opened(tmp_path) as fd:
            trees.write(fd, b"f", b"x")
            records, names, _ = scan.scan_directory(fd)
            with (tmp_path / "f").open("r+b") as holder:
                fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                (leased,) = read_all(fd, records, names)
            (free,) = read_all(fd, records, names)
    finally:
        signal.signal(signal.SIGIO, told)
    assert leased.length == -errno.EAGAIN
    assert (free.flags, free.data) == (0, b"x")


def test_the_access_time_stays_as_it_was(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"f", b"x")
        os.utime("f", ns=(1, 1), dir_fd=fd)  # older than mtime: a plain read would renew it
        records, names, _ = scan.scan_directory(fd)
        read_all(fd, records, names)
        assert os.stat("f", dir_fd=fd).st_atime_ns == 1


def test_a_file_is_marked_changed_or_is_exactly_as_it_was_scanned(
    tmp_path: Path, trials: Callable[[int, int], int]
) -> None:
    stop = threading.Event()

    def write_on(fd: int) -> None:
        for i in range(10**9):
            if stop.is_set():
                return
            size = i * 7 % 60
            trees.write(fd, b"f", bytes([size]) * size)

    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"f", b"")
        thread = threading.Thread(target=write_on, args=(fd,))
        thread.start()
        try:
            for _ in range(trials(2000, 200_000)):
                records, names, _ = scan.scan_directory(fd)
                size = struct.unpack(scan.RECORD_FORMAT, records)[2]
                (result,) = read_all(fd, records, names)
                assert result.flags & read.CHANGED or result.length == size
                assert result.length <= 60
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    ("records", "names", "wanted", "limit"),
    [
        (bytes(scan.RECORD_SIZE - 1), b"", b"", 1),
        (bytes(scan.RECORD_SIZE), b"x", b"", 1),
        (bytes(scan.RECORD_SIZE), b"", array("I", [1]), 1),
        (b"", b"", array("I", [0]), 1),
        (bytes(scan.RECORD_SIZE), b"", b"\0\0\0", 1),
        (b"", b"", b"", read.LIMIT_MAX + 1),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(
    records: bytes, names: bytes, wanted: bytes, limit: int
) -> None:
    with pytest.raises(ValueError):
        read.read_small(-1, records, names, wanted, limit)


@pytest.mark.parametrize("name", [b"", b"../etc/passwd", b"a/b", b"a\0b"])
def test_a_name_that_is_no_single_component_is_not_opened(name: bytes) -> None:
    record = bytearray(scan.stat_entry(AT_FDCWD, b"/etc/passwd"))
    struct.pack_into("=H", record, 96, len(name))
    with trees.opened("/usr") as fd:
        (result,) = read_all(fd, bytes(record), name)
    assert result == (-errno.EINVAL, 0, 0, b"")


def test_an_endless_name_is_too_long() -> None:
    record = bytearray(scan.stat_entry(AT_FDCWD, b"/etc/passwd"))
    struct.pack_into("=H", record, 96, 65535)
    with trees.opened("/usr") as fd:
        (result,) = read_all(fd, bytes(record), b"x" * 65535)
    assert result == (-errno.ENAMETOOLONG, 0, 0, b"")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 400))
def test_read_at_fills_the_buffer_or_stops_at_the_end(content: bytes, size: int, at: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        buffer = bytearray(size)
        done = read.read_at(file.fileno(), buffer, at)
    assert done == len(content[at : at + size])
    assert buffer == content[at : at + size].ljust(size, b"\0")


def test_read_at_needs_a_file_and_a_place_to_write_to(tmp_path: Path) -> None:
    source, target = os.pipe()
    try:
        with pytest.raises(OSError, match="Illegal seek"):
            read.read_at(source, bytearray(1), 0)
        with pytest.raises(BufferError):
            read.read_at(source, b"fixed", 0)
        with pytest.raises(OSError, match="too large"):
            read.read_at(source, bytearray(2), 2**63 - 1)
    finally:
        os.close(source)
        os.close(target)


BLOCK_BYTES = 65536  # a multiple of what file systems allocate


@given(st.lists(st.booleans(), max_size=12), st.integers(0, BLOCK_BYTES * 13))
def test_the_ranges_of_data_hold_all_of_it_and_are_those_of_the_twin(
    blocks: list[bool], size: int
) -> None:
    with tempfile.TemporaryFile() as file:
        for number, full in enumerate(blocks):
            if full:
                os.pwrite(file.fileno(), b"x" * BLOCK_BYTES, number * BLOCK_BYTES)
        file.truncate(len(blocks) * BLOCK_BYTES)
        ranges = read.data_ranges(file.fileno(), size)
        assert ranges == twin.data_ranges(file.fileno(), size)
    covered = {offset for start, end in ranges for offset in range(start, end, BLOCK_BYTES)}
    full_at = [n * BLOCK_BYTES for n, full in enumerate(blocks) if full]
    assert {offset for offset in full_at if offset < size} <= covered
    flat = [offset for pair in ranges for offset in pair]
    assert flat == sorted(set(flat))
    assert not flat or flat[-1] <= size


def test_a_file_system_that_knows_no_holes_has_one_range() -> None:
    with open("/proc/self/maps", "rb") as file:
        assert read.data_ranges(file.fileno(), 100) == [(0, 100)]
        assert read.data_ranges(file.fileno(), 0) == []


def test_ranges_of_what_has_no_offsets_are_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        read.data_ranges(-1, 1)
    with pytest.raises(OSError, match="too large"):
        read.data_ranges(-1, 2**63)
