"""restic, with its defaults: compression auto, encryption, no parity."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import MAX_UNUSED, PASSWORD, Peer


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

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        at = ("--time", f"{when:%Y-%m-%d %H:%M:%S}") if when else ()
        return self.command("backup", *at, str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("restore", "latest", "--target", str(target))

    def restore_one(self, file: Path, target: Path) -> Command | None:
        # Reads the folders on the way alone, as no `restore` of older versions does.
        script = '"$0" dump latest "$1" >"$2"'
        return self.script(script, str(file), str(target / file.name))

    def check(self) -> Command | None:
        return self.command("check", "--read-data")

    def ls(self) -> Command | None:
        return self.command("ls", "latest")

    def find(self, name: str) -> Command | None:
        return self.command("find", name)

    def forget(self, days: int) -> Command | None:
        keep = ("--keep-daily", str(days), "--prune", "--max-unused", MAX_UNUSED)
        return self.command("forget", *keep)

    def prune(self) -> Command | None:
        keep = ("--keep-last", "1", "--prune", "--max-unused", MAX_UNUSED)
        return self.command("forget", *keep)
