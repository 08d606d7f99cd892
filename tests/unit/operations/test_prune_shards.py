"""Prune puts runs that stored little into one parity set: each has a shard as long as its pack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kluis.format.segment import ParitySet
from kluis.operations.prune import prune
from kluis.operations.repair import repair
from kluis.operations.verify import verify
from kluis.options import Limit, PruneOptions, RepairOptions, VerifyOptions
from kluis.repository.collector import Plan, SetPlan, _merge_shards
from tests.contents import contents, live, on_disk
from tests.repositories import DAY_NS, START_NS, Place, make_place

DAYS = 12
DAILY_BYTES = 300_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = make_place(tmp_path)
    for day in range(DAYS):
        place.write(f"day {day}", os.urandom(DAILY_BYTES))
        place.backup(at=START_NS + day * DAY_NS)
    return place


def pruned(place: Place, options: PruneOptions) -> int:
    with place.open() as repository:
        return prune(repository, options, place.context()).plan.packs_moved


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_shards_of_small_runs_become_one_that_still_heals(place: Place) -> None:
    packs, shards = size(place.location / "packs"), size(place.location / "parity")
    assert shards > 0.9 * packs
    assert pruned(place, PruneOptions()) == DAYS
    assert size(place.location / "parity") < 0.6 * packs
    [lost, *_] = sorted((place.location / "packs").rglob("*/*"))
    lost.unlink()
    with place.open() as repository:
        repair(repository, RepairOptions(), place.context())
    with place.open() as repository:
        assert verify(repository, VerifyOptions(level=2), place.context()).exit_status == 0
        newest = live(repository)[-1]
        assert contents(repository, newest, os.fsencode(place.source)) == on_disk(place.source)


def test_what_was_put_together_is_not_moved_again(place: Place) -> None:
    assert pruned(place, PruneOptions()) == DAYS
    assert pruned(place, PruneOptions()) == 0
    place.write("one more day", os.urandom(DAILY_BYTES))
    place.backup(at=START_NS + DAYS * DAY_NS)
    assert pruned(place, PruneOptions()) == 0


def test_nothing_is_put_together_where_much_may_be_unused(place: Place) -> None:
    assert pruned(place, PruneOptions(max_unused=Limit(size=1 << 30))) == 0
    assert pruned(place, PruneOptions(max_repack_bytes=0)) == 0


@pytest.mark.parametrize(("domains", "moved"), [((b"a", b"a"), 2), ((b"a", b"b"), 0)])
def test_sets_of_different_domains_cannot_share_a_shard(
    domains: tuple[bytes, bytes], moved: int
) -> None:
    """They would be moved again by every prune."""
    size = 4 << 20
    sets = [
        SetPlan(ParitySet(bytes([n]) * 16, 0, bytes(32), size, ()), [], domain, size, [], size)
        for n, domain in enumerate(domains)
    ]
    for item in sets:
        item.shard_bytes = size
    plan = Plan(kept=sets)
    for domain in sorted(set(domains)):
        _merge_shards(plan, domain, 0, 0)
    assert len(plan.moved) == moved
