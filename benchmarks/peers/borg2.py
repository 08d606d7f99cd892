"""borg 2, its newest beta: AES-OCB, BLAKE3 for ids, zstd at the level that the others use."""

from __future__ import annotations

from benchmarks.measure import Command
from benchmarks.peers.borg import Borg


class Borg2(Borg):
    """One repository on disk. Its format still changes between betas."""

    name = "borg2"
    program = "borg2"
    keep_one = ("--keep", "1")

    def init(self) -> Command | None:
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.command("repo-create", "--encryption", "aes256-ocb", "--id-hash", "blake3")

    def archive(self, run: str) -> tuple[str, tuple[str, ...]]:
        # One name for all: by it borg 2 finds its list of known files, and groups for prune.
        return f"tags:{run}", ("--tag", run, "daily")

    def find(self, name: str) -> Command | None:
        return self.command("find", f"sh:**/{name}")
