"""tar with zstd 3: one stream, no deduplication, no encryption. A floor for a first backup."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Tar(Peer):
    """Each backup is one file."""

    name = "tar"
    program = "tar"
    jobs = frozenset({"first", "changed", "restore"})

    def backup(self, source: Path) -> Command | None:
        return self.command(
            "--zstd",
            "--format=posix",
            "-cf",
            str(self.repo / "last.tar.zst"),
            "-C",
            str(source),
            ".",
        )

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("--zstd", "-xpf", str(self.repo / "last.tar.zst"), "-C", str(target))

    def restored(self, source: Path, target: Path) -> Path:
        return target
