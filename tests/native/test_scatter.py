"""What is written lies where it should, and never outside the folder that was given."""

from __future__ import annotations

import errno
import os
import resource
import stat
import struct
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import read, scatter
from kluis._native.twins import scatter as twin
from tests.native import trees

BLOCK = scatter.SPARSE_BLOCK_BYTES
BOTH = (scatter, twin)


def part(fd: int, offset: int, start: int, length: int) -> bytes:
    return struct.pack(scatter.PART_FORMAT, fd, 0, offset, start, length)


def small(name: bytes, *, start: int = 0, length: int = 0, mode: int = 0o640, **more: int) -> bytes:
    fields = [more.get(key, 0) for key in ("mtime_s", "mtime_ns", "uid", "gid", "flags")]
    return struct.pack(scatter.SMALL_FORMAT, len(name), 0, mode, start, length, *fields)


def steps(results: bytes) -> list[tuple[int, str]]:
    """Errno and step of each small file."""
    pairs = struct.iter_unpack(scatter.SMALL_RESULT_FORMAT, results)
    return [(error, scatter.STEPS[step]) for error, step in pairs]


def listed(fd: int) -> dict[str, tuple[int, int, bytes]]:
    """Mode, modification time and content of everything in a directory."""
    return {
        name: (status.st_mode, status.st_mtime_ns, trees.read(fd, os.fsencode(name)))
        for name in os.listdir(fd)
        for status in [os.stat(name, dir_fd=fd)]
    }


def test_the_formats_have_the_sizes_that_c_has() -> None:
    assert struct.calcsize(scatter.PART_FORMAT) == scatter.PART_SIZE == twin.PART_SIZE == 24
    assert struct.calcsize(scatter.SMALL_FORMAT) == scatter.SMALL_SIZE == twin.SMALL_SIZE == 40
    assert struct.calcsize(scatter.SMALL_RESULT_FORMAT) == scatter.SMALL_RESULT_SIZE == 8
    assert scatter.STEPS == twin.STEPS


def test_write_at_writes_all_of_it_there_and_nothing_else() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"-" * 10)
        file.flush()
        scatter.write_at(file.fileno(), memoryview(b"xabcx")[1:4], 5)
        scatter.write_at(file.fileno(), b"", 100)
        file.seek(0)
        assert file.read() == b"-----abc--"


def test_write_at_says_why_it_could_not() -> None:
    with open("/dev/full", "wb") as full, pytest.raises(OSError, match="No space left"):
        scatter.write_at(full.fileno(), b"x", 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        scatter.write_at(-1, b"x", 0)
    with pytest.raises(OSError, match="too large"):
        scatter.write_at(-1, b"xx", 2**63 - 1)


# Runs of zeros and of data that begin and end near the borders of blocks.
lengths = st.one_of(st.integers(0, 9), st.integers(1, 3).map(lambda n: n * BLOCK), st.just(6000))
buffers = st.lists(st.tuples(st.sampled_from([b"\0", b"d"]), lengths), max_size=6).map(
    lambda runs: b"".join(byte * length for byte, length in runs)
)
offsets = st.one_of(st.integers(0, 20), st.integers(BLOCK - 2, 2 * BLOCK + 2))


@given(buffers, st.data())
def test_scattered_parts_lie_where_the_twin_puts_them(buffer: bytes, data: st.DataObject) -> None:
    places = []
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(buffer)))
        length = data.draw(st.integers(0, len(buffer) - start))
        places.append((data.draw(st.integers(0, 1)), data.draw(offsets), start, length))
    contents = []
    for module, sparse in ((scatter, False), (twin, False), (scatter, True), (twin, True)):
        with tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as other:
            fds = (one.fileno(), other.fileno())
            parts = b"".join(part(fds[place[0]], *place[1:]) for place in places)
            assert module.scatter(buffer, parts, sparse) == []
            for fd in fds:
                os.truncate(fd, 8 * BLOCK)
            contents.append([os.pread(fd, 9 * BLOCK, 0) for fd in fds])
    assert contents[0] == contents[1]
    assert contents[2] == contents[3]


