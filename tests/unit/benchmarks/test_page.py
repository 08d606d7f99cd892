"""The page shows what the results hold: no more, nothing unescaped, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.page.__main__ import render
from benchmarks.page.loaded import Results, load
from benchmarks.report import RESULTS

VOID = {"meta", "br", "hr", "img", "link"}


def measured(round_number: int, tool: str, cpu: float, job: str = "first") -> dict[str, Any]:
    return {
        "round": round_number, "job": job, "tool": tool, "cpu_seconds": cpu, "wall_seconds": cpu,
        "peak_bytes": 100 << 20, "written_bytes": 0, "added_files": 0, "added_bytes": 0,
        "repo_bytes": 10**6, "busy_seconds": 0.0,
    }  # fmt: skip


def result(*measurements: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {
        "dataset": "system", "files": 3, "size_bytes": 10**6, "digest": "abc", "command": "again",
        "versions": {"kluis": "kluis 9", "restic": "restic 9"}, "jobs": ["first"],
        "medium": "the machine's own disk", "commit": "c0ffee", "machine": "a machine",
        "measurements": list(measurements),
    }  # fmt: skip
    return whole | more


def loaded(folder: Path, **files: Any) -> Results:
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data))
    return load(folder)


class Outline(HTMLParser):
    """Every element with its attributes; fails on one that is closed in the wrong place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def widths(page: str, kind: str) -> list[float]:
    return [
        float(attributes["width"] or 0)
        for tag, attributes in Outline(page).elements
        if tag == "rect" and attributes.get("class") == f"bar {kind}"
    ]


def test_text_from_results_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>\"&<b>"
    data = result(
        measured(0, "kluis", 1), measured(0, evil, 2), dataset=evil, command=evil, machine=evil,
        digest=evil, versions={evil: evil}, medium=evil, commit=evil,
    )  # fmt: skip
    page = render(loaded(tmp_path, evil=data))
    names = {tag for tag, _ in Outline(page).elements}
    assert not names & {"script", "b"}
    assert "&lt;script&gt;alert(" in page
    assert "<script" not in page


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = render(load(RESULTS))
    for tag, attributes in Outline(page).elements:
        assert tag not in ("script", "link", "img", "iframe")
        assert all((attributes.get(key) or "#").startswith("#") for key in ("href", "src"))
        assert not any(key.startswith("on") for key in attributes)
    assert set(re.findall(r"url\(([^)]*)\)", page)) <= {"#hatched"}
    assert "@import" not in page


def test_a_bar_is_as_long_as_its_median(tmp_path: Path) -> None:
    rounds = [measured(n, "kluis", cpu) for n, cpu in enumerate((1, 2, 9))]
    rounds += [measured(n, "restic", 8) for n in range(3)]
    page = render(loaded(tmp_path, one=result(*rounds)))
    assert widths(page, "ours")[0] == pytest.approx(widths(page, "peer")[0] / 4, rel=0.01)


def test_ratios_are_paired_within_rounds_and_shown_with_their_spread(tmp_path: Path) -> None:
    found = loaded(tmp_path, one=result(
        measured(0, "kluis", 1), measured(0, "restic", 2),  # idle machine
        measured(1, "kluis", 10), measured(1, "restic", 20),  # loaded machine
        measured(2, "kluis", 3), measured(2, "restic", 4),
    ))  # fmt: skip
    ratio = found.compared[0].ratio("first", "restic", "cpu_seconds")
    assert ratio is not None
    assert (ratio.middle, ratio.low, ratio.high) == (0.5, 0.5, 0.75)
    assert "0.50\N{MULTIPLICATION SIGN} (0.50 to 0.75)" in render(found)


def test_a_limit_is_drawn_as_one_and_is_nobodys_peer(tmp_path: Path) -> None:
    found = loaded(tmp_path, one=result(
        measured(0, "kluis", 4), measured(0, "restic", 8), measured(0, "borg", 5),
        measured(0, "tar", 1), measured(0, "readall", 2), limits=["readall"],
    ))  # fmt: skip
    compared = found.compared[0]
    assert compared.tools("first") == ["kluis", "restic", "borg", "tar", "readall"]
    best = compared.best("first", "cpu_seconds")
    assert best is not None
    assert (best[0], best[1].middle) == ("borg", 0.8)
    page = render(found)
    figures = 2  # CPU and wall; peak memory is the third
    assert len(widths(page, "limit")) == 2 * (figures + 1)
    assert "tar | zstd -3" in page


