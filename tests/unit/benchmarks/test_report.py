"""Ratios are paired within rounds, and what is owed is judged against the best peer of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import targets
from benchmarks.figures import Failure, Spread
from benchmarks.report import Measurement, Report
from benchmarks.targets import TARGETS, Verdict


def measured(round_number: int, tool: str, cpu: float, job: str = "first") -> Measurement:
    return Measurement(round_number, job, tool, cpu, 2 * cpu, 100 << 20, 0, 0, 0, 1000)


def report(*measurements: Measurement, dataset: str = "system", medium: str = "") -> Report:
    versions = dict.fromkeys(("kluis", "restic", "borg", "tar", "find", "copy"), "1")
    made = Report(dataset, 1, 1, "0", "command", versions, ["first"])
    made.limits = ["tar", "find", "copy"]
    made.measurements = list(measurements)
    made.medium = medium or made.medium
    return made


def verdict(found: Report, what: str) -> Verdict:
    (only,) = (each for each in targets.verdicts(found) if each.what == what)
    return only


FIRST_CPU = "first, cpu_seconds: kluis / best peer"


def test_a_ratio_is_taken_within_a_round_before_the_median() -> None:
    found = report(
        measured(0, "kluis", 1), measured(0, "borg", 2),  # idle machine
        measured(1, "kluis", 10), measured(1, "borg", 20),  # loaded machine
        measured(2, "kluis", 3), measured(2, "borg", 3),
    )  # fmt: skip
    assert found.ratio("first", "kluis", "borg", "cpu_seconds") == Spread(0.5, 0.5, 1.0)


def test_a_round_without_the_other_tool_gives_no_ratio() -> None:
    found = report(measured(0, "kluis", 1), measured(1, "kluis", 1), measured(1, "borg", 4))
    assert found.ratio("first", "kluis", "borg", "cpu_seconds") == Spread(0.25, 0.25, 0.25)
    assert found.ratio("first", "kluis", "restic", "cpu_seconds") is None


def test_the_best_peer_of_each_round_decides() -> None:
    found = report(
        measured(0, "kluis", 1), measured(0, "restic", 2), measured(0, "borg", 4),
        measured(1, "kluis", 1), measured(1, "restic", 9), measured(1, "borg", 4),
        measured(2, "kluis", 1), measured(2, "restic", 2), measured(2, "borg", 4),
    )  # fmt: skip
    judged = verdict(found, FIRST_CPU)
    assert (judged.low, judged.measured, judged.high) == (0.25, 0.5, 0.5)
    assert judged.best == "restic"
    assert judged.kept
    assert not judged.reached  # 0.4 is the goal


def test_one_fast_peer_is_enough_to_miss() -> None:
    found = report(measured(0, "kluis", 1), measured(0, "restic", 1.9), measured(0, "borg", 9))
    judged = verdict(found, FIRST_CPU)
    assert not judged.kept
    assert "| NOT KEPT |" in judged.row()
    assert any("NOT KEPT" in row and "restic" in row for row in found.verdicts())


def test_a_limit_is_no_peer() -> None:
    found = report(measured(0, "kluis", 1), measured(0, "borg", 9), measured(0, "tar", 0.5))
    assert verdict(found, FIRST_CPU).best == "borg"
    assert verdict(found, "first, cpu_seconds: kluis / tar").measured == 2.0


@pytest.mark.parametrize(("ours", "kept"), [(0.529, True), (0.531, False)])
def test_seconds_may_be_added_to_a_limit(ours: float, kept: bool) -> None:
    found = report(measured(0, "kluis", ours, "unchanged"), measured(0, "find", 0.1, "unchanged"))
    what = "unchanged, cpu_seconds: kluis / find x 1.3 + 0.4 s"
    assert verdict(found, what).kept is kept


def test_on_a_medium_only_its_own_time_and_what_it_wrote_count() -> None:
    def busy(tool: str, seconds: float) -> Measurement:
        return Measurement(
            0, "first", tool, 9.0, 9.0, 0, 0, 1, 100, 1000, seconds, 0, device_written_bytes=120
        )

    found = report(busy("kluis", 2), busy("borg", 4), busy("copy", 1.6), medium="usb:exfat")
    whats = {each.what: each for each in targets.verdicts(found)}
    assert whats["first, busy_seconds: kluis / best peer"].measured == 0.5
    assert whats["first, busy_seconds: kluis / copy"].kept is False
    assert whats["first, device_written_per_stored"].measured == 1.2
    assert FIRST_CPU not in whats


def test_a_pruned_repository_is_held_against_a_fresh_one_of_the_same_tool() -> None:
    after = Measurement(0, "churn", "kluis", 1, 1, 0, 0, 0, 0, 1400)
    fresh = Measurement(0, "fresh", "kluis", 1, 1, 0, 0, 0, 0, 1000)
    theirs = Measurement(0, "fresh", "borg", 1, 1, 0, 0, 0, 0, 2000)
    judged = verdict(report(after, fresh, theirs), "churn, repo_bytes: kluis / a fresh backup")
    assert judged.measured == 1.4
    assert not judged.kept


def test_a_day_s_bytes_are_judged_for_each_data_set_and_in_sum() -> None:
    def day(dataset: str, ours: int, theirs: int) -> Report:
        pairs = (("kluis", ours), ("borg", theirs), ("restic", theirs * 2))
        return report(
            *(Measurement(0, "changed", tool, 1, 1, 0, 0, 1, b, 1) for tool, b in pairs),
            dataset=dataset,
        )

    dump, image = day("sqldump", 40, 100), day("image", 10, 100)
    assert not verdict(dump, "changed, added_bytes: kluis / best peer").kept
    in_sum = targets.day_2_in_sum([dump, image, day("system", 1000, 1)])
    assert in_sum is not None
    assert in_sum.measured == 0.25
    assert in_sum.kept
    assert in_sum.reached


def test_the_least_that_is_owed_is_what_the_first_release_promised_or_less() -> None:
    """Nobody widens these because a figure missed them."""
    most = {(owed.job, owed.measure, owed.against, owed.datasets): owed.most for owed in TARGETS}
    assert most["first", "cpu_seconds", "best peer", ("system", "docs")] == 0.5
    assert most["unchanged", "wall_seconds", "best peer", ("system", "docs", "tiny")] == 0.25
    assert most["restore", "cpu_seconds", "best peer", ("system", "docs", "tiny")] == 0.6
    assert most["verify", "cpu_seconds", "best peer", ()] == 0.6
    assert most["churn", "wall_seconds", "best peer", ()] == 0.6
    assert all(owed.goal is None or owed.goal < owed.most for owed in TARGETS)


def test_the_table_names_every_tool_that_was_measured_and_every_failure() -> None:
    found = report(measured(0, "kluis", 1), measured(0, "restic", 2), measured(1, "kluis", 3))
    found.failures.append(Failure(0, "verify", "borg", "it\nsaid `no`"))
    text = found.markdown()
    assert "| first | kluis | 2.00 (1.00-3.00) |" in text
    assert "| first | restic | 2.00 | 4.00 |" in text
    assert "| first | borg" not in text
    assert "FAILED: borg, verify, in round 1: `it said 'no'`" in text


def test_the_json_holds_measurements_figures_and_verdicts(tmp_path: Path) -> None:
    found = report(measured(0, "kluis", 1), measured(0, "restic", 4))
    found.save("name", tmp_path)
    data = json.loads((tmp_path / "name.json").read_text())
    assert Measurement(**data["measurements"][1]) == measured(0, "restic", 4)
    assert data["limits"] == ["tar", "find", "copy"]
    (row,) = (row for row in data["figures"] if row["tool"] == "restic")
    assert row["kluis_over_tool_wall_seconds"] == {"middle": 0.25, "low": 0.25, "high": 0.25}
    judged = {each["what"]: each for each in data["verdicts"]}
    assert judged[FIRST_CPU]["kept"] is True
    assert judged[FIRST_CPU]["limit"] == 0.5