@given(buffers, offsets)
def test_a_sparse_file_reads_like_the_full_one(buffer: bytes, offset: int) -> None:
    with tempfile.TemporaryFile() as file:
        parts = part(file.fileno(), offset, 0, len(buffer))
        assert scatter.scatter(buffer, parts, True) == []
        file.truncate(offset + len(buffer))
        assert file.read() == bytes(offset) + buffer


def test_aligned_zeros_become_a_hole_and_others_do_not() -> None:
    buffer = b"d" * BLOCK + bytes(16 * BLOCK) + b"d"
    with tempfile.TemporaryFile() as sparse, tempfile.TemporaryFile() as full:
        scatter.scatter(buffer, part(sparse.fileno(), 0, 0, len(buffer)), True)
        scatter.scatter(buffer, part(full.fileno(), 0, 0, len(buffer)), False)
        last = 17 * BLOCK
        assert read.data_ranges(sparse.fileno(), last + 1) == [(0, BLOCK), (last, last + 1)]
        assert read.data_ranges(full.fileno(), last + 1) == [(0, last + 1)]


def test_a_part_that_fails_is_named_and_the_others_are_written() -> None:
    with tempfile.TemporaryFile() as file, open("/dev/full", "wb") as full:
        fds = (file.fileno(), -1, full.fileno(), file.fileno())
        parts = b"".join(part(fd, n, n, 1) for n, fd in enumerate(fds))
        failures = scatter.scatter(b"abcd", parts, False)
        assert failures == [(1, errno.EBADF), (2, errno.ENOSPC)]
        assert file.read() == b"a\0\0d"


@pytest.mark.parametrize(
    ("offset", "start", "length"),
    [
        (0, 5, 0),
        (0, 4, 1),
        (0, 0, 5),
        (0, 2**32 - 1, 2**32 - 1),
        (2**63 - 1, 0, 1),
        (2**64 - 1, 0, 0),
    ],
)
@pytest.mark.parametrize("module", BOTH)
def test_a_part_outside_the_buffer_is_refused_before_anything_is_written(
    module: ModuleType, offset: int, start: int, length: int
) -> None:
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        with pytest.raises(ValueError, match="outside"):
            module.scatter(b"abcd", part(fd, 0, 0, 4) + part(fd, offset, start, length), False)
        assert file.read() == b""


def test_half_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="whole records"):
        scatter.scatter(b"", bytes(scatter.PART_SIZE + 1), False)


made = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([0, 0o644, 0o4755, 0o2711, 0o1777, 0o100640]),
        "mtime_s": st.integers(-(2**31), 2**33),
        "mtime_ns": st.integers(0, 999_999_999),
    }
)


@given(st.lists(st.tuples(trees.names, made), max_size=8), st.binary(max_size=60), st.data())
def test_small_files_look_as_the_twin_makes_them(
    files: list[tuple[bytes, dict[str, int]]], content: bytes, data: st.DataObject
) -> None:
    entries = []
    for name, fields in files:
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, len(content) - start))
        entries.append(small(name, start=start, length=length, **fields))
    arguments = (b"".join(name for name, _ in files), b"".join(entries), content)
    listings = []
    for module in BOTH:
        with tempfile.TemporaryDirectory() as folder, trees.opened(folder) as fd:
            listings.append((module.write_small(fd, *arguments), listed(fd)))
    assert listings[0] == listings[1]
    assert {os.fsencode(name) for name in listings[0][1]} == {name for name, _ in files}


@pytest.mark.parametrize("kind", trees.KINDS)
@pytest.mark.parametrize("module", BOTH)
def test_what_exists_is_left_alone(tmp_path: Path, module: ModuleType, kind: str) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "in").mkdir()
    with trees.opened(tmp_path / "in") as fd:
        trees.make(fd, b"f", kind, b"../outside")
        before = os.lstat(tmp_path / "in" / "f")
        results = module.write_small(fd, b"fg", small(b"f", length=1) + small(b"g"), b"x")
        assert steps(results) == [(errno.EEXIST, "open"), (0, "")]
    assert os.lstat(tmp_path / "in" / "f") == before
    assert (tmp_path / "outside").read_bytes() == b"precious"


