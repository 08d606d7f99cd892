"""Jobs that need a past: many daily snapshots, made once for each tool and then measured.

`ls` and `find` look into a hundred snapshots. `churn` keeps 14 of 60 days in which 2 % of the
files were replaced daily, and gives the room back; each round begins with a copy of the same
repository and cache at the same place. `daily` is what the backups of those days cost in sum,
`fresh` a first backup of the last state, to hold the repository's size against.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks import datasets, jobs, measure
from benchmarks.measure import Cost
from benchmarks.peers.base import Peer
from benchmarks.report import Measurement
from benchmarks.rounds import Setting, all_opened, attempt, opened, scene_of, told

_FIRST_DAY = datetime(2025, 3, 1, 12)  # noqa: DTZ001  in the machine's own time, as users say it
_NOTHING = Cost(0.0, 0.0, 0, 0)


def listing(setting: Setting, rounds: int) -> None:
    """Times `ls` of the last and `find` of a name over all snapshots."""
    wanted = [job for job in setting.jobs if job in jobs.LISTING]
    live = _live(setting)
    peers = _with_past(setting, setting.snapshots, live)
    try:
        for number in range(rounds):
            for job in wanted:
                for peer in _turned(peers, number):
                    attempt(setting, (number, job), peer, scene_of(setting, live, peer.repo))
    finally:
        shutil.rmtree(setting.work / "history", ignore_errors=True)


def churn(setting: Setting, rounds: int) -> None:
    """Forgets and prunes after many days, and sizes the rest against a fresh backup."""
    live = _live(setting)
    peers = _with_past(setting, setting.days, live)
    try:
        for peer in peers:
            _copied(peer.work, _kept(peer.work))
        for number in range(rounds):
            for peer in _turned(peers, number):
                shutil.rmtree(peer.work)
                _copied(_kept(peer.work), peer.work)
                attempt(setting, (number, "churn"), peer, scene_of(setting, live, peer.repo))
            for peer in _turned(peers, number):
                fresh = opened(setting, type(peer), setting.work / "history" / "fresh")
                attempt(setting, (number, "fresh"), fresh, scene_of(setting, live, fresh.repo))
                shutil.rmtree(fresh.work)
    finally:
        shutil.rmtree(setting.work / "history", ignore_errors=True)


def _live(setting: Setting) -> Path:
    """A copy of the data set that days can go over."""
    shutil.rmtree(setting.work / "history", ignore_errors=True)
    live = setting.work / "history" / "live"
    shutil.copytree(setting.data.folder, live, symlinks=True)
    return live


def _kept(place: Path) -> Path:
    return place.with_name(place.name + ".kept")


def _copied(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)


def _turned(peers: list[Peer], number: int) -> list[Peer]:
    at = number % len(peers) if peers else 0
    return peers[at:] + peers[:at]


def _with_past(setting: Setting, days: int, live: Path) -> list[Peer]:
    """The tools that backed up every day, each day the same data for all."""
    opened_now = all_opened(setting, 0, setting.work / "history")
    peers = [peer for peer in opened_now if not peer.limit]
    costs = {peer.name: _NOTHING for peer in peers}
    dataset = setting.data.dataset
    for day in range(days):
        if day:
            seed = datasets.SEED + 1000 + day
            dataset.change(dataset.changed(live, seed), seed)
        measure.read_through(live)
        when = _FIRST_DAY + timedelta(days=day)
        for peer in list(peers):
            command = peer.backup(live, when)
            assert command is not None
            try:
                cost = measure.run(command, peer.work / "daily.log")
            except measure.FailedError as error:
                setting.failed(0, "daily", peer.name, str(error))
                peers.remove(peer)
                continue
            if day:  # the first day's run is no daily one
                costs[peer.name] = _sum((costs[peer.name], cost))
    for peer in peers:
        found = _as_measured(costs[peer.name], peer)
        setting.report.measurements.append(found)
        setting.tell(told(found, on_medium=False))
    return peers


def _sum(costs: Iterable[Cost]) -> Cost:
    found = list(costs)
    return Cost(
        sum(cost.cpu_seconds for cost in found),
        sum(cost.wall_seconds for cost in found),
        max(cost.peak_bytes for cost in found),
        sum(cost.written_bytes for cost in found),
    )


def _as_measured(cost: Cost, peer: Peer) -> Measurement:
    after = measure.states(peer.repo)
    return Measurement(
        round=0,
        job="daily",
        tool=peer.name,
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        peak_bytes=cost.peak_bytes,
        written_bytes=cost.written_bytes,
        added_files=len(after),
        added_bytes=measure.total(after),
        repo_bytes=measure.total(after),
    )
