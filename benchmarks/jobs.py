"""What each job is: the command, and how it is known to have done what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import datasets
from benchmarks.measure import Command, FailedError
from benchmarks.peers.base import Peer
from scripts.treecompare import compare

# In this order; those of ROUND begin with an empty repository, those of LISTING with a hundred
# snapshots, those of CHURN with sixty.
ROUND: tuple[str, ...] = ("start", "first", "unchanged", "changed", "restore", "restore-one")
ROUND += ("verify", "verify-1", "prune")
LISTING = ("ls", "find")
CHURN = ("daily", "churn", "fresh")
JOBS = (*ROUND, *LISTING, *CHURN)

ONE_FILE_BYTES = 10_000
KEPT_DAYS = 14


@dataclass(frozen=True)
class Scene:
    """Where a job takes place."""

    source: Path
    target: Path
    one_file: Path
    stored: Path
    """kluis's repository: what limits of its verify read."""


def file_of(source: Path, size_bytes: int = ONE_FILE_BYTES) -> Path:
    """The file whose size comes nearest, the first by name of several."""
    files = [path for path in datasets.walk(source) if not path.is_symlink()]
    return min(files, key=lambda path: abs(path.stat().st_size - size_bytes))


def command_for(job: str, peer: Peer, scene: Scene) -> Command | None:
    """What this tool runs for the job; None if it has no such thing."""
    if job == "start":
        return peer.command(*peer.ask_version)
    if job == "restore":
        return peer.restore(scene.source, scene.target)
    if job == "restore-one":
        return peer.restore_one(scene.one_file, scene.target)
    if job == "verify":
        return peer.check()
    if job == "verify-1":
        return peer.check_stored(scene.stored)
    if job == "prune":
        return peer.prune()
    if job == "churn":
        return peer.forget(KEPT_DAYS)
    if job == "ls":
        return peer.ls()
    if job == "find":
        return peer.find(scene.one_file.name)
    return peer.backup(scene.source)


def check_done(job: str, peer: Peer, scene: Scene, log: Path) -> None:
    """Raises `FailedError` where the outcome is not what was asked for."""
    if job == "restore" and not peer.only_on_media:
        place = peer.restored(scene.source, scene.target)
        outcome = compare(scene.source, place, frozenset({"content", "mtime"}))
        if not outcome.same:
            told = "\n".join(outcome.differences[:10])
            raise FailedError(f"{peer.name} restored something else:\n{told}")
    elif job == "restore-one":
        wanted = scene.one_file.read_bytes()
        found = [path for path in scene.target.rglob("*") if path.is_file()]
        if not any(path.read_bytes() == wanted for path in found):
            raise FailedError(f"{peer.name} did not restore {scene.one_file}: {found[:5]}")
    elif job in LISTING and scene.one_file.name.encode() not in log.read_bytes():
        raise FailedError(f"{peer.name}: {scene.one_file.name} is not in what {job} said")
