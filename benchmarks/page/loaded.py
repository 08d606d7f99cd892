"""The results as the page needs them: read from JSON, with medians, spreads and paired ratios.

Fields that are not known are passed over, so that results of other versions can be shown.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.figures import Failure, Measurement, Spread, spread
from benchmarks.peers import registry
from benchmarks.report import OWN_DISK, Report
from benchmarks.scaling import Point
from benchmarks.targets import OURS, Verdict


def over(figure: Spread, unit: float) -> Spread:
    """The same in another unit."""
    return Spread(figure.middle / unit, figure.low / unit, figure.high / unit)


@dataclass(frozen=True)
class Sample:
    """One tool doing one job in one round."""

    round: int
    job: str
    tool: str
    values: dict[str, float]


@dataclass(frozen=True)
class Origin:
    """Where figures come from, and how to have them again."""

    name: str
    commit: str
    machine: str
    command: str


@dataclass(frozen=True)
class Compared:
    """One call of the harness: some tools, the same jobs, the same data."""

    origin: Origin
    dataset: str
    files: int
    size_bytes: int
    digest: str
    medium: str
    versions: dict[str, str]
    jobs: list[str]
    limits: frozenset[str]
    samples: list[Sample]
    failures: list[Failure]
    settings: dict[str, int]
    verdicts: list[Verdict]

    def tools(self, job: str) -> list[str]:
        """Who did this job: ours, then its peers, then the machine's limits."""
        found = dict.fromkeys(sample.tool for sample in self.samples if sample.job == job)
        return sorted(found, key=lambda tool: (tool != OURS, tool in self.limits))

    def peers(self, job: str) -> list[str]:
        """Other backups that did this job."""
        return [tool for tool in self.tools(job) if tool != OURS and tool not in self.limits]

    def figure(self, job: str, tool: str, measure: str) -> Spread | None:
        """Over the rounds."""
        return spread(self._by_round(job, tool, measure).values())

    def ratio(self, job: str, other: str, measure: str) -> Spread | None:
        """Ours / other, each taken within one round."""
        theirs = self._by_round(job, other, measure)
        return spread(
            value / theirs[number]
            for number, value in self._by_round(job, OURS, measure).items()
            if theirs.get(number)
        )

    def best(self, job: str, measure: str) -> tuple[str, Spread] | None:
        """Ours by the best peer of each round, and the peer that it mostly is."""
        least: dict[int, tuple[float, str]] = {}
        for peer in self.peers(job):
            for number, value in self._by_round(job, peer, measure).items():
                least[number] = min(least.get(number, (value, peer)), (value, peer))
        ratio = spread(
            value / least[number][0]
            for number, value in self._by_round(job, OURS, measure).items()
            if number in least and least[number][0]
        )
        if ratio is None:
            return None
        return Counter(peer for _, peer in least.values()).most_common(1)[0][0], ratio

    def limit(self, job: str, measure: str) -> float | None:
        """What is owed of ours by the best peer, if anything is."""
        what = f"{job}, {measure}: {OURS} / {targets.BEST}"
        return next((item.limit for item in self.verdicts if item.what == what), None)

    def _by_round(self, job: str, tool: str, measure: str) -> dict[int, float]:
        return {
            sample.round: sample.values[measure]
            for sample in self.samples
            if (sample.job, sample.tool) == (job, tool) and measure in sample.values
        }


@dataclass(frozen=True)
class Scaled:
    """One call of `benchmarks.scaling`."""

    origin: Origin
    points: list[Point]
    key_mib: int
    """What opening a repository takes by itself; 0 where that is not known."""
    verdicts: list[Verdict]


@dataclass(frozen=True)
class StartedRow:
    """One way to start."""

    what: str
    limit_seconds: float | None
    wall: Spread
    cpu: Spread
    peak: Spread


@dataclass(frozen=True)
class Starts:
    """One call of `benchmarks.starting`."""

    origin: Origin
    rows: list[StartedRow]
    derivation: str
    derivation_cpu: Spread
    derivation_share: float
    verdicts: list[Verdict]


