"""What kluis owes on each job, and whether the figures keep it.

The numbers are the issue's, with its goals beside them; nothing here may be widened because a
measurement missed it. Against peers, the best of them in each round counts, whichever it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.figures import MIB, Spread, spread

if TYPE_CHECKING:
    from benchmarks.report import Report

OURS = "kluis"
BEST = "best peer"
FRESH = "a fresh backup"
_TREES = ("system", "docs", "tiny")
_REAL = ("system", "docs")
_DAY_2 = ("sqldump", "sqlite", "mailbox", "image", "sourcetar")
_TIMES = ("cpu_seconds", "wall_seconds")
_MEDIA_JOBS = ("first", "unchanged", "restore", "verify")


@dataclass(frozen=True)
class Owed:
    """At most `most` times what `against` needs, and `plus` seconds."""

    job: str
    measure: str
    most: float
    goal: float | None = None
    against: str = BEST
    datasets: tuple[str, ...] = ()
    """Empty: whatever the data set."""
    plus: float = 0.0
    goal_plus: float = 0.0


def _both(job: str, most: float, goal: float | None, sets: tuple[str, ...] = ()) -> Iterator[Owed]:
    """In CPU and in wall seconds, against the best peer."""
    for name in _TIMES:
        yield Owed(job, name, most, goal, datasets=sets)


TARGETS: tuple[Owed, ...] = (
    *_both("first", 0.5, 0.4, _REAL),
    Owed("first", "cpu_seconds", 1.0, 0.8, "tar", _REAL),
    *_both("first", 0.4, 0.3, ("tiny",)),
    *_both("first", 0.5, 0.4, ("incompressible",)),
    *(Owed("first", name, 1.5, None, "seal", ("incompressible",)) for name in _TIMES),
    Owed("first", "repo_bytes", 0.7, 0.65, datasets=("docs",)),
    Owed("first", "repo_bytes", 0.93, 0.9, datasets=("system",)),
    *_both("unchanged", 0.25, 0.1, _TREES),
    *(
        Owed("unchanged", name, 1.3, 1.0, "find", _TREES, plus=0.4, goal_plus=0.25)
        for name in _TIMES
    ),
    *_both("changed", 0.5, 0.33, _TREES),
    Owed("changed", "added_bytes", 0.35, 0.25, datasets=_DAY_2),
    *_both("restore", 0.6, 0.5, _TREES),
    *(Owed("restore", name, 1.5, 1.3, "cp", _TREES) for name in _TIMES),
    *_both("restore-one", 0.5, None),
    *_both("ls", 0.5, None),
    *_both("find", 0.5, None),
    *_both("verify", 0.6, 0.5),
    *(Owed("verify-1", name, 1.2, None, "blake3") for name in _TIMES),
    *_both("churn", 0.6, None),
    Owed("churn", "repo_bytes", 1.3, None, FRESH),
)
# On a modelled medium only its own time says something: the rest is as on any disk.
ON_MEDIA: tuple[Owed, ...] = (
    *(Owed(job, "busy_seconds", 0.7, 0.5) for job in _MEDIA_JOBS),
    *(Owed(job, "busy_seconds", 1.15, None, "copy") for job in _MEDIA_JOBS),
)

_PEAK_MIB = 128
_PEAK_JOBS = frozenset({"first", "unchanged", "changed", "restore", "verify", "verify-1"})
START_SECONDS = 0.120
WRITTEN_PER_STORED = 1.1
_UNCHANGED_FILES = 4  # promised since the first release
_UNCHANGED_BYTES = 100_000


@dataclass(frozen=True)
class Verdict:
    """A figure that may be at most `limit`, with the least and the largest of the rounds."""

    what: str
    measured: float
    limit: float
    low: float
    high: float
    goal: float | None = None
    reached: bool = False
    """Whether the goal beyond what is owed is reached too."""
    best: str = ""
    """The peer that was the best one most often."""
    unit: str = ""

    @property
    def kept(self) -> bool:
        """True if the figure is within what is owed."""
        return self.measured <= self.limit

    def plain(self) -> dict[str, object]:
        """As JSON holds it."""
        return {
            "what": self.what,
            "measured": self.measured,
            "limit": self.limit,
            "unit": self.unit,
            "kept": self.kept,
            "low": self.low,
            "high": self.high,
            "goal": self.goal,
            "reached": self.reached,
            "best": self.best,
        }

    def row(self) -> str:
        """As a line of a Markdown table."""
        kept = "kept" if self.kept else "NOT KEPT"
        goal = "" if self.goal is None else f"{self.goal:.3g}{', reached' * self.reached}"
        return (
            f"| {self.what}{f' ({self.best})' if self.best else ''} | {self.measured:.4g} "
            f"| {self.limit:.4g} | {kept} | {self.low:.3g}-{self.high:.3g} | {goal} |"
        )


HEAD = (
    "| owed | measured | at most | | spread | goal |",
    "| --- | ---: | ---: | --- | --- | --- |",
)


def verdicts(report: Report) -> list[Verdict]:
    """All that can be said about this report: one for each figure owed that was measured."""
    targets = ON_MEDIA if report.on_medium else TARGETS
    found = [
        verdict
        for owed in targets
        if not owed.datasets or report.dataset in owed.datasets
        if (verdict := _judged(report, owed)) is not None
    ]
    return found + _absolute(report)


def _judged(report: Report, owed: Owed) -> Verdict | None:
    ours = report.by_round(owed.job, OURS, owed.measure)
    theirs, best = _theirs(report, owed)
    pairs = [(value, theirs[number]) for number, value in ours.items() if theirs.get(number)]
    if not pairs:
        return None
    over = [_over(pair, owed.most, owed.plus) for pair in pairs]
    taken = spread(over)
    assert taken is not None
    reached = False
    if owed.goal is not None:
        beyond = median(_over(pair, owed.goal, owed.goal_plus) for pair in pairs)
        reached = beyond <= (1.0 if owed.plus else owed.goal)
    allowed = f" x {owed.most} + {owed.plus} s" if owed.plus else ""
    return Verdict(
        what=f"{owed.job}, {owed.measure}: kluis / {owed.against}{allowed}",
        measured=taken.middle,
        limit=1.0 if owed.plus else owed.most,
        low=taken.low,
        high=taken.high,
        goal=None if owed.plus else owed.goal,
        reached=reached,
        best=best,
    )


def _over(pair: tuple[float, float], factor: float, plus: float) -> float:
    """Ours over theirs, or, where seconds may be added, ours over all that is allowed."""
    ours, theirs = pair
    return ours / (factor * theirs + plus) if plus else ours / theirs


def _theirs(report: Report, owed: Owed) -> tuple[dict[int, float], str]:
    """What to hold ours against in each round, and the peer that it mostly is."""
    if owed.against == FRESH:
        return report.by_round("fresh", OURS, owed.measure), ""
    if owed.against != BEST:
        return report.by_round(owed.job, owed.against, owed.measure), ""
    least: dict[int, tuple[float, str]] = {}
    for tool in report.peers(owed.job):
        for number, value in report.by_round(owed.job, tool, owed.measure).items():
            least[number] = min(least.get(number, (value, tool)), (value, tool))
    names = Counter(tool for _, tool in least.values()).most_common(1)
    return {number: value for number, (value, _) in least.items()}, names[0][0] if names else ""


def _absolute(report: Report) -> list[Verdict]:
    """What is owed whatever the others need: the worst of all rounds counts for a peak."""
    peaks = [
        m.peak_bytes / MIB for m in report.measurements if m.tool == OURS and m.job in _PEAK_JOBS
    ]
    written = "device_written_per_stored" if report.on_medium else "written_per_stored"
    found: list[tuple[str, Spread | None, float]] = [
        ("peak MiB of backup, restore, verify", spread([max(peaks)] if peaks else []), _PEAK_MIB),
        ("start, wall seconds", report.figure("start", OURS, "wall_seconds"), START_SECONDS),
        ("unchanged, files", report.figure("unchanged", OURS, "added_files"), _UNCHANGED_FILES),
        ("unchanged, bytes", report.figure("unchanged", OURS, "added_bytes"), _UNCHANGED_BYTES),
        (f"first, {written}", report.figure("first", OURS, written), WRITTEN_PER_STORED),
    ]
    return [
        Verdict(what, figure.middle, limit, figure.low, figure.high)
        for what, figure, limit in found
        if figure is not None
    ]


_IN_SUM_MOST, _IN_SUM_GOAL = 0.35, 0.25


def day_2_in_sum(reports: list[Report]) -> Verdict | None:
    """Bytes added on day 2 by ours and by the best peer of each data set, both in sum."""
    ours, theirs = 0.0, 0.0
    for report in reports:
        mine = report.figure("changed", OURS, "added_bytes")
        best = [
            found.middle
            for tool in report.peers("changed")
            if (found := report.figure("changed", tool, "added_bytes"))
        ]
        if report.dataset in _DAY_2 and mine and best:
            ours, theirs = ours + mine.middle, theirs + min(best)
    if not theirs:
        return None
    ratio = ours / theirs
    reached = ratio <= _IN_SUM_GOAL
    what = "changed, added_bytes in sum: kluis / best peers"
    return Verdict(what, ratio, _IN_SUM_MOST, ratio, ratio, _IN_SUM_GOAL, reached)
