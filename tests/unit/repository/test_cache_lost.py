"""What the cache does when its folder takes nothing any more, and what it never does."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kluis._native.table import Table
from kluis.format.tree import Extent
from kluis.repository.cache import ClientCache, Seen
from kluis.repository.dedup import DedupCache, open_dedup
from kluis.storage.alive import AliveMark, is_alive
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from kluis.storage.spare import UNWRITABLE, SpareFolder
from kluis.surroundings import Machine
from tests.small_disk import SmallDisk, small_disk

OLD, NEW = b"o" * 16, b"n" * 16
ENTRIES = 1000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


def reach(disk: SmallDisk) -> ClientCache:
    return ClientCache(f"{disk.folder}/cache", b"v" * 32, b"s" * 16)


def learn(dedup: DedupCache, run: bytes) -> bytes:
    """Chunks that the table knows for good; returns the first one's hash."""
    hashes = [os.urandom(16) for _ in range(ENTRIES)]
    records = [dedup.record(one, Extent(run, n, 0, 10)) for n, one in enumerate(hashes)]
    dedup.table.add_pending(b"".join(records))
    dedup.table.settle(dedup.number(run), ENTRIES)
    dedup.keep({run: ENTRIES})
    return hashes[0]


def known(dedup: DedupCache, hash16: bytes) -> bytes | None:
    dedup.allow(dict.fromkeys(dedup.runs, b"\xff" * ENTRIES))
    local = int.from_bytes(dedup.table.lookup(hash16)[:4], "little")
    return dedup.runs[local] if local < len(dedup.runs) else None


def forbid(cache: ClientCache) -> None:
    """From now on nothing that has to be durable is written or removed."""
    faults = [Fault(kind, 0, errno=errno.EACCES, lasting=True) for kind in ("create", "unlink")]
    cache._durable = LocalStorage(cache.folder, calls=FaultyCalls(faults))


@pytest.mark.parametrize("why", ["full", "forbidden"])
def test_a_number_that_cannot_be_kept_never_comes_to_mean_another_run(
    disk: SmallDisk, why: str
) -> None:
    cache = reach(disk)
    dedup = open_dedup(cache)
    old = learn(dedup, OLD)
    dedup.close()
    dedup = open_dedup(cache)
    assert known(dedup, old) == OLD
    if why == "full":
        disk.fill()
    else:
        forbid(cache)
    chunk = learn(dedup, NEW)
    assert known(dedup, chunk) == NEW  # this process goes on with it
    assert known(dedup, old) == (OLD if why == "full" and disk.mounted else None)
    disk.free()
    dedup.table.flush()  # as it does by itself when it has learned enough, and is killed then
    assert dedup.lock is not None
    dedup.lock.close()
    another = reach(disk)
    again = open_dedup(another)
    third = b"t" * 16
    again.number(third)
    assert known(again, chunk) is None
    again.close()
    another.close()
    dedup.close()
    assert cache.trouble
    cache.close()


def test_what_is_not_kept_is_known_until_the_cache_is_closed(disk: SmallDisk) -> None:
    disk.protect()
    cache, told = reach(disk), list[str]()
    cache.tell = told.append
    client = cache.client(Machine())
    cache.remember(Seen(3, bytes(32), 1))
    cache.write("x", b"kept")
    assert cache.client(Machine()) == client
    assert cache.seen() == Seen(3, bytes(32), 1)
    assert cache.read("x") == b"kept"
    assert cache.kernel_time_ns() == 0
    cache.close()
    assert told == [cache.trouble]
    again = reach(disk)
    assert again.seen() is None
    again.close()


def test_a_run_without_a_mark_is_neither_living_nor_gone(disk: SmallDisk) -> None:
    disk.protect()
    cache = reach(disk)
    mark = cache.begin_run(NEW)
    assert cache.living_runs() == cache.open_runs() == []
    mark.close()
    mark.abandon()
    cache.forget_runs([NEW])
    cache.close()


def test_marks_are_told_apart_where_no_room_is_left(disk: SmallDisk) -> None:
    cache = reach(disk)
    living, gone = cache.begin_run(NEW), cache.begin_run(OLD)
    gone.abandon()
    disk.fill()
    assert (cache.living_runs(), cache.open_runs()) == ([NEW], [OLD])
    living.close()
    cache.close()


def test_a_mark_that_can_only_be_read_stays_that_of_a_process_that_is_gone(
    disk: SmallDisk,
) -> None:
    cache = reach(disk)
    cache.begin_run(OLD).abandon()
    disk.protect()
    assert (cache.living_runs(), cache.open_runs()) == ([], [OLD])
    cache.forget_runs([OLD])
    assert cache.open_runs() == [OLD]
    assert cache.trouble
    cache.close()


def test_a_mark_that_nobody_sees_can_be_closed_twice(tmp_path: Path) -> None:
    mark = AliveMark.unseen()
    mark.close()
    mark.close()
    assert not is_alive(str(tmp_path / "none"))


def test_a_spare_folder_lies_where_it_can_and_goes_with_its_content(tmp_path: Path) -> None:
    spare = SpareFolder({"TMPDIR": str(tmp_path)})
    assert Path(spare.path).parent == tmp_path
    status = tmp_path.joinpath(spare.path).stat()
    assert spare.identity() == (status.st_dev, status.st_ino)
    table = Table(f"{spare.path}/0")
    table.close()
    spare.close()
    assert list(tmp_path.iterdir()) == []


def test_without_any_folder_the_table_works_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kluis.storage.spare.PLACES", ("/proc",))
    cache = ClientCache("/proc/nobody", b"v" * 32, b"s" * 16)
    assert cache.spare.path == UNWRITABLE
    assert cache.spare.identity() is None
    monkeypatch.setenv("TMPDIR", "/proc/nobody")
    dedup = open_dedup(cache)
    assert known(dedup, learn(dedup, NEW)) == NEW
    dedup.close()
    cache.close()
