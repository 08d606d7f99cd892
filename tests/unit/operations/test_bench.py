from __future__ import annotations

import os
from pathlib import Path

import pytest

from kluis.errors import CancelledError, KluisError, UsageError
from kluis.events import Cancel, Context
from kluis.operations.bench import bench
from kluis.options import BenchOptions

SIZE_BYTES = 2 << 20


def test_every_part_is_measured_and_no_file_left(tmp_path: Path) -> None:
    result = bench(BenchOptions(os.fsencode(tmp_path), SIZE_BYTES), Context())
    names = {one.name for one in result.measurements}
    assert names == {"cut", "hash", "zstd", "expand", "seal", "disk write", "disk read"}
    assert all(one.size == SIZE_BYTES and one.seconds > 0 for one in result.measurements)
    assert list(tmp_path.iterdir()) == []


def test_only_the_parts_that_were_asked_for() -> None:
    result = bench(BenchOptions(size=SIZE_BYTES, parts=("hash", "disk")), Context())
    assert [one.name for one in result.measurements] == ["hash"]


def test_bad_input_and_a_wish_to_stop(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        bench(BenchOptions(size=10), Context())
    missing = os.fsencode(tmp_path / "missing")
    with pytest.raises(KluisError, match="missing"):
        bench(BenchOptions(missing, SIZE_BYTES, ("disk",)), Context())
    cancel = Cancel()
    cancel.set()
    with pytest.raises(CancelledError):
        bench(BenchOptions(os.fsencode(tmp_path), SIZE_BYTES), Context(cancel=cancel))
    assert list(tmp_path.iterdir()) == []
