"""Measures kluis and its peers on the same jobs, in turn, so that load hits all alike.

    python -m benchmarks.harness --dataset system --size 1000 --rounds 3 --tools kluis,restic,borg

A round is: every tool does the first job, then every tool the second, and so on, each round
beginning with another tool. Ratios are taken within a round and their median is shown.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import datasets, measure
from benchmarks.media.medium import MODELS, SYSTEMS, Medium, mounted
from benchmarks.peers.base import PROJECT, Peer
from benchmarks.peers.registry import chosen
from benchmarks.report import Measurement, Report
from scripts.treecompare import compare

JOBS = ("start", "first", "unchanged", "changed", "restore", "verify", "prune")
DEFAULT_WORK = PROJECT / "build" / "bench"
MB = 10**6


@dataclass
class Setting:
    """One call of the harness."""

    data: datasets.Prepared
    work: Path
    jobs: list[str]
    tools: list[type[Peer]]
    report: Report
    medium: Medium | None = None


@dataclass(frozen=True)
class MediumChoice:
    """A medium that can be mounted; as a string, what the caller typed."""

    model: str
    system: str

    def __call__(self, work: Path) -> AbstractContextManager[Medium]:
        return mounted(self.model, self.system, work)

    def __str__(self) -> str:
        return f"{self.model}:{self.system}"


def medium_of(text: str) -> MediumChoice:
    """The medium that MODEL:SYSTEM names."""
    model, _, system = text.partition(":")
    if model not in MODELS or system not in SYSTEMS:
        raise argparse.ArgumentTypeError(f"one of {MODELS} and one of {SYSTEMS}, as usb:exfat")
    return MediumChoice(model, system)


def one_round(setting: Setting, number: int, tell: Callable[[str], None]) -> None:
    """All jobs by all tools, from empty repositories on; the data set is as before at its end."""
    ring = (
        setting.tools[number % len(setting.tools) :] + setting.tools[: number % len(setting.tools)]
    )
    peers = []
    for tool in ring:
        place = setting.work / "tools" / tool.name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        peer = tool(place, setting.medium.folder / tool.name if setting.medium else None)
        command = peer.init()
        if command is not None:
            measure.run(command, place / "init.log")
        peers.append(peer)
    aside = setting.work / "aside"
    try:
        for job in setting.jobs:
            if job == "changed":
                setting.data.one_day(datasets.SEED + number, aside)
            for peer in (peer for peer in peers if job in peer.jobs):
                found = one_job(setting, number, job, peer)
                if found is not None:
                    setting.report.measurements.append(found)
                    tell(
                        f"round {number + 1} {job:<10} {found.tool:<8} "
                        f"{found.cpu_seconds:7.2f} s CPU {found.wall_seconds:7.2f} s wall "
                        f"{found.peak_bytes >> 20:5} MiB {found.repo_bytes / MB:8.1f} MB"
                        + (f" {found.busy_seconds:6.2f} s busy" if setting.medium else "")
                    )
    finally:
        if aside.exists():
            setting.data.back_again(aside)
        for peer in peers:
            shutil.rmtree(peer.repo, ignore_errors=True)
        shutil.rmtree(setting.work / "tools", ignore_errors=True)


def one_job(setting: Setting, number: int, job: str, peer: Peer) -> Measurement | None:
    """One measured run; None if the tool has no such job. What it restores is compared."""
    source, target = setting.data.folder, setting.work / "target"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    command: measure.Command | None
    if job == "start":
        command = peer.command(*peer.ask_version)
    elif job == "restore":
        command = peer.restore(source, target)
    elif job == "verify":
        command = peer.check()
    elif job == "prune":
        command = peer.prune()
    else:
        command = peer.backup(source)
    if command is None:
        return None
    before = measure.states(peer.repo)
    # A repository on a medium stays unread: reading it is what its busy seconds are about.
    measure.read_through(source, *([] if setting.medium else [peer.repo]))
    device = setting.medium.statistics() if setting.medium else None
    cost = measure.run(command, peer.work / f"{job}.log")
    busy = 0.0
    if setting.medium and device:
        busy = setting.medium.statistics().since(device).busy_seconds
    after = measure.states(peer.repo)
    if job == "restore":
        outcome = compare(source, peer.restored(source, target), frozenset({"content", "mtime"}))
        if not outcome.same:
            raise measure.FailedError(
                f"{peer.name} restored something else:\n" + "\n".join(outcome.differences[:10])
            )
        shutil.rmtree(target)
    files, size = measure.added(before, after)
    return Measurement(
        round=number,
        job=job,
        tool=peer.name,
        cpu_seconds=cost.cpu_seconds,
        wall_seconds=cost.wall_seconds,
        peak_bytes=cost.peak_bytes,
        written_bytes=cost.written_bytes,
        added_files=files,
        added_bytes=size,
        repo_bytes=measure.total(after),
        busy_seconds=busy,
    )


def arguments() -> argparse.Namespace:
    """What the caller chose."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.harness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="system", choices=sorted(datasets.ALL))
    parser.add_argument("--size", type=int, default=1000, help="MB of it; default 1000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", default="kluis,restic,borg,tar,cp,find,blake3")
    parser.add_argument("--jobs", default="start,first,unchanged,changed,restore,verify")
    parser.add_argument(
        "--work", type=Path, default=DEFAULT_WORK, help="where data and targets lie"
    )
    parser.add_argument("--medium", type=medium_of, help="MODEL:SYSTEM for repositories: usb:exfat")
    parser.add_argument("--save", help="name of the files in benchmarks/results")
    options = parser.parse_args()
    unknown = set(options.jobs.split(",")) - set(JOBS)
    if unknown:
        parser.error(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}")
    return options


def main() -> None:
    """Measures, prints the table, and saves it if asked."""
    options = arguments()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = datasets.prepare(options.dataset, options.size * MB, work)
    tools = chosen(options.tools)
    report = Report(
        dataset=options.dataset,
        files=data.files,
        size_bytes=data.size_bytes,
        digest=data.digest,
        command="python -m benchmarks.harness " + " ".join(sys.argv[1:]),
        versions={tool.name: tool.version() for tool in tools},
        jobs=options.jobs.split(","),
        medium=str(options.medium or "the machine's own disk"),
    )
    began = time.monotonic()
    with ExitStack() as stack:
        medium = stack.enter_context(options.medium(work)) if options.medium else None
        setting = Setting(data, work, report.jobs, tools, report, medium)
        for number in range(options.rounds):
            one_round(setting, number, lambda line: print(line, flush=True))
    print(f"\n{report.markdown()}\n{time.monotonic() - began:.0f} s in all.")
    if options.save:
        print(f"saved: {report.save(options.save).relative_to(PROJECT)}")


if __name__ == "__main__":
    main()
