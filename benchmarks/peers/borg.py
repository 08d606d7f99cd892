"""borg, with encryption and zstd at the level that the others use."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import ClassVar

from benchmarks.measure import Command
from benchmarks.peers.base import PASSWORD, Peer


class Borg(Peer):
    """One repository on disk, repokey-blake2, zstd 3."""

    name = "borg"
    program = "borg"
    _names: ClassVar[itertools.count[int]] = itertools.count(1)

    def environment(self) -> dict[str, str]:
        return {
            "BORG_REPO": str(self.repo),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": str(self.cache),
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        }

    def init(self) -> Command | None:
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.command("init", "--encryption", "repokey-blake2")

    def backup(self, source: Path) -> Command | None:
        self.archive = f"run-{next(self._names):04}"
        return self.command("create", "--compression", "zstd,3", f"::{self.archive}", str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("extract", f"::{self.archive}", cwd=target)

    def check(self) -> Command | None:
        return self.command("check", "--verify-data")

    def prune(self) -> Command | None:
        script = '"$0" prune --keep-last 1 && "$0" compact'
        program = self.executable() or self.program
        return Command(("sh", "-c", script, program), self.environment())