@pytest.mark.parametrize("module", BOTH)
def test_a_file_that_cannot_be_written_whole_is_removed(tmp_path: Path, module: ModuleType) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    entries = small(b"a", length=1000) + small(b"b", length=10)
    with trees.opened(tmp_path) as fd:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            results = module.write_small(fd, b"ab", entries, b"x" * 1000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert steps(results) == [(errno.EFBIG, "write"), (0, "")]
        assert os.listdir(fd) == ["b"]


@pytest.mark.parametrize("module", BOTH)
def test_a_foreign_owner_costs_the_setuid_bit_and_nothing_else(
    tmp_path: Path, module: ModuleType
) -> None:
    tmp_path.chmod(0o777)
    entry = small(b"f", mode=0o6755, mtime_s=5, length=1, flags=scatter.SMALL_CHOWN)

    def write_as_nobody(fd: int) -> bytes:
        trees.become_nobody()
        return bytes(module.write_small(fd, b"f", entry, b"x"))

    with trees.opened(tmp_path) as fd:
        results = trees.in_thread(lambda: write_as_nobody(fd))
        assert steps(results) == [(errno.EPERM, "owner")]
        assert os.stat("f", dir_fd=fd).st_mtime_ns == 5 * 10**9
        assert os.stat("f", dir_fd=fd).st_mode == stat.S_IFREG | 0o755


@pytest.mark.parametrize("module", BOTH)
def test_an_own_owner_is_set_and_keeps_the_setuid_bit(tmp_path: Path, module: ModuleType) -> None:
    own = {"uid": os.getuid(), "gid": os.getgid(), "flags": scatter.SMALL_CHOWN}
    with trees.opened(tmp_path) as fd:
        results = module.write_small(fd, b"f", small(b"f", mode=0o6755, **own), b"")
        assert steps(results) == [(0, "")]
        status = os.stat("f", dir_fd=fd)
    assert (status.st_uid, status.st_gid) == (own["uid"], own["gid"])
    assert stat.S_IMODE(status.st_mode) == 0o6755


@pytest.mark.parametrize("module", BOTH)
def test_a_time_that_does_not_exist_is_the_step_that_failed(
    tmp_path: Path, module: ModuleType
) -> None:
    now_ns = (1 << 30) - 1  # what the kernel would take for "now"
    with trees.opened(tmp_path) as fd:
        results = module.write_small(fd, b"f", small(b"f", length=1, mtime_ns=now_ns), b"x")
        assert steps(results) == [(errno.EINVAL, "times")]
        assert trees.read(fd, b"f") == b"x"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (b"", errno.EINVAL),
        (b".", errno.EINVAL),
        (b"..", errno.EINVAL),
        (b"a/b", errno.EINVAL),
        (b"/etc/passwd", errno.EINVAL),
        (b"a\0b", errno.EINVAL),
        (b"x" * 256, errno.ENAMETOOLONG),
        (b"x" * 65535, errno.ENAMETOOLONG),
    ],
)
def test_a_name_that_no_file_can_have_is_a_failure_of_its_own(
    tmp_path: Path, name: bytes, error: int
) -> None:
    with trees.opened(tmp_path) as fd:
        results = scatter.write_small(fd, name + b"ok", small(name) + small(b"ok"), b"")
        first, second = steps(results)
        assert first[0] == error
        assert second == (0, "")
        assert os.listdir(fd) == ["ok"]


@pytest.mark.parametrize(
    ("names", "entries", "data"),
    [
        (b"ab", small(b"a"), b""),
        (b"", small(b"a"), b""),
        (b"a", small(b"a", start=1), b""),
        (b"a", small(b"a", length=2), b"x"),
        (b"a", small(b"a", start=2**32 - 1, length=2**32 - 1), b"x"),
        (b"", small(b"")[:-1], b""),
    ],
)
def test_small_files_outside_their_buffers_are_refused_before_any_is_made(
    tmp_path: Path, names: bytes, entries: bytes, data: bytes
) -> None:
    with trees.opened(tmp_path) as fd:
        with pytest.raises(ValueError):
            scatter.write_small(fd, b"ok" + names, small(b"ok") + entries, data)
        assert os.listdir(fd) == []
