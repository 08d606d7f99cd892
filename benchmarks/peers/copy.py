"""cp -r of as many bytes as kluis stores: the limit of a medium, in its busy seconds."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Copy(Peer):
    """Its source for writing is `stage`: a local copy of the files that kluis has just added."""

    name = "copy"
    program = "cp"
    limit = True
    jobs = frozenset({"first", "unchanged", "restore", "verify"})
    only_on_media = True

    @property
    def stage(self) -> Path:
        """Where the harness puts what kluis added in the run before."""
        return self.work / "stage"

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        target = self.repo / f"copy {len(list(self.repo.iterdir()))}"
        return self.command("-r", str(self.stage), str(target))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("-r", str(self.repo), str(target))

    def check(self) -> Command | None:
        place = self.work / "read"
        shutil.rmtree(place, ignore_errors=True)
        return self.command("-r", str(self.repo), str(place))
