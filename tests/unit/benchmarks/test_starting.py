"""The repository of many snapshots is a real one, and waits are held against what is owed."""

from __future__ import annotations

from pathlib import Path

import pytest

import kluis
from benchmarks import manysnapshots, measure
from benchmarks.peers.base import PASSWORD
from benchmarks.starting import Started

SECRET = kluis.Credentials(passphrase=PASSWORD.encode())


@pytest.mark.parametrize("prune", [False, True])
def test_every_snapshot_can_be_verified_and_restored(tmp_path: Path, prune: bool) -> None:
    place = tmp_path / "repository"
    manysnapshots.make(place, 70, hosts=3, prune=prune)
    assert len(list((place / "ledger").iterdir())) == (1 if prune else 71)
    with kluis.open(place, SECRET, cache_folder=tmp_path / "cache") as repository:
        [group] = kluis.snapshots(repository).groups
        assert len(group.snapshots) == 70
        assert len({snapshot.time_ns for snapshot in group.snapshots}) == 70
        verified = kluis.verify(repository, kluis.VerifyOptions(level=2))
        assert verified.damages == ()
        target = tmp_path / "target"
        some = group.snapshots[33].id
        kluis.restore(repository, kluis.RestoreOptions(some, target=bytes(target)))
    assert len([path for path in target.rglob("*.txt") if path.stat().st_size == 2000]) == 20


def test_the_median_wait_is_held_against_its_limit() -> None:
    rounds = [measure.Cost(0.1, wall, 1, 0) for wall in (0.11, 0.13, 5.0)]
    late, early = Started("x", 0.12, rounds).verdict(), Started("x", 0.14, rounds).verdict()
    assert late is not None
    assert early is not None
    assert (late.kept, early.kept) == (False, True)
    assert Started("x", None, rounds).verdict() is None
