"""The dedup cache says nothing that it was not told, and forgets only what it may."""

from __future__ import annotations

import resource
import struct
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kluis._native.table import NO_RUN, Table
from kluis._native.twins import table as twin
from tests.native.tables import ALL_USABLE, filled, hash_of, known, place, record, table_files

BLOCK_BYTES = 4096

# Hashes that share prefixes of 8 bytes and more, as real ones never do.
HASHES = [bytes([n % 3]) * 8 + bytes([n]) * 8 for n in range(9)]

hashes = st.sampled_from(HASHES)
runs = st.integers(0, 1)
frames = st.integers(0, 2)  # with the runs 6 places of a hash: 8 are kept
records = st.builds(lambda hash16, run, frame: record(hash16, run, frame), hashes, runs, frames)


class AgainstTheTwin(RuleBasedStateMachine):
    """Random lives of a cache folder, with a memory so small that it flushes all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.native = Table(self.folder.name, 4)
        self.twin = twin.Table()

    def teardown(self) -> None:
        self.native.close()
        self.folder.cleanup()

    @rule(new=st.lists(records, max_size=6).map(b"".join))
    def add_pending(self, new: bytes) -> None:
        pending = {*self.twin.pending, *twin.split(new, 32)}
        if len(pending) <= 8:  # twice the memory: beyond that the native one may forget
            self.native.add_pending(new)
            self.twin.add_pending(new)

    @rule(run=runs, limit=st.integers(0, 4))
    def settle(self, run: int, limit: int) -> None:
        self.native.settle(run, limit)
        self.twin.settle(run, limit)

    @rule(run=runs, bits=st.integers(0, 15))
    def set_usable(self, run: int, bits: int) -> None:
        self.native.set_usable(run, bytes([bits]))
        self.twin.set_usable(run, bytes([bits]))

    @rule()
    def flush(self) -> None:
        self.native.flush()
        self.twin.flush()

    @rule()
    def discard_pending(self) -> None:
        self.native.discard_pending()
        self.twin.discard_pending()

    @rule()
    def restart(self) -> None:
        self.native.close()
        self.native = Table(self.folder.name, 4)
        self.twin.restart()

    @rule()
    def clear(self) -> None:
        self.native.clear()
        self.twin.clear()
        assert len(self.native) == 0

    @invariant()
    def answers_are_allowed(self) -> None:
        answers = twin.split(self.native.lookup(b"".join(HASHES)), 16)
        for hash16, answer in zip(HASHES, answers, strict=True):
            assert answer in self.twin.answers(hash16)


AgainstTheTwin.TestCase.settings = settings(stateful_step_count=30)
test_against_the_twin = AgainstTheTwin.TestCase


def test_a_pending_entry_is_known_at_once_and_gone_when_discarded(tmp_path: Path) -> None:
    table = Table(str(tmp_path / "made" / "by it"))
    table.add_pending(record(HASHES[0], 5, 1))
    assert table.lookup(HASHES[0] + HASHES[1]) == place(5, 1) + twin.UNKNOWN
    table.discard_pending()
    assert table.lookup(HASHES[0]) == twin.UNKNOWN


def test_only_what_is_settled_and_flushed_outlives_the_process(tmp_path: Path) -> None:
    table = Table(str(tmp_path))
    table.add_pending(b"".join(record(HASHES[frame], 1, frame) for frame in range(4)))
    table.settle(1, 3)
    table.flush()
    table.close()
    table = Table(str(tmp_path))
    assert table.lookup(HASHES[0]) == twin.UNKNOWN  # the run was not named in this process
    table.set_usable(1, b"\x0d")
    expected = place(1, 0) + twin.UNKNOWN + place(1, 2) + twin.UNKNOWN
    assert table.lookup(b"".join(HASHES[:4])) == expected
    assert len(table) == 3


@pytest.mark.parametrize("flushed_after", [set(), {2}, {0, 1}, {0, 2}, {0, 1, 2}])
def test_pending_comes_first_then_the_newest_usable(
    tmp_path: Path, flushed_after: set[int]
) -> None:
    table = Table(str(tmp_path))
    table.set_usable(1, ALL_USABLE)
    for frame in range(3):
        table.add_pending(record(HASHES[0], 1, frame))
        table.settle(1, 9)
        if frame in flushed_after:
            table.flush()
    table.add_pending(record(HASHES[0], 2, 9))
    assert table.lookup(HASHES[0]) == place(2, 9)
    table.discard_pending()
    for usable, newest in [(0xFF, 2), (0x03, 1), (0x01, 0)]:
        table.set_usable(1, bytes([usable]))
        assert table.lookup(HASHES[0]) == place(1, newest)


def test_a_merge_drops_what_is_known_to_be_unusable_and_keeps_what_is_not_known(
    tmp_path: Path,
) -> None:
    table = Table(str(tmp_path))
    table.add_pending(b"".join(record(hash_of(n), n % 2, n) for n in range(100)))
    table.settle(0, 100)
    table.settle(1, 100)
    table.set_usable(0, b"\x01")  # run 1 is not named
    table.flush()
    assert len(table) == 51


def test_nothing_is_written_where_all_is_dead_and_old_files_go(tmp_path: Path) -> None:
    table = filled(tmp_path, range(10))
    table.set_usable(0, b"")
    table.add_pending(record(HASHES[0], 0, 1))
    table.settle(0, 2)
    table.flush()
    assert table_files(tmp_path) == []
    assert len(table) == 0


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_many_flushes_leave_all_entries_in_few_files(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        start = 0
        for size in sizes:
            filled(Path(name), range(start, start + size)).close()
            start += size
        assert len(table_files(Path(name))) == 1
        assert known(Path(name), range(start)) == start


def test_large_files_are_not_rewritten_by_each_small_flush(tmp_path: Path) -> None:
    filled(tmp_path, range(20_000)).close()
    (large,) = table_files(tmp_path)
    for n in range(20_000, 20_100, 10):
        filled(tmp_path, range(n, n + 10)).close()
    files = table_files(tmp_path)
    assert files[0] == large
    assert len(files) == 2
    assert known(tmp_path, range(20_100)) == 20_100


def test_it_flushes_by_itself_so_memory_stays_bounded(tmp_path: Path) -> None:
    table = Table(str(tmp_path), 100)
    table.set_usable(0, ALL_USABLE)
    for start in range(0, 1000, 50):
        chunk = b"".join(record(hash_of(n), 0, n % 64, n) for n in range(start, start + 50))
        table.add_pending(chunk)
        table.settle(0, 64)
    assert len(table) == 1000
    table.close()
    assert known(tmp_path, range(1000)) >= 900


def test_pending_entries_beyond_the_limit_are_forgotten(tmp_path: Path) -> None:
    table = Table(str(tmp_path), 50)
    table.add_pending(b"".join(record(hash_of(n), 1, 0, n) for n in range(300)))
    answers = twin.split(table.lookup(b"".join(hash_of(n) for n in range(300))), 16)
    assert [answer for answer in answers if answer != twin.UNKNOWN] == [
        place(1, 0, n) for n in range(100)
    ]


def test_hundreds_of_places_of_one_hash_cost_no_more_than_eight(tmp_path: Path) -> None:
    table = Table(str(tmp_path))
    table.set_usable(0, ALL_USABLE)
    for start in range(0, 300, 100):
        table.add_pending(
            b"".join(record(HASHES[0], 0, n % 64, n) for n in range(start, start + 100))
        )
        table.settle(0, 64)
        table.flush()
    assert len(table) == 8
    run, _, offset, _ = struct.unpack("<4I", table.lookup(HASHES[0]))
    assert (run, offset >= 200) == (0, True)


@pytest.mark.parametrize("prefix_bytes", [0, 8])
@pytest.mark.parametrize("frame", range(8))
def test_entries_of_one_hash_or_one_prefix_may_lie_in_several_blocks(
    tmp_path: Path, frame: int, prefix_bytes: int
) -> None:
    alike = [(bytes(prefix_bytes) + hash_of(n))[:16] for n in range(200)]  # 13 blocks
    table = Table(str(tmp_path))
    table.add_pending(b"".join(record(h, 0, n) for h in alike for n in range(8)))
    table.settle(0, 8)
    table.flush()
    table.set_usable(0, bytes([1 << frame]))
    assert table.lookup(b"".join(alike)) == place(0, frame) * 200


def test_two_processes_in_one_folder_lose_nothing_that_was_flushed(tmp_path: Path) -> None:
    one = filled(tmp_path, range(100))
    two = filled(tmp_path, range(100, 200))  # merges the file of the first, and removes it
    assert one.lookup(hash_of(3)) == place(0, 3, 3)
    one.add_pending(record(hash_of(200), 0, 200 % 64, 200))
    one.settle(0, 64)
    one.flush()
    one.close()
    two.close()
    assert known(tmp_path, range(201)) == 201


def test_a_full_disk_is_reported_and_costs_nothing_that_is_in_memory(tmp_path: Path) -> None:
    table = Table(str(tmp_path))
    table.set_usable(0, ALL_USABLE)
    table.add_pending(b"".join(record(hash_of(n), 0, n % 64, n) for n in range(1000)))
    table.settle(0, 64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK_BYTES, hard))
    try:
        with pytest.raises(OSError, match=str(tmp_path)):
            table.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}
    assert table.lookup(hash_of(999)) == place(0, 999 % 64, 999)
    table.flush()
    table.close()
    assert known(tmp_path, range(1000)) == 1000


def test_when_nothing_can_be_written_settling_forgets_and_goes_on(tmp_path: Path) -> None:
    table = Table(str(tmp_path), 100)
    table.set_usable(0, ALL_USABLE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        for n in range(150):
            table.add_pending(record(hash_of(n), 0, n % 64, n))
            table.settle(0, 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert table.lookup(hash_of(149)) == place(0, 149 % 64, 149)
    assert len(table) == 50


def test_threads_may_share_a_table(tmp_path: Path) -> None:
    table = Table(str(tmp_path), 200)
    table.set_usable(0, ALL_USABLE)
    wrong: list[bytes] = []

    def ask() -> None:
        for _ in range(50):
            answers = twin.split(table.lookup(b"".join(hash_of(n) for n in range(1000))), 16)
            allowed = ({twin.UNKNOWN, place(0, n % 64, n)} for n in range(1000))
            wrong.extend(a for a, ok in zip(answers, allowed, strict=True) if a not in ok)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(1000):
        table.add_pending(record(hash_of(n), 0, n % 64, n))
        table.settle(0, 64)
    for thread in threads:
        thread.join()
    assert wrong == []


def test_bad_arguments_are_refused_and_change_nothing(tmp_path: Path) -> None:
    table = Table(str(tmp_path))
    with pytest.raises(ValueError, match="whole records of 16"):
        table.lookup(b"short")
    with pytest.raises(ValueError, match="whole records of 32"):
        table.add_pending(b"short")
    with pytest.raises(ValueError, match="stands for none"):
        table.add_pending(record(HASHES[0], 1, 1) + record(HASHES[1], NO_RUN, 1))
    assert table.lookup(HASHES[0]) == twin.UNKNOWN
    assert table.lookup(b"") == b""


def test_a_closed_table_says_so(tmp_path: Path) -> None:
    table = Table(str(tmp_path))
    table.close()
    table.close()
    with pytest.raises(ValueError, match="closed"):
        table.lookup(b"")


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        Table(str(tmp_path / "file"))
