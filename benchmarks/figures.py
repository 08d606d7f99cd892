"""One measured run, and what several of them come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

MIB = 1 << 20


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
    """Passed to write calls, wherever to."""
    added_files: int
    added_bytes: int
    repo_bytes: int
    busy_seconds: float = 0.0
    """Of a modelled medium, as are the next two."""
    device_read_bytes: int = 0
    device_written_bytes: int = 0

    def value(self, measure: str) -> float | None:
        """One of the fields, or one over another; None where that says nothing."""
        if measure == "written_per_stored":
            return self.written_bytes / self.added_bytes if self.added_bytes else None
        if measure == "device_written_per_stored":
            return self.device_written_bytes / self.added_bytes if self.added_bytes else None
        return float(getattr(self, measure))


@dataclass(frozen=True)
class Failure:
    """A tool that did not do a job, or did it wrongly."""

    round: int
    job: str
    tool: str
    reason: str


@dataclass(frozen=True)
class Spread:
    """A median with the least and the largest of the rounds."""

    middle: float
    low: float
    high: float

    def text(self, unit: float = 1.0, digits: int = 2) -> str:
        """`1.25 (1.20-1.31)`, without the brackets where nothing differs."""
        low, middle, high = (
            f"{value / unit:.{digits}f}" for value in (self.low, self.middle, self.high)
        )
        return middle if low == high else f"{middle} ({low}-{high})"


def spread(values: Iterable[float]) -> Spread | None:
    """Of all values; None if there are none."""
    found = list(values)
    return Spread(median(found), min(found), max(found)) if found else None
