"""Taking times: the same work some times over, and single calls one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Self

from kluis.events import Context
from kluis.results import Measurement, Span

FRAME_BYTES = 1 << 20
ROUNDS = 3


# Of a process that has done other things before, loading is a guess: what a laptop takes.
LOADING_LIMIT_SECONDS = 3.0
LOADING_GUESS_SECONDS = 0.3


def loaded_seconds() -> float:
    """CPU seconds that this process took to load itself, if it has done nothing else yet."""
    spent = time.process_time()
    return spent if spent < LOADING_LIMIT_SECONDS else LOADING_GUESS_SECONDS


class Measuring:
    """Runs something over `size` bytes, in some rounds, and takes the time."""

    def __init__(self, size: int, context: Context) -> None:
        self._frames = max(1, size // FRAME_BYTES // ROUNDS)
        self._context = context
        self.random = context.surroundings.random

    def frames(
        self, name: str, work: Callable[[bytes], object], frame: bytes, remark: str = ""
    ) -> Measurement:
        """`work` once for each frame of data."""
        work(frame)  # what is loaded or compiled at first use is not measured
        rounds, spent = [], []
        for _ in range(ROUNDS):
            with Clock(self._context) as clock:
                for _ in range(self._frames):
                    self._context.cancel.check()
                    work(frame)
            rounds.append(clock.seconds)
            spent.append(clock.cpu_seconds)
        size = self._frames * len(frame)
        return Measurement(name, size, median(rounds), median(spent), remark, tuple(rounds))


class Clock:
    """Seconds and CPU seconds of a block, of all threads and of this one."""

    def __init__(self, context: Context) -> None:
        self._now = context.surroundings.monotonic
        self.seconds = self.cpu_seconds = self.own_seconds = 0.0

    def __enter__(self) -> Self:
        self._begun = self._now(), time.process_time(), time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu, own = self._begun
        self.seconds = max(self._now() - wall, 1e-9)
        self.cpu_seconds = time.process_time() - cpu
        self.own_seconds = time.thread_time() - own


class Calls:
    """Seconds of single calls, until there are enough of them or they took long enough."""

    def __init__(self, context: Context, budget_seconds: float) -> None:
        self._context = context
        self._left = budget_seconds
        self.seconds: list[float] = []
        self.cpu_seconds = 0.0

    def each(self, arguments: Iterable[int], work: Callable[[int], object]) -> int:
        """How many of the arguments `work` was called with: at least one."""
        for argument in arguments:
            self._context.cancel.check()
            with Clock(self._context) as clock:
                work(argument)
            self.seconds.append(clock.seconds)
            self.cpu_seconds += clock.cpu_seconds
            self._left -= clock.seconds
            if self._left <= 0:
                break
        return len(self.seconds)

    def measurement(self, name: str, size_each: int, remark: str = "") -> Measurement:
        """What the calls were, each of so many bytes."""
        count = len(self.seconds)
        total = sum(self.seconds)
        latencies = tuple(sorted(self.seconds))
        return Measurement(
            name, size_each * count, total, self.cpu_seconds, remark, latencies=latencies
        )


def span_of(measured: Measurement, per: float) -> Span:
    """Seconds for one of `per` units that a round dealt with: best, median and worst round."""
    rounds = measured.rounds or (measured.seconds,)
    return Span(min(rounds) / per, measured.seconds / per, max(rounds) / per)
