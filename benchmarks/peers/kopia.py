"""kopia, with zstd at its default level and encryption; no parity."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import PASSWORD, Peer

_POLICY = '"$0" policy set --global --compression=zstd --keep-latest=1000'
_RETENTION = ("hourly", "daily", "weekly", "monthly", "annual")


class Kopia(Peer):
    """One repository on disk. It cannot look for a name in all snapshots."""

    name = "kopia"
    program = "kopia"

    def environment(self) -> dict[str, str]:
        return {
            "KOPIA_PASSWORD": PASSWORD,
            "KOPIA_CONFIG_PATH": str(self.work / "kopia.config"),
            "KOPIA_CACHE_DIRECTORY": str(self.cache),
            "KOPIA_LOG_DIR": str(self.work / "log"),
            "KOPIA_CHECK_FOR_UPDATES": "false",
        }

    def init(self) -> Command | None:
        return self.script(
            f'"$0" repository create filesystem --path "$1" && {_POLICY}', str(self.repo)
        )

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        self.source = source
        at = f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S UTC}" if when else ""
        times = (f"--start-time={at}", f"--end-time={at}") if when else ()
        return self.command("snapshot", "create", *times, str(source))

    def restore(self, source: Path, target: Path) -> Command | None:
        return self._last('restore "$id" "$2"', str(target))

    def restored(self, source: Path, target: Path) -> Path:
        return target

    def restore_one(self, file: Path, target: Path) -> Command | None:
        inside = str(file.relative_to(self.source))
        return self._last('restore "$id/$2" "$3"', inside, str(target / file.name))

    def check(self) -> Command | None:
        return self.command("snapshot", "verify", "--verify-files-percent=100")

    def ls(self) -> Command | None:
        return self._last('ls -r "$id"')

    def forget(self, days: int) -> Command | None:
        return self._expire(f"--keep-latest=0 --keep-daily={days}", {"daily"})

    def prune(self) -> Command | None:
        return self._expire("--keep-latest=1", set())

    def _expire(self, keep: str, kept: set[str]) -> Command:
        none = " ".join(f"--keep-{kind}=0" for kind in _RETENTION if kind not in kept)
        return self.script(
            f'"$0" policy set --global {keep} {none} && "$0" snapshot expire --all --delete '
            '&& "$0" maintenance run --full --safety=none'
        )

    def _last(self, words: str, *more: str) -> Command:
        """A command about the newest snapshot's root: kopia names it only by its object."""
        number = '"$0" snapshot list --json --max-results=1 "$1"'
        root = """sed -n 's/.*"obj": *"\\([^"]*\\)".*/\\1/p' | head -n 1"""
        return self.script(f'id=$({number} | {root}) && "$0" {words}', str(self.source), *more)