def test_the_best_peer_is_that_of_each_round(tmp_path: Path) -> None:
    found = loaded(tmp_path, one=result(
        measured(0, "kluis", 4), measured(0, "restic", 8), measured(0, "borg", 5),
        measured(1, "kluis", 4), measured(1, "restic", 8), measured(1, "borg", 9),
        measured(2, "kluis", 4), measured(2, "restic", 5), measured(2, "borg", 8),
    ))  # fmt: skip
    best = found.compared[0].best("first", "cpu_seconds")
    assert best is not None
    assert (best[0], best[1].low, best[1].middle, best[1].high) == ("restic", 0.5, 0.8, 0.8)


def test_what_is_owed_beside_the_best_peer_is_marked_in_the_plot(tmp_path: Path) -> None:
    verdict = {
        "what": "first, cpu_seconds: kluis / best peer", "measured": 0.5, "limit": 0.6,
        "low": 0.4, "high": 0.7, "goal": 0.45, "reached": False, "best": "restic",
    }  # fmt: skip
    rounds = [measured(0, "kluis", 4), measured(0, "restic", 8)]
    page = render(loaded(tmp_path, one=result(*rounds, verdicts=[verdict])))
    strokes = [a for tag, a in Outline(page).elements if tag == "line" and a["class"] == "owed"]
    assert len(strokes) == 1
    assert "First backup, CPU time: kluis / best peer (restic)" in page
    assert ">(0.40 to 0.70)<" in page


def test_what_a_tool_did_not_do_is_said(tmp_path: Path) -> None:
    failure = {"round": 1, "job": "restore", "tool": "borg", "reason": "no <such> archive"}
    page = render(loaded(tmp_path, one=result(measured(0, "kluis", 4), failures=[failure])))
    assert "<td>Restore everything</td><td>borg</td>" in page
    assert "no &lt;such&gt; archive" in page


def test_what_is_owed_is_shown_kept_or_not(tmp_path: Path) -> None:
    verdicts = [
        {"what": "first, cpu_seconds", "measured": 0.4, "limit": 0.5, "unit": "x"},
        {"what": "peak", "measured": 130, "limit": 128, "unit": "MiB"},
    ]
    page = render(loaded(tmp_path, one=result(measured(0, "kluis", 1), verdicts=verdicts)))
    assert page.count('class="yes">kept<') == 1
    assert page.count('class="no">not kept<') == 1
    assert "1 of 2 figures that the project owes are kept" in page
    assert "130 MiB" in page


def test_results_without_verdicts_are_held_against_the_report(tmp_path: Path) -> None:
    found = loaded(tmp_path, one=result(measured(0, "kluis", 99), measured(0, "restic", 1)))
    assert any("cpu" in item.what and not item.kept for item in found.compared[0].verdicts)


def test_unknown_fields_are_passed_over_and_unknown_files_named(tmp_path: Path) -> None:
    odd = measured(0, "kluis", 1) | {"later": 5, "also": "text"}
    found = loaded(tmp_path, one=result(odd, later=[1, 2]), other={"kind": "new"})
    assert found.unknown == ["other"]
    assert "kluis 9" in render(found)


def test_a_broken_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"half\.json"):
        loaded(tmp_path, half={"measurements": [{"round": 0}]})


def test_curves_show_every_size_and_the_limit(tmp_path: Path) -> None:
    points = [
        {"series": "data", "size": size, "job": "first", "round": 0, "cpu_seconds": size / 100,
         "wall_seconds": 1.0, "peak_bytes": (80 + at) << 20}
        for at, size in enumerate((250, 500, 1000))
    ]  # fmt: skip
    page = render(loaded(tmp_path, grow={"kind": "scaling", "points": points}))
    marks = [a for tag, a in Outline(page).elements if tag == "circle" and a.get("cx") != "6"]
    assert len(marks) == 2 * 3
    assert "128 MiB for 1 GB" in page
    assert "<td>First backup</td>" in page
    assert '<td class="number">1.00</td>' in page  # the exponent: time doubles with the size


def test_starting_shows_each_wait_beside_what_is_owed(tmp_path: Path) -> None:
    data = {
        "kind": "starting",
        "started": [
            {"what": "kluis --version", "limit_seconds": 0.12, "wall_seconds": [0.05, 0.06],
             "cpu_seconds": [0.05, 0.05], "peak_bytes": [13 << 20, 14 << 20]},
        ],
        "derivation": {"what": "Argon2id", "cpu_seconds": [0.07], "share_of_cpu": 0.4},
    }  # fmt: skip
    page = render(loaded(tmp_path, starting=data))
    assert "0.055 s of 0.12 s" in page
    assert "Argon2id, which makes guessing a passphrase dear: 0.070 s of CPU, 40%" in page
