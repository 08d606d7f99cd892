"""`kluis bench` as it is typed: signals, a repository, and the page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kluis import results
from kluis.errors import KluisError
from kluis.results import BenchResult
from kluis_cli.benchpage import page, write_page
from kluis_cli.commands.bench import duration, verdict_lines
from tests.repositories import Place
from tests.unit.cli.samples import BENCH, SPAN

KLUIS = (sys.executable, "-m", "kluis_cli")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    command = [*KLUIS, "bench", str(tmp_path), "--target", str(tmp_path), "--only", "pool,disk"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(tmp_path.iterdir())
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_not_disturbed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.make()

    def state() -> dict[str, bytes]:
        found = place.location.rglob("*")
        return {str(path): path.read_bytes() for path in found if path.is_file()}

    before = state()
    command = [*KLUIS, "bench", str(place.location), "--only", "disk", "--size", "2M"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert "disk write" in done.stdout
    assert state() == before


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    text = page(BENCH)
    ElementTree.fromstring(text.partition("\n")[2])  # well-formed, so whatever it shows is escaped
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text
    assert "a &lt;disk&gt;" in text
    assert not re.search(r"(?:src|href|@import|url\()", text)
    assert "prefers-color-scheme: dark" in text
    assert "RTO NOT met" in text


def test_a_page_without_estimates_and_with_an_rto_far_away() -> None:
    assert "RTO" not in page(BenchResult(BENCH.measurements))
    far = BenchResult(BENCH.measurements, BENCH.estimates, 9, (), 8 * 3600, "met")
    assert "far to the right" in page(far)


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    place.write_text("before")
    write_page(BENCH, str(place))
    assert place.read_text() == page(BENCH)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(KluisError, match="cannot write"):
        write_page(BENCH, str(folder))
    with pytest.raises(KluisError, match="missing"):
        write_page(BENCH, str(tmp_path / "missing" / "page.html"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "page.html"]


def test_the_page_is_there_after_the_command(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    words = ["bench", "--only", "hash", "--size", "1M", "--html", str(place)]
    done = subprocess.run([*KLUIS, *words], capture_output=True, check=True, text=True)
    assert "hash" in done.stdout
    assert "BLAKE3" in place.read_text()
    assert os.listdir(tmp_path) == ["page.html"]


def test_what_would_meet_the_rto_is_said() -> None:
    lines = verdict_lines(BENCH)
    assert lines[0].startswith("RTO NOT met")
    assert "bottleneck: a <disk>" in lines[1]
    assert "a faster one" in lines[2]
    unsure = results.BenchResult((), BENCH.estimates, 9, (), 2, "unsure")
    assert "it may take 3.00 s" in verdict_lines(unsure)[0]
    met = results.BenchResult((), BENCH.estimates, 9, (), 9, "met")
    assert verdict_lines(met) == [
        "RTO met: a restore takes 3.00 s at most, and 9.00 s are asked for."
    ]
    assert SPAN.high == 3.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0.40 s"),
        (59.9, "59.9 s"),
        (61.0, "1 min 01 s"),
        (3599.9, "59 min 59 s"),
        (3660.0, "1 h 01 min"),
        (8 * 3600, "8 h 00 min"),
        (76 * 3600, "3 d 04 h"),
    ],
)
def test_times_have_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
