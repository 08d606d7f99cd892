"""cp -a: what merely moving the bytes costs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Cp(Peer):
    """Each backup is a whole copy beside the one before."""

    name = "cp"
    program = "cp"
    limit = True
    jobs = frozenset({"first", "changed", "restore"})

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        self.last = self.repo / str(len(list(self.repo.iterdir())))
        return self.command("-a", str(source), str(self.last))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("-a", f"{self.last}/.", str(target))

    def restored(self, source: Path, target: Path) -> Path:
        return target
