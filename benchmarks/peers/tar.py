"""tar with zstd 3: one stream, no deduplication, no encryption. A limit for a first backup."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from benchmarks.measure import Command
from benchmarks.peers.base import Peer


class Tar(Peer):
    """Each backup is one file."""

    name = "tar"
    program = "tar"
    limit = True
    jobs = frozenset({"first", "changed", "restore"})

    def backup(self, source: Path, when: datetime | None = None) -> Command | None:
        place = str(self.repo / "last.tar.zst")
        return self.command("-I", "zstd -3", "--format=posix", "-cf", place, "-C", str(source), ".")

    def restore(self, source: Path, target: Path) -> Command | None:
        return self.command("--zstd", "-xpf", str(self.repo / "last.tar.zst"), "-C", str(target))

    def restored(self, source: Path, target: Path) -> Path:
        return target
