from __future__ import annotations

import os

from kluis.operations.stats import stats
from kluis.options import StatsOptions
from kluis.results import StatsResult
from tests.repositories import DAY_NS, START_NS, Place


def counted(place: Place, options: StatsOptions) -> StatsResult:
    with place.open() as repository:
        return stats(repository, options, place.context())


def two_snapshots(place: Place) -> int:
    """Bytes of the source; between the snapshots one file of 1,000 bytes comes, a copy of one."""
    place.backup(START_NS)
    place.write("new", b"n" * 1000)
    place.write("letter copy.txt", "Dear Ann,\n" * 50)
    place.backup(START_NS + DAY_NS)
    return sum(
        p.stat().st_size for p in place.source.rglob("*") if p.is_file() and p.name != "link"
    )


def test_as_restored(place: Place) -> None:
    size = two_snapshots(place)
    latest = counted(place, StatsOptions(ids=("latest",)))
    assert (latest.snapshots, latest.files, latest.size) == (1, 7, size)
    both = counted(place, StatsOptions())
    assert (both.snapshots, both.files, both.size) == (2, 12, 2 * size - 1500)


def test_each_content_once(place: Place) -> None:
    size = two_snapshots(place)
    result = counted(place, StatsOptions(mode="files-by-contents"))
    assert (result.files, result.size, result.frames) == (6, size - 500, 0)
    with_frames = counted(place, StatsOptions(mode="blobs-per-file"))
    assert (with_frames.files, with_frames.size) == (6, size - 500)
    assert with_frames.frames == 5  # one each, and none for the empty file


def test_as_stored_is_what_lies_in_the_packs(place: Place) -> None:
    place.write("noise", os.urandom(500_000))
    size = two_snapshots(place)
    result = counted(place, StatsOptions(mode="raw-data"))
    packs = [p.stat().st_size for p in place.location.rglob("packs/*/*") if p.is_file()]
    assert result.packs == len(packs)
    assert 590_000 < result.bytes_stored == result.size < sum(packs)
    assert result.bytes_plain > size
