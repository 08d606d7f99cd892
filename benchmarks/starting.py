"""How long a user waits for the smallest commands, and where that time goes.

    python -m benchmarks.starting [--count 20000] [--rounds 7] [--save starting]

`kluis --version`; `kluis snapshots` of a small repository, with the share of Argon2id, which is
what makes guessing a passphrase dear; `kluis snapshots` of many, where the ledger is one record
a snapshot and where a prune has merged it, at the first look and with what the cache then has.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import manysnapshots, measure, targets
from benchmarks.measure import Command
from benchmarks.peers.base import PASSWORD, PROJECT
from benchmarks.peers.kluis import Kluis
from benchmarks.report import RESULTS, commit, machine
from benchmarks.targets import Verdict
from kluis.format import crypt
from kluis.repository.access import read_keyring, read_store
from kluis.storage.local import LocalStorage

SNAPSHOTS_SECONDS = 0.250
MANY_SNAPSHOTS_SECONDS = 1.0
FEW = 10


@dataclass(frozen=True)
class Started:
    """One way to start, all its rounds, and how long it may take (wall)."""

    what: str
    limit_seconds: float | None
    rounds: list[measure.Cost] = field(default_factory=list)

    def verdict(self) -> Verdict | None:
        """The median wait against what is owed; None where nothing is."""
        if self.limit_seconds is None:
            return None
        waits = [item.wall_seconds for item in self.rounds]
        spread = median(waits), self.limit_seconds, min(waits), max(waits)
        return Verdict(f"{self.what}: wall seconds", *spread, unit="s")

    def plain(self) -> dict[str, object]:
        """As JSON holds it."""
        return {
            "what": self.what,
            "limit_seconds": self.limit_seconds,
            "wall_seconds": [item.wall_seconds for item in self.rounds],
            "cpu_seconds": [item.cpu_seconds for item in self.rounds],
            "peak_bytes": [item.peak_bytes for item in self.rounds],
        }

    def row(self) -> str:
        """As a line of a Markdown table."""
        wall = [item.wall_seconds for item in self.rounds]
        cpu = median(item.cpu_seconds for item in self.rounds)
        peak = max(item.peak_bytes for item in self.rounds) / (1 << 20)
        return (
            f"| {self.what} | {median(wall):.3f} | {min(wall):.3f} to {max(wall):.3f} "
            f"| {cpu:.3f} | {peak:.1f} |"
        )


@dataclass(frozen=True)
class Setting:
    """Where it is measured, and with which program."""

    work: Path
    program: Path

    def command(self, *words: str, repository: Path | None = None) -> Command:
        """kluis with these words; its cache is that of the repository."""
        environment = {"KLUIS_PASSWORD": PASSWORD, "KLUIS_CACHE_DIR": str(self.cache(repository))}
        if repository is not None:
            environment["KLUIS_REPOSITORY"] = str(repository)
        return Command((str(self.program), *words), environment)

    def cache(self, repository: Path | None) -> Path:
        return self.work / f"cache-{repository.name if repository else 'none'}"

    def prepared(self, count: int, *, prune: bool) -> Path:
        """A repository of so many snapshots; one that was made whole is used again."""
        place = self.work / f"snapshots-{count}-{'checkpoint' if prune else 'records'}"
        if not place.exists():
            making = place.with_name(f"{place.name}.making")
            shutil.rmtree(making, ignore_errors=True)
            print(f"making {place.name} ...", flush=True)
            manysnapshots.make(making, count, prune=prune)
            making.rename(place)
        return place


def derivation(repository: Path) -> tuple[str, Callable[[], float]]:
    """What the passphrase's derivation is set to there, and how long one takes (CPU s)."""
    storage = LocalStorage(repository)
    ring = read_keyring(storage, read_store(storage).vault)
    storage.close()

    def derive() -> float:
        began = time.thread_time()
        crypt.passphrase_key(PASSWORD.encode(), ring.salt, ring.passes, ring.memory_bytes)
        return time.thread_time() - began

    passes = "1 pass" if ring.passes == 1 else f"{ring.passes} passes"
    return f"Argon2id, {passes} over {ring.memory_bytes >> 20} MiB", derive


