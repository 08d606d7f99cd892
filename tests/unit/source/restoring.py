"""A restore by hand: a target, and what it reported."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kluis._native import scatter
from kluis.source.problem import Problem
from kluis.source.setting import Metadata
from kluis.source.target import Target, TargetOptions

MOMENT = (1_600_000_000, 123_456_789)


class Restoring:
    """A target and what it reported, by path below it."""

    def __init__(self, folder: Path, **options: bool) -> None:
        self.folder = folder
        self.problems: list[tuple[str, str, int]] = []
        self.target = Target(bytes(folder), TargetOptions(**options), self.note)

    def note(self, problem: Problem) -> None:
        path = os.fsdecode(problem.path.removeprefix(bytes(self.folder))).removeprefix("/")
        self.problems.append((path, problem.operation, problem.errno))

    def file(self, folder: bytes, name: bytes, content: bytes, wanted: Metadata) -> None:
        placed = self.target.create_file(folder, name, replace=True)
        scatter.write_at(self.target.descriptor(placed), content, 0)
        self.target.finish(placed, wanted)


def ours(mode: int = 0o640, **more: object) -> Metadata:
    made = Metadata(mode, os.geteuid(), os.getegid(), *MOMENT)
    return replace(made, **more)  # type: ignore[arg-type]
