"""kluis itself, as `make setup` installs it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import PASSWORD, PROJECT, Peer


class Kluis(Peer):
    """With what it does by default: zstd, encryption, parity, twins."""

    name = "kluis"
    program = "kluis"

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

    def backup(self, source: Path) -> Command | None:
        return self.command("backup", str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        place = f"latest:{source}"  # privileged: with setuid bits, as the others do
        return self.command("restore", place, "--target", str(target), "--privileged")

    def restored(self, source: Path, target: Path) -> Path:
        return target

    def check(self) -> Command | None:
        return self.command("verify", "--level", "2")

    def prune(self) -> Command | None:
        return self.command("forget", "--keep-last", "1", "--prune")
