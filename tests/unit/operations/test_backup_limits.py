"""What is deep, long, many, sparse or far away in time is backed up like anything else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kluis.errors import UsageError
from kluis.format import tree
from kluis.format.tree import HOLE_RUN, extent_length
from kluis.operations.archiving import basis
from kluis.options import Chunker
from kluis.repository.trees import content_of
from tests.repositories import SECOND_NS, Place, make_place
from tests.unit.operations.stored import files_of, source_files, stored
from tests.unit.source.unprivileged import remove_tree, shared_folder

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
LEVELS = 10_000
YEAR_2100_NS = 4_102_444_800 * SECOND_NS


@pytest.fixture
def in_memory() -> Iterator[Place]:
    """A repository and a source where many folders are cheap, where there is such a place."""
    memory = Path("/dev/shm")
    for folder in shared_folder(memory if os.access(memory, os.W_OK) else None):
        place = make_place(folder)
        yield place
        remove_tree(place.source)


def make_levels(place: Place, count: int) -> None:
    at = os.open(place.source, os.O_RDONLY)
    for _ in range(count):
        os.mkdir(b"d", dir_fd=at)
        below = os.open(b"d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with open(os.open(b"bottom", os.O_WRONLY | os.O_CREAT, dir_fd=at), "wb") as file:
        file.write(b"how deep")
    os.close(at)


def test_ten_thousand_levels_of_folders(in_memory: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place = in_memory
    monkeypatch.setattr(basis, "RACY_NS", -10 * SECOND_NS)
    make_levels(place, LEVELS)
    first = place.backup()
    assert first.problems == ()
    assert (first.files_new, first.bytes_total) == (1, len(b"how deep"))
    with place.open() as repository:
        found = stored(repository)
        assert found.read(place.path("d/" * LEVELS + "bottom")) == b"how deep"
    again = place.backup()
    assert (again.bytes_read, again.files_unmodified) == (0, 1)
    assert again.dirs_unmodified >= LEVELS


def test_names_of_255_bytes(place: Place) -> None:
    for name in (b"n" * 255, b"\xff" * 255, "ü".encode() * 127 + b"x"):
        folder = place.path() + b"/" + name
        os.mkdir(folder)
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"long name")
    assert place.backup().exit_status == 0
    assert files_of(place) == source_files(place)


def test_five_thousand_tags(place: Place) -> None:
    tags = tuple(f"tag number {number}" for number in range(5000))
    place.backup(tags=tags)
    with place.open() as repository:
        assert stored(repository).snapshot.facts.tags == tags


@pytest.mark.parametrize("now", [0, YEAR_2100_NS])
def test_a_clock_that_is_far_off(place: Place, now: int) -> None:
    first = place.backup(now)
    place.write("new", "new")
    second = place.backup(now + SECOND_NS)
    assert (first.time_ns, second.time_ns) == (now, now + SECOND_NS)
    assert files_of(place) == source_files(place)


@pytest.mark.parametrize("moment", [-SECOND_NS, 0, 1, YEAR_2100_NS])
def test_files_of_any_time(place: Place, moment: int) -> None:
    path = place.write("letter.txt", "old or not yet written")
    os.utime(path, ns=(moment, moment))
    place.backup()
    place.backup(parent="latest")
    with place.open() as repository:
        entry = stored(repository).entries()[bytes(path)]
    assert entry.mtime_s * SECOND_NS + entry.mtime_ns == moment
    assert files_of(place) == source_files(place)


def test_a_file_of_more_extents_than_a_tree_holds(place: Place) -> None:
    blocks = [os.urandom(4 * KIB) for _ in range(2500)]
    place.write("a", b"".join(blocks))
    place.write("shuffled", b"".join(blocks[::-1]))
    place.backup(chunker=Chunker("fixed", 4 * KIB))
    with place.open() as repository:
        found = stored(repository)
        entry = found.entries()[place.path("shuffled")]
        assert entry.flags & tree.LISTED
        listed = [
            extent for _, extents in found.trees.blocks(content_of(entry)) for extent in extents
        ]
    assert len(listed) == 2500
    assert files_of(place) == source_files(place)


@pytest.mark.parametrize("size", [0, 511, 8 * MIB + 1])
def test_a_fixed_size_that_no_chunk_has_is_refused(place: Place, size: int) -> None:
    with pytest.raises(UsageError, match="512 to 8388608 bytes"):
        place.backup(chunker=Chunker("fixed", size))
    assert not list((place.location / "snapshots").iterdir())


@pytest.mark.parametrize("size", [512, 8 * MIB])
def test_the_smallest_and_the_largest_fixed_size(place: Place, size: int) -> None:
    place.write("noise", os.urandom(9 * MIB if size > MIB else 100 * KIB))
    place.write("words", b"so many words " * (2 * MIB if size > MIB else KIB))
    place.backup(chunker=Chunker("fixed", size))
    assert files_of(place) == source_files(place)


def test_zeros_of_just_a_chunk_are_a_hole_also_in_small_files(place: Place) -> None:
    for size in (100, 4 * KIB, 8 * KIB, 8 * KIB + 100, 300 * KIB):
        place.write(f"zeros {size}", bytes(size))
        place.write(f"more {size}", b"x" * 4096 + bytes(size) + b"y")
    place.backup(chunker=Chunker("fixed", 4 * KIB))
    with place.open() as repository:
        entry = stored(repository).entries()[place.path("zeros 4096")]
    assert [extent.run for extent in entry.extents] == [HOLE_RUN]
    assert files_of(place) == source_files(place)


def test_holes_of_gigabytes_cost_nothing(place: Place) -> None:
    path = place.source / "machine.img"
    islands = {0: b"start", 3 * GIB + 12_345: os.urandom(MIB), 40 * GIB: b"end"}
    with path.open("wb") as file:
        file.truncate(50 * GIB)
        for at, content in islands.items():
            file.seek(at)
            file.write(content)
    result = place.backup()
    assert result.bytes_total > 50 * GIB
    assert result.bytes_read < 4 * MIB
    with place.open() as repository:
        entry = stored(repository).entries()[bytes(path)]
    assert entry.size == 50 * GIB
    assert sum(map(extent_length, entry.extents)) == 50 * GIB
    holes = [extent_length(extent) for extent in entry.extents if extent.run == HOLE_RUN]
    assert sum(holes) > 50 * GIB - 4 * MIB
    assert len(entry.extents) < 60


def test_very_many_files_in_one_folder(
    in_memory: Place, trials: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, count = in_memory, trials(10_000, 1_000_000)
    monkeypatch.setattr(basis, "RACY_NS", -10 * SECOND_NS)
    folder = place.source / "many"
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for number in range(count):
        file = os.open(b"%07d" % number, os.O_WRONLY | os.O_CREAT, dir_fd=at)
        os.write(file, b"content %d" % (number // 2))
        os.close(file)
    os.close(at)
    first = place.backup()
    assert (first.files_new, first.problems) == (count, ())
    (folder / "0000007").write_bytes(b"changed")
    again = place.backup()
    assert (again.files_changed, again.files_unmodified) == (1, count - 1)
    assert again.bytes_read == len(b"changed")
    with place.open() as repository:
        found = stored(repository)
        assert found.read(place.path("many/0000007")) == b"changed"
        assert found.read(place.path("many/0000006")) == b"content 3"
        entries = found.entries()
    assert len([path for path in entries if path.startswith(place.path("many") + b"/")]) == count


@pytest.mark.parametrize("time_ns", [-(1 << 63) - 1, 1 << 63])
def test_a_time_that_no_snapshot_can_hold_is_refused(place: Place, time_ns: int) -> None:
    before = sorted(path.name for path in place.location.rglob("*"))
    with pytest.raises(UsageError, match="1678 to 2261"):
        place.backup(time_ns=time_ns)
    assert sorted(path.name for path in place.location.rglob("*")) == before
    assert place.backup(time_ns=(1 << 63) - 1).time_ns == (1 << 63) - 1
