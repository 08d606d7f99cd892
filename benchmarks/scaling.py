"""How memory and time of kluis grow with the data: more bytes, more files, a larger folder.

    python -m benchmarks.scaling [--data 250,500,1000,2000] [--files 10000,100000,1000000]
                                 [--one-folder 10000,100000,1000000] [--save scaling]

Each size is backed up into a new repository, again unchanged, again with one file more in the
first folder, verified (every byte read) and restored. The peak is ru_maxrss of a process that a
bare interpreter started; the time is CPU seconds, the least of the rounds, and its exponent the
slope of the straight line through the logarithms, by least squares: 1 is linear. What a start
costs (Argon2id, imports) is in both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import kluis
from benchmarks import measure, targets
from benchmarks.growing import SERIES, Growing
from benchmarks.measure import Command
from benchmarks.peers.base import PASSWORD, PROJECT
from benchmarks.peers.kluis import Kluis
from benchmarks.report import RESULTS, commit, machine
from benchmarks.targets import Verdict
from kluis.options import KDF_MEMORY_BYTES

MIB = 1 << 20
PEAK_MIB = 128
PEAK_UP_TO_MB = 1000
GROWTH = 1.25
EXPONENT = 1.05
JOBS = ("first", "unchanged", "one more", "verify", "restore")
# A run reads again whatever changed within 2 s of the start of the run before.
SETTLED_SECONDS = 3.0


@dataclass(frozen=True)
class Point:
    """One job at one size in one round."""

    series: str
    size: int
    job: str
    round: int
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Curve:
    """One job over all sizes of a series: what counts of the rounds, smallest size first."""

    series: str
    unit: str
    job: str
    sizes: tuple[int, ...]
    cpu_seconds: tuple[float, ...]
    peaks_mib: tuple[float, ...]

    @property
    def growth(self) -> float:
        """Peak at the largest size by that at the smallest."""
        return self.peaks_mib[-1] / self.peaks_mib[0]

    @property
    def exponent(self) -> float | None:
        """Of CPU time over size; None for a single size."""
        if len(self.sizes) < 2:
            return None
        return slope(
            [math.log(size) for size in self.sizes], [math.log(s) for s in self.cpu_seconds]
        )

    def verdicts(self) -> Iterator[Verdict]:
        """Each figure against what is owed."""
        about = f"{self.job}, {self.series}"
        sizes = f"{self.sizes[0]:,} to {self.sizes[-1]:,} {self.unit}"
        if self.series == "data":
            small = [
                peak
                for size, peak in zip(self.sizes, self.peaks_mib, strict=True)
                if size <= PEAK_UP_TO_MB
            ]
            if small:
                what = f"{about}: peak up to {PEAK_UP_TO_MB:,} MB"
                yield _verdict(what, max(small), PEAK_MIB, "MiB")
        if self.exponent is not None:
            yield _verdict(f"{about}: growth of the peak, {sizes}", self.growth, GROWTH, "x")
            yield _verdict(f"{about}: exponent of CPU time", self.exponent, EXPONENT)


def _verdict(what: str, measured: float, limit: float, unit: str = "") -> Verdict:
    return Verdict(what, measured, limit, measured, measured, unit=unit)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the straight line with the least squared distance in y."""
    middle_x, middle_y = fmean(x), fmean(y)
    across = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return across / sum((a - middle_x) ** 2 for a in x)


def curves(points: Sequence[Point]) -> list[Curve]:
    """Each job of each series: the least CPU time and the largest peak of the rounds."""
    found = []
    for name, growing in SERIES.items():
        for job in JOBS:
            mine = [point for point in points if (point.series, point.job) == (name, job)]
            sizes = sorted({point.size for point in mine})
            if not sizes:
                continue
            rounds = [[point for point in mine if point.size == size] for size in sizes]
            found.append(
                Curve(
                    name,
                    growing.unit,
                    job,
                    tuple(sizes),
                    tuple(min(point.cpu_seconds for point in some) for some in rounds),
                    tuple(max(point.peak_bytes for point in some) / MIB for some in rounds),
                )
            )
    return found


