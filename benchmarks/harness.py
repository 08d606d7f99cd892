"""Measures kluis and its peers on the same jobs, in turn, so that load hits all alike.

    python -m benchmarks.harness --plan full        every data set and job, into benchmarks/results
    python -m benchmarks.harness --plan quick       the same at a size of minutes
    python -m benchmarks.harness --dataset system --size 1000 --rounds 3 --tools kluis,restic,borg

A round is: every tool does the first job, then every tool the second, and so on, each round
beginning with another tool. Ratios are taken within a round and their median is shown.
"""

from __future__ import annotations

import argparse
import fcntl
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import datasets, history, jobs, target, targets
from benchmarks.media.medium import MODELS, SYSTEMS, Medium, NotHereError, mounted
from benchmarks.peers.base import PROJECT
from benchmarks.peers.registry import chosen
from benchmarks.plans import PLANS, TOOLS, Call
from benchmarks.report import OWN_DISK, RESULTS, Report
from benchmarks.rounds import MB, Setting, one_round

__all__ = ["DEFAULT_WORK", "MB", "main", "medium_of"]

DEFAULT_WORK = PROJECT / "build" / "bench"
_DEFAULT_JOBS = ",".join(job for job in jobs.ROUND if job != "prune")


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


def arguments(words: list[str]) -> argparse.Namespace:
    """What the caller chose."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.harness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--plan", choices=sorted(PLANS), help="a whole benchmark instead of one data set")
    add("--only", help="of a plan, these calls: system,tiny")
    add("--dataset", default="system", choices=sorted(datasets.ALL))
    add("--size", type=int, default=1000, help="MB of it; default 1000")
    add("--rounds", type=int, help="default 3, in a plan its own")
    add("--tools", help=f"default {TOOLS}, in a plan its own")
    add("--jobs", default=_DEFAULT_JOBS, help=f"of {','.join(jobs.JOBS)}")
    add("--snapshots", type=int, default=100, help="that ls and find look into")
    add("--days", type=int, default=60, help="of churn")
    add("--work", type=Path, default=DEFAULT_WORK, help="where data and targets lie")
    add("--medium", type=medium_of, help="MODEL:SYSTEM for repositories: usb:exfat")
    add("--save", help="name of the files in the folder of results")
    add("--results", type=Path, help="that folder; default benchmarks/results, quick: build/bench")
    options = parser.parse_args(words)
    unknown = set(options.jobs.split(",")) - set(jobs.JOBS)
    if unknown:
        parser.error(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(jobs.JOBS)}")
    return options


def measured(options: argparse.Namespace, words: list[str], tell: Callable[[str], None]) -> Report:
    """One data set: all jobs asked for, by all tools that are there."""
    work = options.work.resolve()
    data = datasets.prepare(options.dataset, options.size * MB, work)
    tools = chosen(options.tools or TOOLS)
    wanted = options.jobs.split(",")
    settings = {}
    if set(wanted) & set(jobs.LISTING):
        settings["snapshots"] = options.snapshots
    if set(wanted) & set(jobs.CHURN):
        settings["days"] = options.days
    report = Report(
        dataset=options.dataset,
        files=data.files,
        size_bytes=data.size_bytes,
        digest=data.digest,
        command="python -m benchmarks.harness " + shlex.join(words),
        versions={tool.name: tool.version() for tool in tools},
        jobs=wanted,
        medium=str(options.medium or OWN_DISK),
        target=target.kind(),
        limits=[tool.name for tool in tools if tool.limit],
        settings=settings,
    )
    with ExitStack() as stack:
        medium = stack.enter_context(options.medium(work)) if options.medium else None
        setting = Setting(data, work, wanted, tools, report, tell, medium)
        setting.snapshots, setting.days = options.snapshots, options.days
        rounds = options.rounds or 3
        if set(wanted) & set(jobs.ROUND):
            for number in range(rounds):
                one_round(setting, number)
        if set(wanted) & set(jobs.LISTING):
            history.listing(setting, rounds)
        if set(wanted) & set(jobs.CHURN):
            history.churn(setting, rounds)
    return report


def planned(options: argparse.Namespace, tell: Callable[[str], None]) -> list[tuple[Call, Report]]:
    """All calls of a plan, each saved as soon as it is done."""
    done = []
    only = options.only.split(",") if options.only else None
    for call in PLANS[options.plan]:
        if only and call.save not in only:
            continue
        words = call.words()
        if options.rounds:
            words += ["--rounds", str(options.rounds)]
        if options.tools:
            words += ["--tools", options.tools]
        tell(f"\n== {call.save}: python -m benchmarks.harness {shlex.join(words)}")
        one = arguments(words)
        one.work = options.work
        try:
            report = measured(one, words, tell)
        except NotHereError as error:
            tell(f"left out, since this machine cannot model the medium: {error}")
            continue
        path = report.save(call.save, folder_of(options))
        tell(f"{report.markdown()}\nsaved: {path}")
        done.append((call, report))
    return done


def folder_of(options: argparse.Namespace) -> Path:
    """Where results go: those of a quick plan say too little to stand beside the others."""
    if options.results is not None:
        return Path(options.results)
    return DEFAULT_WORK / "results" if options.plan == "quick" else RESULTS


def summary(plan: str, done: list[tuple[Call, Report]]) -> str:
    """All that is owed, over every data set of a plan, as one table."""
    lines = [f"# What is owed, in the plan {plan}", "", "| data set " + targets.HEAD[0]]
    lines.append("| --- " + targets.HEAD[1])
    for call, report in done:
        lines += [f"| {call.save} {row}" for row in report.verdicts()]
    total = targets.day_2_in_sum([report for _, report in done])
    if total is not None:
        lines.append(f"| all of day 2 {total.row()}")
    failed = [(call, failure) for call, report in done for failure in report.failures]
    lines += ["", *(f"FAILED: {call.save}, {each.tool}, {each.job}" for call, each in failed)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints the table, and saves it if asked."""
    words = sys.argv[1:]
    options = arguments(words)
    began = time.monotonic()

    def tell(line: str) -> None:
        print(line, flush=True)

    # As an exception: what is mounted or changed for a while is put back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options.work.mkdir(parents=True, exist_ok=True)
    with (options.work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"another benchmark is at work in {options.work}; see --work"
            ) from None
        failures = run(options, words, tell)
    tell(f"{time.monotonic() - began:.0f} s in all.")
    sys.exit(1 if failures else 0)


def run(options: argparse.Namespace, words: list[str], tell: Callable[[str], None]) -> int:
    """Does what was chosen; returns how many jobs failed."""
    if options.plan:
        done = planned(options, tell)
        text = summary(options.plan, done)
        folder_of(options).mkdir(parents=True, exist_ok=True)
        (folder_of(options) / "summary.md").write_text(text)
        tell(f"\n{text}")
        return sum(len(report.failures) for _, report in done)
    report = measured(options, words, tell)
    tell(f"\n{report.markdown()}")
    if options.save:
        tell(f"saved: {report.save(options.save, folder_of(options))}")
    return len(report.failures)


if __name__ == "__main__":
    main()
