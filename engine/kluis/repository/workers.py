"""Threads beside the one that decides, for work that lets go of the interpreter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Each may hold one pack: more of them would not fit into the bound on memory.
WORKERS = 2


def side_by_side(jobs: Iterator[Callable[[], T]]) -> Iterator[T]:
    """What the jobs return, in their order; of `WORKERS` of them one is made while others run."""
    with ThreadPoolExecutor(WORKERS) as pool:
        running: deque[Future[T]] = deque()
        try:
            while True:
                if len(running) == WORKERS:
                    yield running.popleft().result()
                job = next(jobs, None)
                if job is None:
                    break
                running.append(pool.submit(job))
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