@dataclass(frozen=True)
class Setting:
    """Where it is measured, with which program, how often."""

    work: Path
    program: str
    rounds: int
    key_memory_bytes: int

    def measured(self, growing: Growing, sizes: Sequence[int]) -> Iterator[Point]:
        """All jobs at each size; the data lies there only meanwhile."""
        source = self.work / "growing"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        try:
            for have, size in pairwise((0, *sorted(sizes))):
                growing.fill(source, have, size)
                time.sleep(SETTLED_SECONDS)
                for number in range(self.rounds):
                    for job, cost in self._jobs(source):
                        yield Point(growing.name, size, job, number, *_figures(cost))
        finally:
            shutil.rmtree(source)

    def _jobs(self, source: Path) -> Iterator[tuple[str, measure.Cost]]:
        place = self.work / "scaling"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        more = min(entry for entry in source.iterdir()) / "one more"
        environment = {
            "KLUIS_REPOSITORY": str(place / "repo"),
            "KLUIS_PASSWORD": PASSWORD,
            "KLUIS_CACHE_DIR": str(place / "cache"),
        }
        words = {
            "first": ("backup", str(source)),
            "unchanged": ("backup", str(source)),
            "one more": ("backup", str(source)),
            "verify": ("verify", "--level", "2"),
            "restore": ("restore", f"latest:{source}", "--target", str(place / "target")),
        }
        try:
            secret = kluis.Credentials(passphrase=PASSWORD.encode())
            kluis.init(
                place / "repo", kluis.InitOptions(secret, kdf_memory_bytes=self.key_memory_bytes)
            )
            for job in JOBS:
                if job == "one more":
                    more.write_text("one more\n")
                os.sync()
                command = Command((self.program, *words[job]), environment)
                yield job, measure.run(command, place / "log")
        finally:
            more.unlink(missing_ok=True)
            shutil.rmtree(place)


def _figures(cost: measure.Cost) -> tuple[float, float, int]:
    return cost.cpu_seconds, cost.wall_seconds, cost.peak_bytes


def markdown(data: dict[str, object], points: Sequence[Point]) -> str:
    """What a person reads."""
    lines = [
        "# Memory and time as the data grows",
        "",
        f"Commit {data['commit']}, {data['machine']}. Command: `{data['command']}`",
        "CPU seconds: the least of the rounds; peak: the largest. Opening the repository takes",
        f"{data['key_mib']} MiB by itself, for Argon2id: a peak below that does not show.",
    ]
    found = curves(points)
    for name in dict.fromkeys(curve.series for curve in found):
        mine = [curve for curve in found if curve.series == name]
        heads = [f"{job.job} {what}" for job in mine for what in ("CPU s", "peak MiB")]
        lines += ["", f"| {name}, {mine[0].unit} | " + " | ".join(heads) + " |"]
        lines.append("| ---: |" + " ---: |" * len(heads))
        for at, size in enumerate(mine[0].sizes):
            cells = [f"{c.cpu_seconds[at]:.2f} | {c.peaks_mib[at]:.1f}" for c in mine]
            lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
    verdicts = [verdict for curve in found for verdict in curve.verdicts()]
    return "\n".join([*lines, "", *targets.HEAD, *(item.row() for item in verdicts)]) + "\n"


def sizes_of(text: str) -> list[int]:
    """The numbers of a comma separated list; an empty one leaves the series out."""
    return sorted({int(word) for word in text.split(",") if word.strip()})


def main() -> None:
    """Measures, prints the tables, and saves them if asked."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=sizes_of, default=[250, 500, 1000, 2000], help="MB")
    parser.add_argument("--files", type=sizes_of, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one-folder", type=sizes_of, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=PROJECT / "build" / "bench")
    parser.add_argument("--program", help="a kluis; default: the one of `make setup`")
    parser.add_argument(
        "--key-mib",
        type=int,
        default=KDF_MEMORY_BYTES // MIB,
        help="of the passphrase's derivation; the default is what init takes, less shows peaks "
        "that lie below it",
    )
    parser.add_argument("--save", help="name of the files in benchmarks/results")
    options = parser.parse_args()
    program = options.program or Kluis.executable()
    if program is None:
        raise SystemExit("kluis is not installed here; `make setup` does that")
    work, program = options.work.resolve(), os.path.abspath(program)
    setting = Setting(work, program, options.rounds, options.key_mib * MIB)
    points: list[Point] = []
    wanted = (options.data, options.files, options.one_folder)
    for growing, sizes in zip(SERIES.values(), wanted, strict=True):
        for point in setting.measured(growing, sizes) if sizes else ():
            points.append(point)
            print(
                f"{point.series} {point.size:9,} {growing.unit:<5} {point.job:<9} "
                f"{point.cpu_seconds:7.2f} s CPU {point.wall_seconds:7.2f} s wall "
                f"{point.peak_bytes / MIB:6.1f} MiB",
                flush=True,
            )
    data: dict[str, object] = {
        "kind": "scaling",
        "commit": commit(),
        "machine": machine(),
        "command": "python -m benchmarks.scaling " + " ".join(sys.argv[1:]),
        "key_mib": options.key_mib,
        "units": {growing.name: growing.unit for growing in SERIES.values()},
        "points": [asdict(point) for point in points],
        "verdicts": [item.plain() for curve in curves(points) for item in curve.verdicts()],
    }
    text = markdown(data, points)
    print(f"\n{text}")
    if options.save:
        (RESULTS / f"{options.save}.json").write_text(json.dumps(data, indent=1) + "\n")
        (RESULTS / f"{options.save}.md").write_text(text)


if __name__ == "__main__":
    main()
