"""One round: every tool does the first job, then every tool the second, and so on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import datasets, jobs, measure
from benchmarks.media.medium import Medium
from benchmarks.peers.base import Peer
from benchmarks.peers.copy import Copy
from benchmarks.report import Failure, Measurement, Report
from benchmarks.target import fresh_target

MB = 10**6
_STAGED_JOBS = ("first", "unchanged")


@dataclass
class Setting:
    """One call of the harness."""

    data: datasets.Prepared
    work: Path
    jobs: list[str]
    tools: list[type[Peer]]
    report: Report
    tell: Callable[[str], None]
    medium: Medium | None = None
    snapshots: int = 100
    """Of the listing jobs."""
    days: int = 60
    """Of the churn."""

    def ring(self, number: int) -> list[type[Peer]]:
        """The tools that take part, each round beginning with another; limits come last."""
        backups = [tool for tool in self.tools if not tool.limit]
        limits = [tool for tool in self.tools if tool.limit]
        limits = [tool for tool in limits if self.medium or not tool.only_on_media]
        at = number % len(backups) if backups else 0
        return backups[at:] + backups[:at] + limits

    def failed(self, number: int, job: str, tool: str, reason: str) -> None:
        """Notes that a tool did not do a job; its figures would mean nothing."""
        self.report.failures.append(Failure(number, job, tool, reason[:1500]))
        self.tell(f"round {number + 1} {job:<11} {tool:<8} FAILED: {reason[:600]}")


def one_round(setting: Setting, number: int) -> None:
    """All jobs by all tools, from empty repositories on; the data set is as before at its end."""
    peers = all_opened(setting, number, setting.work / "tools")
    aside = setting.work / "aside"
    broken: set[str] = set()
    try:
        for job in (job for job in setting.jobs if job in jobs.ROUND):
            if job == "changed":
                setting.data.one_day(datasets.SEED + number, aside)
            stored = next((peer.repo for peer in peers if peer.name == "kluis"), setting.work)
            scene = scene_of(setting, setting.data.folder, stored)
            for peer in peers:
                if peer.name not in broken and not attempt(setting, (number, job), peer, scene):
                    broken.add(peer.name)
                if setting.medium and job in _STAGED_JOBS and peer.name == "kluis":
                    _stage(peers, peer.work / "added")
    finally:
        if aside.exists():
            setting.data.back_again(aside)
        for peer in peers:
            shutil.rmtree(peer.repo, ignore_errors=True)
        shutil.rmtree(setting.work / "tools", ignore_errors=True)


def all_opened(setting: Setting, number: int, place: Path) -> list[Peer]:
    """The tools of this round, each with an empty repository; who cannot make one is noted."""
    peers = []
    for tool in setting.ring(number):
        try:
            peers.append(opened(setting, tool, place))
        except measure.FailedError as error:
            setting.failed(number, "init", tool.name, str(error))
    return peers


def opened(setting: Setting, tool: type[Peer], place: Path) -> Peer:
    """A tool with an empty repository."""
    work = place / tool.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    peer = tool(work, setting.medium.folder / tool.name if setting.medium else None)
    command = peer.init()
    if command is not None:
        measure.run(command, work / "init.log")
    return peer


def scene_of(setting: Setting, source: Path, stored: Path) -> jobs.Scene:
    """Where the next job takes place."""
    return jobs.Scene(source, setting.work / "target", jobs.file_of(source), stored)


def attempt(setting: Setting, moment: tuple[int, str], peer: Peer, scene: jobs.Scene) -> bool:
    """Measures one job and notes it, or notes that it failed; False if so."""
    number, job = moment
    if job not in peer.jobs:
        return True
    try:
        with _target(setting, job, scene.target) as target:
            found = one_job(setting, moment, peer, replace(scene, target=target))
    except measure.FailedError as error:
        setting.failed(number, job, peer.name, str(error))
        return False
    if found is not None:
        setting.report.measurements.append(found)
        setting.tell(told(found, on_medium=setting.medium is not None))
    return True


@contextmanager
def _target(setting: Setting, job: str, place: Path) -> Iterator[Path]:
    """An empty folder to restore to, on a file system of its own where many files go there."""
    if job == "restore":
        with fresh_target(place, setting.data.size_bytes, setting.data.files) as target:
            yield target
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    yield place


def told(found: Measurement, *, on_medium: bool) -> str:
    """A line of progress."""
    return (
        f"round {found.round + 1} {found.job:<11} {found.tool:<8} "
        f"{found.cpu_seconds:7.2f} s CPU {found.wall_seconds:7.2f} s wall "
        f"{found.peak_bytes >> 20:5} MiB {found.added_bytes / MB:8.2f} MB added "
        f"{found.repo_bytes / MB:8.1f} MB"
        + (f" {found.busy_seconds:6.2f} s busy" if on_medium else "")
    )


def one_job(
    setting: Setting, moment: tuple[int, str], peer: Peer, scene: jobs.Scene
) -> Measurement | None:
    """One measured run; None if the tool has no such job. Its outcome is checked."""
    number, job = moment
    command = jobs.command_for(job, peer, scene)
    if command is None:
        return None
    before = measure.states(peer.repo)
    # A repository on a medium stays unread: reading it is what its busy seconds are about.
    read = [scene.source] if setting.medium else [scene.source, peer.repo]
    measure.read_through(*read)
    if setting.medium:
        # Also what the loop device keeps of the simulated one that it lies on.
        measure.forget(peer.repo, setting.medium.fault.with_name("fuse") / "nbd")
    device = setting.medium.statistics() if setting.medium else None
    log = peer.work / f"{job}.log"
    cost = measure.run(command, log)
    done = setting.medium.statistics().since(device) if setting.medium and device else None
    after = measure.states(peer.repo)
    jobs.check_done(job, peer, scene, log)
    added = measure.added(before, after)
    if setting.medium and job in _STAGED_JOBS and peer.name == "kluis":
        _copy_added(peer, list(added))
    return Measurement(
        round=number,
        job=job,
        tool=peer.name,
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        peak_bytes=cost.peak_bytes,
        written_bytes=cost.written_bytes,
        added_files=len(added),
        added_bytes=measure.total(added),
        repo_bytes=measure.total(after),
        busy_seconds=done.busy_seconds if done else 0.0,
        device_read_bytes=done.read_bytes if done else 0,
        device_written_bytes=done.written_bytes if done else 0,
    )


def _copy_added(peer: Peer, names: list[str]) -> None:
    """Keeps what a run added, off the medium, for the limit that writes as many bytes."""
    place = peer.work / "added"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(peer.repo / name, place / name)


def _stage(peers: list[Peer], added: Path) -> None:
    for peer in peers:
        if isinstance(peer, Copy) and added.exists():
            shutil.rmtree(peer.stage, ignore_errors=True)
            shutil.copytree(added, peer.stage)
