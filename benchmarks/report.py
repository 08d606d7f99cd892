"""Measurements as data, as a table, and held against what kluis owes."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import targets
from benchmarks.figures import MIB, Failure, Measurement, Spread, spread
from benchmarks.peers.base import PROJECT

__all__ = ["RESULTS", "Failure", "Measurement", "Report", "commit", "machine"]

RESULTS = PROJECT / "benchmarks" / "results"
OWN_DISK = "the machine's own disk"
_COLUMNS: tuple[str, ...] = ("job", "tool", "CPU s", "wall s", "peak MiB", "files added")
_COLUMNS += ("MB added", "repository MB", "written / added", "device busy s")
_COLUMNS += ("CPU, kluis / tool", "wall, kluis / tool", "busy, kluis / tool")
_COMPARED = ("cpu_seconds", "wall_seconds", "busy_seconds")


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
    medium: str = OWN_DISK
    target: str = ""
    """What kind of place was restored to."""
    measurements: list[Measurement] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    """Tools that are no backup but what the machine needs at least."""
    failures: list[Failure] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    """Such as the number of snapshots that a job looked into."""

    @property
    def on_medium(self) -> bool:
        """Whether the repositories lay on a modelled medium."""
        return self.medium != OWN_DISK

    def peers(self, job: str) -> list[str]:
        """Other backups that did this job."""
        did = {m.tool for m in self.measurements if m.job == job}
        backups = [tool for tool in self.versions if tool not in self.limits]
        return [tool for tool in backups if tool in did and tool != targets.OURS]

    def by_round(self, job: str, tool: str, measure: str) -> dict[int, float]:
        """Round to figure."""
        found = {
            m.round: m.value(measure) for m in self.measurements if m.job == job and m.tool == tool
        }
        return {number: value for number, value in found.items() if value is not None}

    def figure(self, job: str, tool: str, measure: str) -> Spread | None:
        """Over the rounds."""
        return spread(self.by_round(job, tool, measure).values())

    def ratio(self, job: str, tool: str, other: str, measure: str) -> Spread | None:
        """tool / other, each taken within one round: load hits both alike."""
        theirs = self.by_round(job, other, measure)
        ours = self.by_round(job, tool, measure)
        return spread(v / theirs[number] for number, v in ours.items() if theirs.get(number))

    def markdown(self) -> str:
        """The table that a person reads."""
        rounds = 1 + max((m.round for m in self.measurements), default=-1)
        settings = "".join(f", {count} {name}" for name, count in self.settings.items())
        lines = [
            f"# {self.dataset}: {self.size_bytes / 1e6:.0f} MB, {self.files} files{settings}",
            "",
            f"Commit {commit()}, {machine()}.",
            f"Medians of {rounds} rounds (least-largest); ratios are kluis / tool, paired within",
            f"each round. Data set {self.digest}, repositories on {self.medium},",
            f"restored to {self.target or 'a folder'}. Command: `{self.command}`",
            "",
            *(f"* {tool}: {version}" for tool, version in self.versions.items()),
            "",
            "| " + " | ".join(_COLUMNS) + " |",
            "| --- | --- |" + " ---: |" * (len(_COLUMNS) - 2),
        ]
        lines += [self._row(job, tool) for job in self._done() for tool in self._tools(job)]
        rows = self.verdicts()
        if rows:
            lines += ["", *targets.HEAD, *rows]
        for failure in self.failures:
            reason = " ".join(failure.reason.split())[:300].replace("`", "'")
            lines += ["", f"FAILED: {failure.tool}, {failure.job}, in round {failure.round + 1}: "]
            lines[-1] += f"`{reason}`"
        return "\n".join(lines) + "\n"

    def _done(self) -> list[str]:
        """All jobs that were measured, those asked for first and in their order."""
        return list(dict.fromkeys([*self.jobs, *(m.job for m in self.measurements)]))

    def _tools(self, job: str) -> list[str]:
        did = {m.tool for m in self.measurements if m.job == job}
        return [tool for tool in self.versions if tool in did]

    def _row(self, job: str, tool: str) -> str:
        def shown(measure: str, unit: float = 1.0, digits: int = 2) -> str:
            found = self.figure(job, tool, measure)
            return found.text(unit, digits) if found and found.high else ""

        def middle(measure: str, unit: float, digits: int) -> str:
            found = self.figure(job, tool, measure)
            return f"{found.middle / unit:.{digits}f}" if found else ""

        ratios = [
            "" if tool == targets.OURS or found is None or not found.high else found.text()
            for measure in _COMPARED
            for found in (self.ratio(job, targets.OURS, tool, measure),)
        ]
        written = "device_written_per_stored" if self.on_medium else "written_per_stored"
        # Where next to nothing is stored, what goes into caches and messages says nothing.
        per_stored = middle(written, 1, 2) if job in ("first", "changed", "fresh") else ""
        cells = [
            *(job, tool, shown("cpu_seconds"), shown("wall_seconds"), middle("peak_bytes", MIB, 0)),
            *(middle("added_files", 1, 0), middle("added_bytes", 1e6, 2)),
            *(middle("repo_bytes", 1e6, 1), per_stored, shown("busy_seconds"), *ratios),
        ]
        return "| " + " | ".join(cells) + " |"

    def verdicts(self) -> list[str]:
        """What is owed on the jobs measured, as lines of a table: kept or not."""
        return [verdict.row() for verdict in targets.verdicts(self)]

    def plain(self) -> dict[str, object]:
        """As JSON holds it: every measurement, and all that the table says."""
        figures = [
            {"job": job, "tool": tool}
            | {name: asdict(found) for name in _FIGURES if (found := self.figure(job, tool, name))}
            | {
                f"kluis_over_tool_{name}": asdict(ratio)
                for name in _FIGURES
                if (ratio := self.ratio(job, targets.OURS, tool, name))
            }
            for job in self._done()
            for tool in self._tools(job)
        ]
        return asdict(self) | {
            "commit": commit(),
            "machine": machine(),
            "figures": figures,
            "verdicts": [verdict.plain() for verdict in targets.verdicts(self)],
        }

    def save(self, name: str, folder: Path = RESULTS) -> Path:
        """Writes `<name>.md` and `<name>.json` into the folder; returns the former."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(self.plain(), indent=1) + "\n")
        path = folder / f"{name}.md"
        path.write_text(self.markdown())
        return path


_FIGURES: tuple[str, ...] = (
    "cpu_seconds",
    "wall_seconds",
    "peak_bytes",
    "written_bytes",
    "added_files",
)
_FIGURES += ("added_bytes", "repo_bytes", "busy_seconds", "written_per_stored")
_FIGURES += ("device_written_bytes", "device_read_bytes")


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