def measured(setting: Setting, count: int, rounds: int) -> tuple[list[Started], dict[str, object]]:
    """Each way to start, in turn, and the share of the key derivation."""
    few = setting.prepared(FEW, prune=False)
    version = Started("kluis --version", targets.START_SECONDS)
    short = Started(f"kluis snapshots, {FEW} of them", SNAPSHOTS_SECONDS)
    ways: list[tuple[Started, Path | None, bool]] = [(version, None, False), (short, few, False)]
    for prune in (False, True):
        many = setting.prepared(count, prune=prune)
        ledger = "ledger pruned" if prune else "ledger never pruned"
        what = f"kluis snapshots, {count} of them, {ledger}"
        ways.append((Started(f"{what}, first look", MANY_SNAPSHOTS_SECONDS), many, True))
        ways.append((Started(f"{what}, again", MANY_SNAPSHOTS_SECONDS), many, False))
    named, derive = derivation(few)
    derived: list[float] = []
    log = setting.work / "starting.log"
    measure.run(setting.command("snapshots", repository=few), log)  # compiles what Python keeps
    for _ in range(rounds):
        derived.append(derive())
        for started, place, fresh in ways:
            if fresh:
                shutil.rmtree(setting.cache(place), ignore_errors=True)
            words = ("--version",) if place is None else ("snapshots",)
            started.rounds.append(measure.run(setting.command(*words, repository=place), log))
    cpu = median(item.cpu_seconds for item in short.rounds)
    key = {
        "what": named,
        "cpu_seconds": derived,
        "share_of_cpu": median(derived) / cpu,
    }
    return [started for started, _, _ in ways], key


def markdown(data: dict[str, object], started: list[Started], key: dict[str, object]) -> str:
    """What a person reads."""
    derived = key["cpu_seconds"]
    assert isinstance(derived, list)
    share = (
        f"{key['what']}: {median(derived):.3f} s of CPU (least {min(derived):.3f}), "
        f"{key['share_of_cpu']:.0%} of `kluis snapshots`."
    )
    lines = [
        "# Starting",
        "",
        f"Commit {data['commit']}, {data['machine']}. Command: `{data['command']}`",
        f"{len(derived)} rounds; wall and CPU are medians, the peak is the largest.",
        "",
        "| command | wall s | from, to | CPU s | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(item.row() for item in started),
        "",
        share,
        "",
        *targets.HEAD,
        *(verdict.row() for item in started if (verdict := item.verdict())),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints the table, and saves it if asked."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.starting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=20_000, help="snapshots of the large one")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, default=PROJECT / "build" / "bench")
    parser.add_argument("--program", type=Path, help="a kluis; default: the one of `make setup`")
    parser.add_argument("--save", help="name of the files in benchmarks/results")
    options = parser.parse_args()
    program = options.program or Kluis.executable()
    if program is None:
        raise SystemExit("kluis is not installed here; `make setup` does that")
    setting = Setting(options.work.resolve(), Path(os.path.abspath(program)))
    setting.work.mkdir(parents=True, exist_ok=True)
    started, key = measured(setting, options.count, options.rounds)
    verdicts = [verdict for item in started if (verdict := item.verdict())]
    data: dict[str, object] = {
        "kind": "starting",
        "commit": commit(),
        "machine": machine(),
        "command": "python -m benchmarks.starting " + " ".join(sys.argv[1:]),
        "started": [item.plain() for item in started],
        "derivation": key,
        "verdicts": [verdict.plain() for verdict in verdicts],
    }
    text = markdown(data, started, key)
    print(text)
    if options.save:
        (RESULTS / f"{options.save}.json").write_text(json.dumps(data, indent=1) + "\n")
        (RESULTS / f"{options.save}.md").write_text(text)


if __name__ == "__main__":
    main()
