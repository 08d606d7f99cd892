"""borg, with encryption and zstd at the level that the others use."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from benchmarks.measure import Command
from benchmarks.peers.base import MAX_UNUSED, PASSWORD, Peer

_UNUSED_PERCENT = MAX_UNUSED.rstrip("%")


class Borg(Peer):
    """One repository on disk, repokey-blake2, zstd 3. It cannot look for a name in all archives."""

    name = "borg"
    program = "borg"
    keep_one: ClassVar[tuple[str, ...]] = ("--keep-last", "1")
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

    def archive(self, run: str) -> tuple[str, tuple[str, ...]]:
        """How a later command names the archive of this run, and the words that create it."""
        return f"::{run}", (f"::{run}",)

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        self.last, words = self.archive(f"run-{next(self._names):04}")
        at = ("--timestamp", f"{when:%Y-%m-%dT%H:%M:%S}") if when else ()
        return self.command("create", "--compression", "zstd,3", *at, *words, str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("extract", self.last, cwd=target)

    def restore_one(self, file: Path, target: Path) -> Command | None:
        return self.command("extract", self.last, str(file).lstrip("/"), cwd=target)

    def check(self) -> Command | None:
        return self.command("check", "--verify-data")

    def ls(self) -> Command | None:
        return self.command("list", "--short", self.last)

    def forget(self, days: int) -> Command | None:
        return self._forget("--keep-daily", str(days))

    def prune(self) -> Command | None:
        return self._forget(*self.keep_one)

    def _forget(self, *keep: str) -> Command:
        script = f'"$0" prune "$@" && "$0" compact --threshold {_UNUSED_PERCENT}'
        return self.script(script, *keep)
