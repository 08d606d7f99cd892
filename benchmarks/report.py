"""Measurements as data, as a table, and held against what kluis owes."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.peers.base import PROJECT

RESULTS = PROJECT / "benchmarks" / "results"
MIB = 1 << 20

# (job, measure, at most this much of the better peer); from the project's first release on.
TARGETS = (
    ("first", "cpu_seconds", 0.70),
    ("first", "repo_bytes", 0.95),
    ("unchanged", "cpu_seconds", 0.50),
    ("restore", "cpu_seconds", 0.90),
)
RIVALS = ("restic", "borg")
_COLUMNS: tuple[str, ...] = (
    "job",
    "tool",
    "CPU s",
    "wall s",
    "peak MiB",
    "files added",
    "MB added",
)
_COLUMNS += ("repository MB", "device busy s", "CPU, kluis / tool")
PEAK_LIMIT_BYTES = 160 * MIB
START_SECONDS = 0.150


@dataclass(frozen=True)
class Measurement:
    """One tool doing one job in one round."""

    round: int
    job: str
    tool: str
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    written_bytes: int
    added_files: int
    added_bytes: int
    repo_bytes: int
    busy_seconds: float = 0.0
    """Of a modelled medium."""


@dataclass
class Report:
    """All measurements of one call, with what is needed to repeat it."""

    dataset: str
    files: int
    size_bytes: int
    digest: str
    command: str
    versions: dict[str, str]
    jobs: list[str]
    medium: str = "the machine's own disk"
    measurements: list[Measurement] = field(default_factory=list)

    def medians(self, job: str, tool: str, measure: str) -> float | None:
        """Over the rounds."""
        found = [getattr(m, measure) for m in self._of(job, tool)]
        return median(found) if found else None

    def ratio(self, job: str, tool: str, other: str, measure: str) -> float | None:
        """Median of tool / other, each taken within one round: load hits both alike."""
        theirs = {m.round: getattr(m, measure) for m in self._of(job, other)}
        pairs = [
            getattr(m, measure) / theirs[m.round]
            for m in self._of(job, tool)
            if theirs.get(m.round)
        ]
        return median(pairs) if pairs else None

    def _of(self, job: str, tool: str) -> list[Measurement]:
        return [m for m in self.measurements if m.job == job and m.tool == tool]

    def markdown(self) -> str:
        """The table that a person reads."""
        rounds = 1 + max((m.round for m in self.measurements), default=-1)
        lines = [
            f"# {self.dataset}: {self.size_bytes / 1e6:.0f} MB, {self.files} files",
            "",
            f"Commit {commit()}, {machine()}.",
            f"Medians of {rounds} rounds; ratios are kluis / tool, paired within each round.",
            f"Data set {self.digest}, on {self.medium}. Command: `{self.command}`",
            "",
            *(f"* {tool}: {version}" for tool, version in self.versions.items()),
            "",
            "| " + " | ".join(_COLUMNS) + " |",
            "| --- | --- |" + " ---: |" * (len(_COLUMNS) - 2),
        ]
        lines += [row for job in self.jobs for row in self._rows(job)]
        verdicts = self.verdicts()
        if verdicts:
            lines += ["", "| owed | measured | limit | |", "| --- | ---: | ---: | --- |", *verdicts]
        return "\n".join(lines) + "\n"

    def _rows(self, job: str) -> list[str]:
        rows = []
        for tool in self.versions:
            cpu = self.medians(job, tool, "cpu_seconds")
            if cpu is None:
                continue
            values = [
                self.medians(job, tool, name) or 0.0
                for name in ("wall_seconds", "peak_bytes", "added_files", "added_bytes")
            ]
            repo = self.medians(job, tool, "repo_bytes") or 0.0
            busy = self.medians(job, tool, "busy_seconds")
            ratio = self.ratio(job, "kluis", tool, "cpu_seconds")
            rows.append(
                f"| {job} | {tool} | {cpu:.2f} | {values[0]:.2f} | {values[1] / MIB:.0f} "
                f"| {values[2]:.0f} | {values[3] / 1e6:.2f} | {repo / 1e6:.1f} "
                f"| {f'{busy:.2f}' if busy else ''} "
                f"| {'' if ratio is None or tool == 'kluis' else f'{ratio:.2f}'} |"
            )
        return rows

    def verdicts(self) -> list[str]:
        """What is owed against restic and borg, measured: kept or not."""
        rows = []
        for job, measure, limit in TARGETS:
            ratios = [self.ratio(job, "kluis", rival, measure) for rival in RIVALS]
            known = [ratio for ratio in ratios if ratio is not None]
            if known:
                worst = max(known)  # against the better peer
                kept = "kept" if worst <= limit else "NOT KEPT"
                rows.append(f"| {job}, {measure} | {worst:.2f} | {limit:.2f} | {kept} |")
        return rows + self._absolute_verdicts()

    def _absolute_verdicts(self) -> list[str]:
        """What is owed whatever the others need: the worst of all rounds counts for a peak."""
        peaks = [float(m.peak_bytes) for m in self.measurements if m.tool == "kluis"]
        found: list[tuple[str, float | None, float]] = [
            ("peak MiB of any job", max(peaks) / MIB if peaks else None, PEAK_LIMIT_BYTES / MIB),
            ("start, wall seconds", self.medians("start", "kluis", "wall_seconds"), START_SECONDS),
            ("unchanged, files", self.medians("unchanged", "kluis", "added_files"), 4),
            ("unchanged, bytes", self.medians("unchanged", "kluis", "added_bytes"), 100_000),
        ]
        return [
            f"| {what} | {value:.4g} | {limit:.4g} | {'kept' if value <= limit else 'NOT KEPT'} |"
            for what, value, limit in found
            if value is not None
        ]

    def save(self, name: str) -> Path:
        """Writes `<name>.md` and `<name>.json` into the results; returns the former."""
        RESULTS.mkdir(exist_ok=True)
        data = asdict(self) | {"commit": commit(), "machine": machine()}
        (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
        path = RESULTS / f"{name}.md"
        path.write_text(self.markdown())
        return path


def commit() -> str:
    """The commit that was measured, marked where files differ from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    return said.stdout.strip() or "unknown"


def machine() -> str:
    """Processor, cores, system and kernel."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(": ")[2]
            break
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{model}, {cores} cores, {system}, Linux {platform.release()}"
