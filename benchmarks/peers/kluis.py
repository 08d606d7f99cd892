"""kluis itself, as `make setup` installs it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import ALL_JOBS, MAX_UNUSED, PASSWORD, PROJECT, Peer


class Kluis(Peer):
    """With what it does by default: zstd, encryption, parity, twins."""

    name = "kluis"
    program = "kluis"
    jobs = ALL_JOBS | {"verify-1"}

    @classmethod
    def executable(cls) -> str | None:
        program = PROJECT / ".venv" / "bin" / "kluis"
        return str(program) if program.exists() else None

    def environment(self) -> dict[str, str]:
        return {
            "KLUIS_REPOSITORY": str(self.repo),
            "KLUIS_PASSWORD": PASSWORD,
            "KLUIS_CACHE_DIR": str(self.cache),
        }

    def init(self) -> Command | None:
        return self.command("init")

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        at = ("--time", f"{when:%Y-%m-%d %H:%M:%S}") if when else ()
        return self.command("backup", *at, str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        place = f"latest:{source}"  # privileged: with setuid bits, as the others do
        return self.command("restore", place, "--target", str(target), "--privileged")

    def restored(self, source: Path, target: Path) -> Path:
        return target

    def restore_one(self, file: Path, target: Path) -> Command | None:
        return self.command("restore", f"latest:{file}", "--target", str(target), "--privileged")

    def check(self) -> Command | None:
        return self.command("verify", "--level", "2")

    def check_stored(self, stored: Path) -> Command | None:
        return self.command("verify", "--level", "1")

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
