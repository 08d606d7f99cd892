"""The dedup cache forgets rather than lies: no frame that may not be used, nor another run's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kluis.format.segment import FrameGroup, PackPlace, ParitySet, Segment
from kluis.format.tree import Extent
from kluis.repository.cache import ClientCache
from kluis.repository.dedup import (
    UNKNOWN,
    DedupCache,
    are_usable,
    can_use,
    is_usable,
    open_dedup,
)

RUNS = [bytes((letter,)) * 16 for letter in b"abc"]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ClientCache]:
    made = ClientCache(str(tmp_path), b"v" * 32, b"s" * 16)
    yield made
    made.close()


def segment(run: bytes, first: int, count: int) -> Segment:
    group = FrameGroup(run, first, 1, bytes(4 * count), bytes(4 * count))
    place = PackPlace("a", bytes(32), 65536, 100, (group,))
    return Segment(b"certificate", 0, bytes(16), None, (), (ParitySet(run, 0, None, 0, (place,)),))


def add(dedup: DedupCache, hash16: bytes, extent: Extent) -> None:
    dedup.table.add_pending(dedup.record(hash16, extent))


def look(dedup: DedupCache, hash16: bytes) -> tuple[bytes, int] | None:
    """(run, n) of a chunk, or None."""
    found = dedup.table.lookup(hash16)
    local, n = (int.from_bytes(found[at : at + 4], "little") for at in (0, 4))
    return None if local == UNKNOWN else (dedup.runs[local], n)


def test_pending_chunks_are_known_until_the_end_and_then_forgotten(cache: ClientCache) -> None:
    dedup = open_dedup(cache)
    one = os.urandom(16)
    add(dedup, one, Extent(RUNS[0], 3, 0, 10))
    assert look(dedup, one) == (RUNS[0], 3)
    dedup.close()
    again = open_dedup(cache)
    again.allow({RUNS[0]: b"\xff"})
    assert look(again, one) is None
    again.close()


def test_what_a_durable_segment_lists_is_known_to_this_run_and_the_next(
    cache: ClientCache,
) -> None:
    dedup = open_dedup(cache)
    one, two = os.urandom(16), os.urandom(16)
    add(dedup, one, Extent(RUNS[0], 3, 0, 10))
    add(dedup, two, Extent(RUNS[0], 4, 0, 10))
    dedup.learn(RUNS[0], segment(RUNS[0], 0, 4))
    assert (look(dedup, one), look(dedup, two)) == ((RUNS[0], 3), (RUNS[0], 4))
    dedup.close()
    again = open_dedup(cache)
    assert again.learned == {RUNS[0]: 4}
    assert look(again, one) is None  # not before it is allowed
    again.allow({RUNS[0]: b"\x08"})
    assert (look(again, one), look(again, two)) == ((RUNS[0], 3), None)
    again.allow({RUNS[0]: b"\x07"})
    assert look(again, one) is None
    again.close()


def test_runs_keep_their_numbers(cache: ClientCache) -> None:
    first = open_dedup(cache)
    hashes = [os.urandom(16) for _ in RUNS]
    for hash16, run in zip(hashes, RUNS, strict=True):
        add(first, hash16, Extent(run, 0, 0, 10))
        first.learn(run, segment(run, 0, 1))
    first.close()
    again = open_dedup(cache)
    assert again.runs == RUNS
    again.allow(dict.fromkeys(RUNS, b"\x01"))
    assert [look(again, hash16) for hash16 in hashes] == [(run, 0) for run in RUNS]
    again.close()


@pytest.mark.parametrize("lost", ["runs", "learned"])
def test_without_its_numbers_a_table_is_empty(cache: ClientCache, lost: str) -> None:
    """Or an entry of one run would be taken for one of another."""
    first = open_dedup(cache)
    one = os.urandom(16)
    add(first, one, Extent(RUNS[0], 0, 0, 10))
    first.learn(RUNS[0], segment(RUNS[0], 0, 1))
    first.close()
    (Path(cache.folder) / lost).unlink()
    again = open_dedup(cache)
    again.number(RUNS[1])
    again.allow({RUNS[1]: b"\xff"})
    assert look(again, one) is None
    assert again.learned == {}
    again.close()


def test_a_second_process_works_with_an_empty_table(cache: ClientCache) -> None:
    first = open_dedup(cache)
    one = os.urandom(16)
    add(first, one, Extent(RUNS[0], 0, 0, 10))
    first.learn(RUNS[0], segment(RUNS[0], 0, 1))
    second, third = open_dedup(cache), open_dedup(cache)
    assert [d.temporary for d in (first, second, third)] == [False, True, True]
    assert look(second, one) is None
    add(second, one, Extent(RUNS[1], 5, 0, 10))
    second.learn(RUNS[1], segment(RUNS[1], 0, 6))
    assert look(second, one) == (RUNS[1], 5)
    assert look(third, one) is None
    assert cache.runs() == [RUNS[0]]
    second.close()
    # The place of one that was killed, its files still there.
    killed = open_dedup(cache)
    add(killed, one, Extent(RUNS[2], 5, 0, 10))
    killed.number(RUNS[2])
    killed.table.settle(0, 6)
    killed.table.flush()
    assert killed.lock is not None
    killed.lock.close()
    after = open_dedup(cache)
    assert after.table.folder == killed.table.folder
    after.number(RUNS[1])
    after.allow({RUNS[1]: b"\xff"})
    assert look(after, one) is None
    for dedup in (first, third, after):
        dedup.close()


def test_a_dry_run_leaves_no_number(cache: ClientCache) -> None:
    dedup = open_dedup(cache)
    dedup.keeps_runs = False
    add(dedup, os.urandom(16), Extent(RUNS[0], 0, 0, 10))
    dedup.close()
    assert cache.runs() == []


def test_bitmaps_say_which_frames_may_be_used() -> None:
    usable = {RUNS[0]: b"\x05\x80"}
    assert [n for n in range(20) if is_usable(usable, RUNS[0], n)] == [0, 2, 15]
    assert not is_usable(usable, RUNS[1], 0)
    assert are_usable(usable, [(RUNS[0], 0), (RUNS[0], 15)])
    assert not are_usable(usable, [(RUNS[0], 0), (RUNS[0], 1)])
    assert can_use(usable, {RUNS[0]: ((0, 1), (2, 3))})
    assert not can_use(usable, {RUNS[0]: ((0, 2),)})
    assert can_use(usable, {})
