"""rustic, which writes restic's format: zstd at its default level, encryption, no parity."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import MAX_UNUSED, PASSWORD, Peer


class Rustic(Peer):
    """One repository on disk; told not to keep packs for readers that might still want them."""

    name = "rustic"
    program = "rustic"

    def environment(self) -> dict[str, str]:
        return {
            "RUSTIC_REPOSITORY": str(self.repo),
            "RUSTIC_PASSWORD": PASSWORD,
            "RUSTIC_CACHE_DIR": str(self.cache),
            "RUSTIC_NO_PROGRESS": "true",
            "XDG_CONFIG_HOME": str(self.work / "config"),
        }

    def init(self) -> Command | None:
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.command("init")

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        at = ("--time", f"{when:%Y-%m-%d %H:%M:%S}") if when else ()
        return self.command("backup", *at, str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("restore", f"latest:{source}", str(target))

    def restored(self, source: Path, target: Path) -> Path:
        return target

    def restore_one(self, file: Path, target: Path) -> Command | None:
        return self.command("restore", f"latest:{file}", str(target))

    def check(self) -> Command | None:
        return self.command("check", "--read-data")

    def ls(self) -> Command | None:
        return self.command("ls", "latest")

    def find(self, name: str) -> Command | None:
        return self.command("find", "--all", "--glob", name)

    def forget(self, days: int) -> Command | None:
        return self._forget("--keep-daily", str(days))

    def prune(self) -> Command | None:
        return self._forget("--keep-last", "1")

    def _forget(self, *keep: str) -> Command:
        at_once = ("--prune", "--instant-delete", "--keep-pack", "0s", "--keep-delete", "0s")
        return self.command("forget", *keep, *at_once, "--max-unused", MAX_UNUSED)
