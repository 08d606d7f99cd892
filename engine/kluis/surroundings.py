"""The clock, the randomness and the sleeping of the machine, behind one interface.

Everything that is not a function of the repository and the source passes through
here, so that a test can seed it and replay a failure from one number.
"""

from __future__ import annotations

import os
import time
from typing import Protocol


class Surroundings(Protocol):
    """What the engine takes from the machine besides storage and source."""

    def now(self) -> int:
        """Wall clock, nanoseconds since 1970 UTC; a claim, never evidence."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, for progress and time budgets only."""

    def random(self, size: int) -> bytes:
        """`size` unpredictable bytes."""

    def sleep(self, seconds: float) -> None:
        """Waits; a test may return at once."""


class Machine:
    """The real machine."""

    def now(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
