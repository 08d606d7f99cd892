"""The same seed gives the same folder, and a day's change touches what it says."""

from __future__ import annotations

import os
from pathlib import Path

from scripts.treecompare import compare
from tests import datasets

SMALL = 0.01


def test_the_same_seed_gives_the_same_office(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        datasets.office(tmp_path / name, seed=3, scale=SMALL)
    assert compare(tmp_path / "one", tmp_path / "two").differences == []


def test_another_seed_gives_another_office(tmp_path: Path) -> None:
    for seed in (3, 4):
        (tmp_path / str(seed)).mkdir()
        datasets.office(tmp_path / str(seed), seed=seed, scale=SMALL)
    assert not compare(tmp_path / "3", tmp_path / "4", frozenset({"content"})).same


def test_a_days_change_is_named_completely(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        datasets.office(tmp_path / name, seed=3, scale=SMALL)
    touched = datasets.change_office(tmp_path / "after", seed=9)
    found = compare(tmp_path / "before", tmp_path / "after", frozenset({"content", "mode"}))
    assert sorted({line.split(": ")[0] for line in found.differences}) == touched


def test_odd_entries_hold_what_a_careless_tool_loses(tmp_path: Path) -> None:
    datasets.odd_entries(tmp_path / "odd", privileged=False)
    names = os.listdir(os.fsencode(tmp_path / "odd"))
    assert max(map(len, names)) == 255
    assert any(b"\xff" in name for name in names)
    holes = (tmp_path / "odd" / "holes").stat()
    assert holes.st_blocks * 512 < holes.st_size
