"""What a command costs: its own memory and bytes, whatever the process that asks holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import Command, FailedError

MIB = 1 << 20


def test_the_peak_is_the_command_s_own(tmp_path: Path) -> None:
    held = bytearray(b"x") * (100 * MIB)
    small = measure.run(Command(("true",)), tmp_path / "log")
    code = f"held = bytearray(b'x') * {60 * MIB}"
    large = measure.run(Command((sys.executable, "-c", code)), tmp_path / "log")
    assert len(held) == 100 * MIB
    assert small.peak_bytes < 30 * MIB
    assert 60 * MIB < large.peak_bytes < 100 * MIB


def test_written_bytes_include_those_of_grandchildren(tmp_path: Path) -> None:
    script = f"(head -c 300000 /dev/zero >{tmp_path}/a); head -c 200000 /dev/zero >{tmp_path}/b"
    cost = measure.run(Command(("sh", "-c", script)), tmp_path / "log")
    assert 500_000 <= cost.written_bytes < 520_000


def test_a_command_that_fails_has_no_cost_but_its_words(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"(?s)ended with 3.*no room"):
        measure.run(Command(("sh", "-c", "echo no room >&2; exit 3")), tmp_path / "log")
    with pytest.raises(FailedError, match="not started"):
        measure.run(Command(("/nowhere/at all",)), tmp_path / "log")


def test_what_the_caller_has_set_does_not_reach_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLUIS_PASSWORD", "mine")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    measure.run(Command(("env",), {"BORG_REPO": "given"}), tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert "BORG_REPO=given" in said
    assert "KLUIS_PASSWORD" not in said
    assert "PYTHONDONTWRITEBYTECODE" not in said


def test_added_counts_what_is_new_or_rewritten(tmp_path: Path) -> None:
    for name in ("same", "grown"):
        (tmp_path / name).write_bytes(b"1234")
    before = measure.states(tmp_path)
    (tmp_path / "grown").write_bytes(b"123456")
    (tmp_path / "new").write_bytes(b"1")
    added = measure.added(before, measure.states(tmp_path))
    assert set(added) == {"grown", "new"}
    assert measure.total(added) == 7


def test_cpu_time_is_that_of_the_command(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    cost = measure.run(Command((sys.executable, "-c", busy)), tmp_path / "log")
    assert 0.19 < cost.cpu_seconds < 0.4
    assert cost.wall_seconds > 0.19
