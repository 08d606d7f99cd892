"""How far a backup is, told some times a second; and each file, where somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from kluis.events import Context, FileDone, FileProblem, Problem, Progress
from kluis.source import problem as source

PROGRESS_SECONDS = 0.2

Action = Literal["new", "changed", "unmodified"]


@dataclass
class Teller:
    """Sends the events of one backup and gathers its problems, one for each path."""

    context: Context
    monotonic: Callable[[], float]
    files_total: int | None = None
    bytes_total: int | None = None
    problems: list[Problem] = field(default_factory=list)
    _named: set[bytes] = field(default_factory=set)
    _done: tuple[int, int] = (0, 0)
    _ahead: tuple[int, int] = (0, 0)
    _last: float = 0.0

    def report(self, found: source.Problem) -> None:
        """Notes what could not be read; the backup goes on."""
        if found.path in self._named:
            return
        self._named.add(found.path)
        self.problems.append(found.event())
        self.context.events(FileProblem(self.problems[-1]))

    def done(self, path: bytes, files: int, size: int) -> None:
        """A directory is stored; so many files and bytes were dealt with by now."""
        self._done, self._ahead = (files, size), (0, 0)
        self._tell(path)

    def ahead(self, path: bytes, files: int, size: int) -> None:
        """So many more files and bytes of the directory that is being stored."""
        self._ahead = self._ahead[0] + files, self._ahead[1] + size
        self._tell(path)

    def end(self, files: int, size: int) -> None:
        """The totals, however short the run was."""
        self._last = -PROGRESS_SECONDS
        self.done(b"", files, size)

    def _tell(self, path: bytes) -> None:
        now = self.monotonic()
        if now - self._last < PROGRESS_SECONDS:
            return
        self._last = now
        progress = Progress(
            self._done[0] + self._ahead[0],
            self._done[1] + self._ahead[1],
            self.files_total,
            self.bytes_total,
            len(self.problems),
            path,
        )
        self.context.events(progress)

    def file(self, path: bytes, action: Action, size: int, added: int = 0) -> None:
        """One file is dealt with; only to be called where `context.each_file` asks for it."""
        self.context.events(FileDone(path, action, size, added))
