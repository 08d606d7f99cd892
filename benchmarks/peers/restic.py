"""restic, with its defaults: compression auto, encryption, no parity."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import PASSWORD, Peer


class Restic(Peer):
    """One repository on disk."""

    name = "restic"
    program = "restic"
    ask_version = ("version",)

    def environment(self) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": str(self.repo),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.cache),
        }

    def init(self) -> Command | None:
        return self.command("init")

    def backup(self, source: Path) -> Command | None:
        return self.command("backup", str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("restore", "latest", "--target", str(target))

    def check(self) -> Command | None:
        return self.command("check", "--read-data")

    def prune(self) -> Command | None:
        return self.command("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
