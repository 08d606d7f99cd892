from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kluis.errors import CancelledError, KluisError, NoSpaceError, NotFoundError, UsageError
from kluis.events import Cancel, Context, Event, FileProblem
from kluis.operations.backup import backup
from kluis.operations.bench import bench as measured
from kluis.operations.restore import restore
from kluis.options import BenchOptions
from kluis.results import BenchResult
from kluis.surroundings import Machine
from tests.small_disk import small_disk

SIZE_BYTES = 2 << 20


class Hasty(Machine):
    """A machine that does not wait until files are old enough to count as unchanged."""

    def sleep(self, seconds: float) -> None:
        pass


def bench(options: BenchOptions, context: Context | None = None) -> BenchResult:
    return measured(options, context or Context(surroundings=Hasty()), backup, restore)


def options(folder: Path, **more: Any) -> BenchOptions:
    place = os.fsencode(folder)
    return replace(BenchOptions(folder=place, target=place, size=SIZE_BYTES), **more)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for number in range(6):
        (folder / f"folder {number}").mkdir(parents=True)
        for name in range(20):
            text = f"page {number} {name} ".encode() * 300
            (folder / f"folder {number}" / f"file {name}").write_bytes(text)
    (folder / "large.bin").write_bytes(os.urandom(3 << 20))
    (folder / "link").symlink_to("large.bin")
    return folder


def test_everything_is_measured_and_estimated_and_no_file_left(
    tmp_path: Path, source: Path
) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    before = sorted(source.rglob("*"))
    result = bench(options(medium, source=os.fsencode(source), rto_seconds=3600))
    names = {one.name for one in result.measurements}
    assert names == {
        *("source walk", "source read", "cut", "hash", "zstd", "expand", "seal", "open"),
        *("passphrase", "a backup", "a restore", "store", "look again", "bring back"),
        *("disk write", "disk read", "read 4 KiB", "read 64 KiB", "fsync", "create files"),
        *("sync folder", "sync files", "read files", "delete files", "target write"),
    }
    assert all(one.seconds > 0 for one in result.measurements)
    assert [one.job for one in result.estimates] == [
        "first backup",
        "unchanged run",
        "full restore",
    ]
    for one in result.estimates:
        assert 0 < one.seconds.low <= one.seconds.likely <= one.seconds.high
        assert one.bottleneck in {stage.name for stage in one.stages}
    total = sum(path.stat().st_size for path in source.rglob("*") if path.is_file()) - (3 << 20)
    assert result.total_bytes == total  # the link counts for nothing
    assert result.verdict == "met"
    assert result.exit_status == 0
    assert list(medium.iterdir()) == []
    assert sorted(source.rglob("*")) == before


def test_an_rto_that_is_not_met_fails_and_says_what_would_meet_it(tmp_path: Path) -> None:
    wanted = options(tmp_path, parts=("pool", "disk"), total=1 << 40, rto_seconds=60)
    result = bench(wanted)
    assert result.verdict == "missed"
    assert result.exit_status == 1
    assert "MB/s or more" in result.advice[0]
    assert any("does not fit" in text for text in result.assumptions)
    assert any("no --source" in text for text in result.assumptions)
    assert list(tmp_path.iterdir()) == []


def test_only_the_parts_that_were_asked_for(tmp_path: Path) -> None:
    result = bench(BenchOptions(size=SIZE_BYTES, parts=("hash", "disk")))
    assert [one.name for one in result.measurements] == ["hash"]
    assert result.estimates == ()


def test_without_a_folder_only_the_machine_is_measured(tmp_path: Path) -> None:
    target = os.fsencode(tmp_path)
    result = bench(BenchOptions(size=SIZE_BYTES, parts=("pool",), target=target))
    assert "store" in {one.name for one in result.measurements}
    assert result.estimates == ()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_of_the_source_is_told(tmp_path: Path, source: Path) -> None:
    told: list[Event] = []
    context = Context(told.append, surroundings=Hasty())
    name = os.fsencode(source / "missing")
    with pytest.raises(NotFoundError, match="missing"):
        bench(BenchOptions(size=SIZE_BYTES, parts=("cut",), source=name), context)
    assert [type(event) for event in told if isinstance(event, FileProblem)] == [FileProblem]


def test_an_empty_source_is_no_fault(tmp_path: Path) -> None:
    source, medium = tmp_path / "source", tmp_path / "medium"
    source.mkdir()
    medium.mkdir()
    result = bench(options(medium, source=os.fsencode(source), parts=("pool", "disk")))
    assert result.total_bytes == 0
    assert result.estimates[-1].seconds.likely > 0


@pytest.mark.parametrize(
    "wrong",
    [
        BenchOptions(size=10),
        BenchOptions(rto_seconds=60),
        BenchOptions(total=1 << 30),
        BenchOptions(folder=b"/", rto_seconds=60, parts=("disk",)),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: BenchOptions) -> None:
    with pytest.raises(UsageError):
        bench(wrong)


def test_a_missing_folder_and_a_full_one(tmp_path: Path) -> None:
    with pytest.raises(KluisError, match="missing"):
        bench(options(tmp_path / "missing", parts=("disk",)))
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        if not disk.mounted:
            disk.protect()
        with pytest.raises((NoSpaceError, KluisError)):
            bench(options(disk.folder, parts=("disk",)))
        disk.free()
        assert list(disk.folder.iterdir()) == []


class Stopping(Machine):
    """Asks to stop when the clock has been looked at so often."""

    def __init__(self, cancel: Cancel, looks: int) -> None:
        self._cancel, self._looks = cancel, looks

    def monotonic(self) -> float:
        self._looks -= 1
        if self._looks <= 0:
            self._cancel.set()
        return super().monotonic()

    def sleep(self, seconds: float) -> None:
        pass


@pytest.mark.parametrize("looks", [0, 20, 60, 100, 200, 500, 900])
def test_a_wish_to_stop_leaves_nothing_wherever_it_comes(tmp_path: Path, looks: int) -> None:
    cancel = Cancel()
    context = Context(cancel=cancel, surroundings=Stopping(cancel, looks))
    with pytest.raises(CancelledError):
        bench(options(tmp_path, parts=("hash", "pool", "disk")), context)
    assert list(tmp_path.iterdir()) == []
