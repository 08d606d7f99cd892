"""Ratios are paired within rounds, and what is owed is judged against the better peer."""

from __future__ import annotations

from benchmarks.report import Measurement, Report


def measured(round_number: int, tool: str, cpu: float, job: str = "first") -> Measurement:
    return Measurement(round_number, job, tool, cpu, cpu, 100 << 20, 0, 0, 0, 1000)


def report(*measurements: Measurement) -> Report:
    versions = {"kluis": "1", "restic": "1", "borg": "1"}
    return Report(
        "system", 1, 1, "0", "command", versions, ["first"], measurements=list(measurements)
    )


def test_a_ratio_is_taken_within_a_round_before_the_median() -> None:
    found = report(
        measured(0, "kluis", 1), measured(0, "borg", 2),  # idle machine
        measured(1, "kluis", 10), measured(1, "borg", 20),  # loaded machine
        measured(2, "kluis", 3), measured(2, "borg", 3),
    )  # fmt: skip
    assert found.ratio("first", "kluis", "borg", "cpu_seconds") == 0.5


def test_the_better_peer_decides() -> None:
    fast_rival = measured(0, "restic", 1.2)
    rows = report(measured(0, "kluis", 1), fast_rival, measured(0, "borg", 4)).verdicts()
    assert any("first, cpu_seconds" in row and "NOT KEPT" in row for row in rows)
    rows = report(measured(0, "kluis", 1), measured(0, "borg", 4)).verdicts()
    assert any("first, cpu_seconds" in row and "| kept" in row for row in rows)


def test_the_table_names_every_tool_that_was_measured() -> None:
    text = report(measured(0, "kluis", 1), measured(0, "restic", 2)).markdown()
    assert "| first | kluis | 1.00 |" in text
    assert "| first | restic | 2.00 |" in text
    assert "| first | borg" not in text
