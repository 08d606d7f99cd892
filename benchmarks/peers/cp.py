"""cp -a: what merely moving the bytes costs."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Cp(Peer):
    """Each backup is a whole copy in place of the one before."""

    name = "cp"
    program = "cp"
    jobs = frozenset({"first", "changed", "restore"})

    def backup(self, source: Path) -> Command | None:
        shutil.rmtree(self.repo)
        return self.command("-a", str(source), str(self.repo))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("-a", f"{self.repo}/.", str(target))

    def restored(self, source: Path, target: Path) -> Path:
        return target
