"""What the harness asks of every tool that it measures."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from benchmarks.measure import Command

PROJECT = Path(__file__).resolve().parents[2]
PASSWORD = "benchmark"
MAX_UNUSED = "10%"  # what a prune may leave lying, the same for every tool that can be told
ALL_JOBS = frozenset(
    {"start", "first", "unchanged", "changed", "restore", "restore-one", "verify", "prune"}
    | {"ls", "find", "churn", "fresh"}
)


class Peer(ABC):
    """One tool with a repository and a cache of its own, below `work` unless `repo` is given.

    A method returns the command for a job, or None where the tool has no such thing.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    limit: ClassVar[bool] = False
    """No backup, but what the machine needs at least: measured after the others."""
    only_on_media: ClassVar[bool] = False
    jobs: ClassVar[frozenset[str]] = ALL_JOBS
    """Those for which its figures say something."""
    ask_version: ClassVar[tuple[str, ...]] = ("--version",)

    def __init__(self, work: Path, repo: Path | None = None) -> None:
        self.work = work
        self.repo = repo or work / "repo"
        self.cache = work / "cache"

    @classmethod
    def executable(cls) -> str | None:
        """The newest one installed by `make bench-peers`, else the machine's, else None."""
        own = PROJECT / ".peers" / "bin" / cls.program
        return str(own) if own.exists() else shutil.which(cls.program)

    @classmethod
    def version(cls) -> str:
        """Its first line about itself."""
        program = cls.executable()
        if program is None:
            return "not installed"
        said = subprocess.run([program, *cls.ask_version], capture_output=True, text=True)
        return (said.stdout or said.stderr).strip().splitlines()[0]

    def command(self, *words: str, cwd: Path | None = None) -> Command:
        """This tool with these words and its environment."""
        program = self.executable()
        assert program is not None
        return Command((program, *words), self.environment(), cwd)

    def script(self, text: str, *words: str) -> Command:
        """A shell's script in which $0 is this tool and $1 the first word."""
        program = self.executable()
        assert program is not None
        return Command(("sh", "-c", text, program, *words), self.environment())

    def environment(self) -> dict[str, str]:
        """Variables that keep it away from the caller's own files."""
        return {}

    def init(self) -> Command | None:
        """Makes the repository; not measured."""
        self.repo.mkdir(parents=True, exist_ok=True)
        return None

    @abstractmethod
    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        """Stores the folder, as a first or as a later run, under the time given."""

    def restore(self, source: Path, target: Path) -> Command | None:
        """Brings the last state of the folder back into `target`, which is empty."""
        return None

    def restored(self, source: Path, target: Path) -> Path:
        """Where below `target` the folder's content then lies."""
        return target / source.relative_to("/")

    def restore_one(self, file: Path, target: Path) -> Command | None:
        """Brings one file of the last snapshot back, anywhere into `target`."""
        return None

    def check(self) -> Command | None:
        """Reads and checks every stored byte, down to what it stands for."""
        return None

    def check_stored(self, stored: Path) -> Command | None:
        """Checks that every stored byte of `stored`, kluis's repository, is as it was written."""
        return None

    def ls(self) -> Command | None:
        """Lists the last snapshot."""
        return None

    def find(self, name: str) -> Command | None:
        """Looks for a file name in every snapshot."""
        return None

    def forget(self, days: int) -> Command | None:
        """Keeps so many daily snapshots, and gives back the room of what only others needed."""
        return None

    def prune(self) -> Command | None:
        """Removes all snapshots but the last, and what only they needed."""
        return None
