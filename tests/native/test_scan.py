"""The scan sees what the portable twin sees, whatever the names, the size and the races."""

from __future__ import annotations

import errno
import os
import stat
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import scan, scatter
from kluis._native.twins import scan as twin
from tests.native import trees

trees_to_make = st.dictionaries(
    trees.names, st.tuples(st.sampled_from(trees.KINDS), st.binary(max_size=20)), max_size=12
)


def portable(records: bytes) -> list[twin.Entry]:
    """The records without what only statx knows."""
    found = [twin.Entry._make(row) for row in struct.iter_unpack(scan.RECORD_FORMAT, records)]
    unknown = {"btime_s": 0, "btime_ns": scan.BTIME_UNKNOWN_NS, "attributes": 0}
    return [entry._replace(**unknown) for entry in found]


def assert_as_twin(fd: int) -> tuple[bytes, bytes]:
    records, names, failures = scan.scan_directory(fd)
    expected, expected_names, _ = twin.scan_directory(fd)
    assert names == expected_names
    assert portable(records) == portable(expected)
    assert failures == []
    return records, names


def names_in(records: bytes, names: bytes) -> list[bytes]:
    return [name for name, _ in twin.entries(records, names)]


@given(trees_to_make)
def test_any_directory_looks_as_the_twin_sees_it(entries: dict[bytes, tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder, trees.opened(folder) as fd:
        for name, (kind, content) in entries.items():
            trees.make(fd, name, kind, content.translate(None, b"\0"))
        records, names = assert_as_twin(fd)
        assert names_in(records, names) == sorted(entries)
        for name, entry in twin.entries(records, names):
            alone = twin.Entry._make(struct.unpack(scan.RECORD_FORMAT, scan.stat_entry(fd, name)))
            assert alone == entry


@pytest.mark.parametrize("folder", ["/usr/bin", "/etc"])
def test_the_machine_s_own_folders_look_as_the_twin_sees_them(folder: str) -> None:
    with trees.opened(folder) as fd:
        assert_as_twin(fd)


def test_device_numbers_are_those_that_python_makes() -> None:
    with trees.opened("/dev") as fd:
        (null,) = portable(scan.stat_entry(fd, b"null"))
    assert null.rdev == os.makedev(1, 3)
    assert null.dev == os.stat("/dev/null").st_dev


def test_a_record_has_the_size_and_layout_that_its_format_says(tmp_path: Path) -> None:
    assert struct.calcsize(scan.RECORD_FORMAT) == scan.RECORD_SIZE == 112
    assert scan.RECORD_FORMAT == twin.RECORD_FORMAT
    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"a", b"12345")
        os.utime("a", ns=(0, -1_500_000_001), dir_fd=fd)
        record = scan.stat_entry(fd, b"a")
    (entry,) = portable(record)
    assert (entry.size, entry.mtime, entry.name_length) == (5, (-2, 499_999_999), 1)
    assert record[98:] == bytes(14)


def test_birth_time_is_known_and_plausible_or_marked_unknown(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"new", b"")
        os.utime("new", ns=(0, 0), dir_fd=fd)
        row = struct.unpack(scan.RECORD_FORMAT, scan.stat_entry(fd, b"new"))
    entry = twin.Entry._make(row)
    born = (entry.btime_s, entry.btime_ns)
    age_s = entry.ctime_s - entry.btime_s
    assert born == (0, scan.BTIME_UNKNOWN_NS) or (0 <= age_s < 60 and entry.btime_ns < 10**9)


def test_attributes_show_the_flag_that_excludes_from_dumps(tmp_path: Path) -> None:
    nodump_flag, nodump_attribute = 0x40, 0x40
    (tmp_path / "f").touch()
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        plain = twin.Entry._make(struct.unpack(scan.RECORD_FORMAT, scan.stat_entry(fd, b"")))
        refused = trees.errno_of(lambda: scatter.set_flags(fd, scatter.get_flags(fd) | nodump_flag))
        marked = twin.Entry._make(struct.unpack(scan.RECORD_FORMAT, scan.stat_entry(fd, b"")))
    finally:
        os.close(fd)
    assert refused in (0, errno.ENOTTY, errno.EOPNOTSUPP)
    assert plain.attributes & nodump_attribute == 0
    assert marked.attributes & nodump_attribute == (0 if refused else nodump_attribute)


def fill(fd: int, count: int) -> list[bytes]:
    """Makes that many names for one file, in an order that is neither theirs nor random."""
    names = [b"%08d" % (i * 7919 % count) + b"x" * (i % 90) for i in range(count)]
    for i, name in enumerate(names):
        first = names[i - i % 30_000]  # a file can have 65,000 names in ext4
        if name is first:
            trees.write(fd, name, b"")
        else:
            os.link(first, name, src_dir_fd=fd, dst_dir_fd=fd)
    return sorted(names)


def test_a_large_directory_is_complete_and_sorted(
    tmp_path: Path, trials: Callable[[int, int], int]
) -> None:
    count = trials(20_000, 1_000_000)
    with trees.opened(tmp_path) as fd:
        expected = fill(fd, count)
        records, names, failures = scan.scan_directory(fd)
        assert failures == []
        assert names == b"".join(expected)
        lengths = [row[-1] for row in struct.iter_unpack(scan.RECORD_FORMAT, records)]
        assert lengths == [len(name) for name in expected]
        again = scan.scan_directory(fd)
    assert again == (records, names, [])


def test_a_scan_starts_at_the_beginning_wherever_the_last_one_broke_off(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"one", b"")
        scan.scan_directory(fd)
        trees.write(fd, b"two", b"")
        os.lseek(fd, 0, os.SEEK_END)
        records, names, _ = scan.scan_directory(fd)
    assert names_in(records, names) == [b"one", b"two"]


def test_an_empty_directory_gives_nothing(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        assert scan.scan_directory(fd) == (b"", b"", [])


def test_entries_that_give_no_status_are_failures_with_their_names(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        trees.write(fd, b"a", b"")
        trees.write(fd, b"\xff", b"")
        tmp_path.chmod(0o444)  # may be listed, may not be entered

        def scan_as_nobody() -> tuple[bytes, bytes, list[tuple[bytes, int]]]:
            trees.become_nobody()
            return scan.scan_directory(fd)

        scanned = trees.in_thread(scan_as_nobody)
    assert scanned == (b"", b"", [(b"a", errno.EACCES), (b"\xff", errno.EACCES)])


def test_what_vanishes_during_the_scan_is_a_failure_and_disturbs_no_other(tmp_path: Path) -> None:
    def remove(fd: int) -> None:
        for i in range(0, 4000, 2):
            os.unlink(b"%04d" % i, dir_fd=fd)

    seen = 0
    for attempt in range(50):
        (tmp_path / str(attempt)).mkdir()
        with trees.opened(tmp_path / str(attempt)) as fd:
            for i in range(4000):
                trees.write(fd, b"%04d" % i, b"x" * i)
            thread = threading.Thread(target=remove, args=(fd,))
            thread.start()
            records, names, failures = scan.scan_directory(fd)
            thread.join()
        found = list(twin.entries(records, names))
        assert all(entry.size == int(name) for name, entry in found)
        kept, lost = [name for name, _ in found], [name for name, _ in failures]
        assert kept == sorted(set(kept))
        assert not set(kept) & set(lost)
        assert {b"%04d" % i for i in range(1, 4000, 2)} <= set(kept)
        assert {error for _, error in failures} <= {errno.ENOENT}
        seen += bool(failures)
        if seen:
            break
    assert seen, "no scan met a file that vanished"


def test_a_listing_that_breaks_off_keeps_what_it_has_and_says_so(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        expected = fill(fd, 2000)

        def scan_on_a_failing_disk() -> tuple[bytes, bytes, list[tuple[bytes, int]]]:
            first_batch_bytes = 32768  # later batches are larger
            trees.refuse("getdents64", errno.EIO, 2, 0xFFFFFFFF, first_batch_bytes)
            return scan.scan_directory(fd)

        records, names, failures = trees.in_thread(scan_on_a_failing_disk)
        found = names_in(records, names)
        assert failures == [(b"", errno.EIO)]
        assert 0 < len(found) < len(expected)
        assert set(found) < set(expected)
        assert found == sorted(found)


def test_a_listing_that_fails_at_once_is_an_error(tmp_path: Path) -> None:
    def scan_on_a_dead_disk(fd: int) -> int:
        trees.refuse("getdents64", errno.EIO)
        return trees.errno_of(lambda: scan.scan_directory(fd))

    with trees.opened(tmp_path) as fd:
        assert trees.in_thread(lambda: scan_on_a_dead_disk(fd)) == errno.EIO


def test_what_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with (tmp_path / "f").open() as file, pytest.raises(NotADirectoryError):
        scan.scan_directory(file.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        scan.scan_directory(-1)


def test_stat_entry_follows_no_link_and_names_the_failure(tmp_path: Path) -> None:
    with trees.opened(tmp_path) as fd:
        os.symlink(b"/etc/passwd", b"link", dir_fd=fd)
        assert portable(scan.stat_entry(fd, b"link")) == portable(twin.stat_entry(fd, b"link"))
        assert portable(scan.stat_entry(fd, b"")) == portable(twin.stat_entry(fd, b""))
        with pytest.raises(FileNotFoundError):
            scan.stat_entry(fd, b"absent")
        with pytest.raises(OSError, match="File name too long"):
            scan.stat_entry(fd, b"x" * 70_000)
        with pytest.raises(ValueError, match="zero byte"):
            scan.stat_entry(fd, b"a\0b")


# Few values and many equal ones, so that every field of the comparison decides now and then.
instants = st.tuples(st.integers(-1, 1), st.integers(0, 2))
made_entries = st.builds(
    lambda ino, dev, mtime, ctime, mode, size: twin.Entry(
        ino, dev, size, 0, 0, mtime[0], ctime[0], 0, mtime[1], ctime[1], 0, mode, 0, 0, 1, 0, 0
    ),
    st.integers(1, 2),
    st.integers(0, 1),
    instants,
    instants,
    st.sampled_from([0o100644, 0o100600, 0o040755, 0o120777]),
    st.integers(0, 1),
)
listings = st.dictionaries(trees.names, made_entries, max_size=8)


def packed(listing: dict[bytes, twin.Entry]) -> tuple[bytes, bytes]:
    rows = [entry._replace(name_length=len(name)) for name, entry in sorted(listing.items())]
    records = b"".join(struct.pack(scan.RECORD_FORMAT, *row) for row in rows)
    return records, b"".join(sorted(listing))


@given(listings, st.data())
def test_select_keeps_what_the_twin_keeps(
    listing: dict[bytes, twin.Entry], data: st.DataObject
) -> None:
    size = len(listing)
    keep = data.draw(st.binary(min_size=size, max_size=size))
    assert scan.select(*packed(listing), keep) == twin.select(*packed(listing), keep)


@given(listings, listings, st.lists(st.integers(0, 7)), instants)
def test_diff_finds_the_entries_that_the_twin_finds(
    old: dict[bytes, twin.Entry],
    new: dict[bytes, twin.Entry],
    shared: list[int],
    racy: tuple[int, int],
) -> None:
    for number in shared:
        if number < len(old):
            name = sorted(old)[number]
            new[name] = old[name]
    arguments = (*packed(old), *packed(new), *racy)
    assert scan.diff_entries(*arguments) == twin.diff_entries(*arguments)
    assert scan.any_racy(packed(new)[0], *racy) is twin.any_racy(packed(new)[0], *racy)


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ({}, True),
        ({"mode": 0o100600, "uid": 7, "nlink": 9, "blocks": 1}, True),
        ({"ino": 8}, False),
        ({"dev": 8}, False),
        ({"size": 8}, False),
        ({"mtime_s": 8}, False),
        ({"mtime_ns": 8}, False),
        ({"ctime_s": 8}, False),
        ({"ctime_ns": 8}, False),
        ({"mode": 0o120644}, False),
    ],
)
def test_an_entry_is_the_same_until_its_identity_changes(
    change: dict[str, int], matches: bool
) -> None:
    entry = twin.Entry(1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0o100644, 0, 0, 1, 0, 0)
    old = packed({b"a": entry, b"b": entry})
    new = packed({b"b": entry._replace(**change)})
    (index,) = struct.unpack("=I", scan.diff_entries(*old, *new, 99, 0))
    assert index == (1 if matches else scan.NO_ENTRY)


@pytest.mark.parametrize(
    ("mtime", "ctime", "mode", "racy"),
    [
        ((5, 9), (5, 9), 0o100644, False),
        ((6, 0), (5, 9), 0o100644, True),
        ((5, 9), (6, 0), 0o100644, True),
        ((7, 0), (7, 0), 0o040755, False),
    ],
)
def test_a_time_is_racy_from_the_very_instant_on(
    mtime: tuple[int, int], ctime: tuple[int, int], mode: int, racy: bool
) -> None:
    entry = twin.Entry(
        1, 1, 1, 0, 0, mtime[0], ctime[0], 1, mtime[1], ctime[1], 1, mode, 0, 0, 1, 0, 0
    )
    records, names = packed({b"a": entry})
    assert scan.any_racy(records, 6, 0) is racy
    if mode == 0o100644:
        (index,) = struct.unpack("=I", scan.diff_entries(records, names, records, names, 6, 0))
        assert index == (scan.NO_ENTRY if racy else 0)


@given(listings, st.integers(0, 2))
def test_the_device_is_hidden_as_by_the_twin(listing: dict[bytes, twin.Entry], device: int) -> None:
    records, names = packed(listing)
    hidden = scan.hide_device(records, device)
    assert hidden == twin.hide_device(records, device)
    for (_, before), (_, after) in zip(
        twin.entries(records, names), twin.entries(hidden, names), strict=True
    ):
        elsewhere = before.dev != device and not stat.S_ISDIR(before.mode)
        assert after == before._replace(dev=int(elsewhere))


def test_a_part_of_a_record_has_no_device() -> None:
    for module in (scan, twin):
        with pytest.raises(ValueError, match="no whole records"):
            module.hide_device(bytes(scan.RECORD_SIZE - 1), 0)


@given(st.binary(max_size=600), st.binary(max_size=20))
def test_records_that_do_not_fit_their_names_are_refused(records: bytes, names: bytes) -> None:
    whole = len(records) // scan.RECORD_SIZE * scan.RECORD_SIZE
    fits = len(records) == whole and len(names) == sum(
        row[-1] for row in struct.iter_unpack(scan.RECORD_FORMAT, records[:whole])
    )
    keep = bytes(whole // scan.RECORD_SIZE)
    if fits:
        assert scan.select(records, names, keep) == (b"", b"")
        return
    with pytest.raises(ValueError, match="records"):
        scan.select(records, names, keep)
    with pytest.raises(ValueError, match="records"):
        scan.diff_entries(records, names, b"", b"", 0, 0)
    with pytest.raises(ValueError, match="records"):
        scan.diff_entries(b"", b"", records, names, 0, 0)


def test_marks_for_another_number_of_entries_are_refused() -> None:
    with pytest.raises(ValueError, match="2 marks for 0 entries"):
        scan.select(b"", b"", b"\1\1")