@dataclass
class Results:
    """All that lies in the folder."""

    compared: list[Compared] = field(default_factory=list)
    scaled: list[Scaled] = field(default_factory=list)
    starts: list[Starts] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Files of a kind that this page does not show."""


def load(folder: Path) -> Results:
    """Every JSON file of the folder; one that is no result is named, one that is broken raises."""
    results = Results()
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            _add(results, path.stem, data)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a whole result: {error!r}") from error
    return results


def _add(results: Results, name: str, data: Any) -> None:
    kind = data.get("kind") if isinstance(data, dict) else ""
    if kind == "scaling":
        points = [Point(**_known(point, Point)) for point in data["points"]]
        key_mib = int(data.get("key_mib", 0))
        results.scaled.append(Scaled(_origin(name, data), points, key_mib, _verdicts(data)))
    elif kind == "starting":
        results.starts.append(_starts(name, data))
    elif isinstance(data, dict) and "measurements" in data:
        results.compared.append(_compared(name, data))
    else:
        results.unknown.append(name)


def _origin(name: str, data: dict[str, Any]) -> Origin:
    machine = str(data.get("machine", "unknown machine"))
    return Origin(name, str(data.get("commit", "unknown")), machine, str(data.get("command", "")))


def _compared(name: str, data: dict[str, Any]) -> Compared:
    samples = [
        Sample(int(item["round"]), str(item["job"]), str(item["tool"]), _numbers(item))
        for item in data["measurements"]
    ]
    jobs = dict.fromkeys([*map(str, data.get("jobs", ())), *(sample.job for sample in samples)])
    done = {sample.job for sample in samples}
    return Compared(
        origin=_origin(name, data),
        dataset=str(data["dataset"]),
        files=int(data["files"]),
        size_bytes=int(data["size_bytes"]),
        digest=str(data["digest"]),
        medium=str(data.get("medium", OWN_DISK)),
        versions={str(tool): str(text) for tool, text in data.get("versions", {}).items()},
        jobs=[job for job in jobs if job in done],
        limits=_LIMITS | frozenset(map(str, data.get("limits", ()))),
        samples=samples,
        failures=[_failure(item) for item in data.get("failures", ())],
        settings={str(name): int(value) for name, value in data.get("settings", {}).items()},
        verdicts=_verdicts(data) if "verdicts" in data else _judged(data),
    )


# Of results that do not say which of their tools are no backup.
_LIMITS = frozenset(tool.name for tool in registry.LIMITS)


def _failure(item: dict[str, Any]) -> Failure:
    return Failure(int(item["round"]), str(item["job"]), str(item["tool"]), str(item["reason"]))


def _starts(name: str, data: dict[str, Any]) -> Starts:
    rows = []
    for item in data["started"]:
        found = [spread(map(float, item[key])) for key in _STARTED]
        wall, cpu, peak = (figure for figure in found if figure is not None)
        limit = item.get("limit_seconds")
        rows.append(StartedRow(str(item["what"]), limit and float(limit), wall, cpu, peak))
    key = data["derivation"]
    taken = spread(map(float, key["cpu_seconds"]))
    if taken is None:
        raise ValueError("the derivation has no rounds")
    share = float(key["share_of_cpu"])
    return Starts(_origin(name, data), rows, str(key["what"]), taken, share, _verdicts(data))


_STARTED = ("wall_seconds", "cpu_seconds", "peak_bytes")


def _numbers(item: dict[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in item.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key != "round"
    }


def _known(item: dict[str, Any], kind: type) -> dict[str, Any]:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {key: value for key, value in item.items() if key in names}


def _verdicts(data: dict[str, Any]) -> list[Verdict]:
    found = []
    for item in data.get("verdicts", ()):
        measured, goal = float(item["measured"]), item.get("goal")
        found.append(
            Verdict(
                what=str(item["what"]),
                measured=measured,
                limit=float(item["limit"]),
                low=float(item.get("low", measured)),
                high=float(item.get("high", measured)),
                goal=None if goal is None else float(goal),
                reached=bool(item.get("reached", False)),
                best=str(item.get("best", "")),
                unit=str(item.get("unit", "")),
            )
        )
    return found


def _judged(data: dict[str, Any]) -> list[Verdict]:
    """What is owed of results that do not hold it themselves, by the limits of today."""
    known = _known(data, Report) | {
        "measurements": [Measurement(**_known(item, Measurement)) for item in data["measurements"]]
    }
    limits = {"limits": list(data.get("limits", _LIMITS)), "failures": []}
    return targets.verdicts(Report(**(known | limits)))
