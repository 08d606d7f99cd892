"""Files in frames that are hardly used move to new ones, so that the old ones die whole."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from kluis.operations.archiving import wear
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.options import ForgetOptions, KeepPolicy, PruneOptions
from kluis.repository.scancache import CacheHead
from kluis.results import PrunePlan
from tests.contents import contents, on_disk
from tests.repositories import DAY_NS, START_NS, Place, make_place

FILES, FILE_BYTES = 150, 40_000
CHANGED_A_DAY = 8
DAYS = 30


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = make_place(tmp_path)
    for number in range(FILES):
        place.write(f"{number % 10}/{number}", os.urandom(FILE_BYTES))
    place.backup(at=START_NS)
    return place


def live(place: Place, days: range, seed: int = 1) -> PrunePlan:
    """Some files change every day, and two snapshots are kept; what the last prune saw."""
    chance, plans = random.Random(seed), []
    for day in days:
        for number in chance.sample(range(FILES), CHANGED_A_DAY):
            place.write(f"{number % 10}/{number}", os.urandom(FILE_BYTES))
        place.backup(at=START_NS + day * DAY_NS)
        with place.open() as repository:
            forget(repository, ForgetOptions(policy=KeepPolicy(last=2)), place.context())
        with place.open() as repository:
            plans.append(prune(repository, PruneOptions(), place.context()).plan)
    return plans[-1]


def test_what_is_used_stays_little_more_than_what_there_is(place: Place) -> None:
    """Without leaving worn frames it is 1.8 times as much by then, and grows."""
    plan = live(place, range(1, DAYS))
    assert plan.bytes_used < 1.6 * FILES * FILE_BYTES


def test_a_file_that_only_moved_to_another_frame_is_unmodified(place: Place) -> None:
    live(place, range(1, DAYS // 2))
    place.clock.time_ns += DAY_NS
    moved = 0
    for _ in range(4):
        place.clock.time_ns += DAY_NS
        place.write("0/0", os.urandom(FILE_BYTES))
        result = place.backup()
        assert (result.files_new, result.files_changed) == (0, 1)
        assert result.files_unmodified == FILES - 1
        moved += result.bytes_added_plain > 2 * FILE_BYTES
    assert moved


def test_what_moved_is_what_it_was(place: Place) -> None:
    live(place, range(1, DAYS // 2))
    place.clock.time_ns += DAY_NS
    snapshot = place.backup().snapshot_id
    assert snapshot is not None
    with place.open() as repository:
        stored = contents(repository, snapshot, os.fsencode(place.source))
    assert stored == on_disk(place.source)


def test_use_is_counted_when_enough_is_new_and_never_without_a_last_time() -> None:
    def head(new_bytes: int, size: int = 1000) -> CacheHead:
        return CacheHead(b"r" * 16, 0, 0, 1, 1, size, {}, new_bytes)

    assert not wear.is_due(None)
    assert [wear.is_due(head(count)) for count in (0, 49, 50, 5000)] == [False, False, True, True]
    assert not wear.is_due(head(0, 0))


def test_frames_that_are_to_be_left_are_taken_from_those_that_may_be_used() -> None:
    usable = {b"a": b"\xff\xff", b"b": b"\x0f"}
    left = wear.without(usable, {b"a": ((1, 3), (15, 40)), b"c": ((0, 1),)})
    assert left == {b"a": b"\xf9\x7f", b"b": b"\x0f"}
    assert usable == {b"a": b"\xff\xff", b"b": b"\x0f"}
