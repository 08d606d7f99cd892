"""Holds what `kluis bench` predicts against what then happens: first, unchanged, restore.

    python -m benchmarks.prediction [--rounds 3] [--save]                 (the machine's own disk)
    python -m benchmarks.prediction --medium usb:exfat --size 300         (as root)

Each round predicts, then does; files are read from the disk, not from memory, both times. A
restore counts until its files are on the disk (`sync -f`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import datasets
from benchmarks.media.medium import mounted
from benchmarks.peers.base import PASSWORD, PROJECT
from benchmarks.report import RESULTS, commit, machine

KLUIS = str(PROJECT / ".venv" / "bin" / "kluis")
JOBS = ("first backup", "unchanged run", "full restore")
WITHIN = 0.30
RESULT = RESULTS / "prediction.md"


@dataclass(frozen=True)
class Outcome:
    """One job of one round: (from, likely, to) as predicted, and the seconds that it took."""

    job: str
    low: float
    likely: float
    high: float
    took: float

    @property
    def error(self) -> float:
        """0.1: a tenth more was predicted than it took."""
        return self.likely / self.took - 1


def forget_cached(*folders: Path) -> None:
    """The system lets go of what it remembers of these files."""
    os.sync()
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                place = os.path.join(path, name)
                if os.path.isfile(place) and not os.path.islink(place):
                    fd = os.open(place, os.O_RDONLY)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(fd)


def call(*words: str | Path, cache: Path) -> bytes:
    """What a command of kluis prints."""
    # As on a user's machine: a Python that may not keep what it compiled compiles at each start.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KLUIS_", "PYTHON"))}
    environment |= {"KLUIS_PASSWORD": PASSWORD, "KLUIS_CACHE_DIR": str(cache)}
    argv = [KLUIS, *map(str, words)]
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def one_round(source: Path, place: Path, work: Path, forget: Callable[[], None]) -> list[Outcome]:
    """Predicts, then does, in new folders.

    Nothing is deleted before the last round: for minutes after a deletion ext4 looks, for each
    new file, at each inode that has become free, which no customer's restore has to wait for.
    """
    repository, target = Path(tempfile.mkdtemp(dir=place)), Path(tempfile.mkdtemp(dir=work))
    cache, target = target / "cache", target / "restored"
    forget_cached(source)
    forget()
    printed = call(
        "bench", place, "--source", source, "--target", work, "--only", "pool,disk", "--json",
        cache=cache,
    )  # fmt: skip
    events = [json.loads(line) for line in printed.splitlines()]
    predicted = {e["job"]: e["seconds"] for e in events if e["message_type"] == "estimate"}
    call("init", "-r", repository, cache=cache)
    took = {}
    forget_cached(source)
    backup = ("backup", "-q", "-r", repository, source)
    took["first backup"] = seconds(lambda: call(*backup, cache=cache))
    took["unchanged run"] = seconds(lambda: call(*backup, cache=cache))
    forget_cached(repository)
    forget()

    def restore() -> None:
        words = ("restore", "-q", "-r", repository, f"latest:{source}", "--privileged")
        call(*words, "--target", target, cache=cache)
        subprocess.run(["sync", "-f", target], check=True)

    took["full restore"] = seconds(restore)
    return [Outcome(job, **predicted[job], took=took[job]) for job in JOBS]


@contextmanager
def medium_at(words: str | None, work: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder on the medium, and what makes the system forget what it has read of it."""
    with ExitStack() as undo:
        if words is None:
            place = work / "medium"
            place.mkdir()
            yield place, lambda: None
            return
        model, _, system = words.partition(":")
        medium = undo.enter_context(mounted(model, system, work))

        def forget() -> None:
            print(medium.statistics(), file=sys.stderr)
            forget_cached(medium.folder.parent / "fuse")  # the modelled device is a file

        yield medium.folder, forget


def table(title: str, command: str, rounds: list[list[Outcome]]) -> tuple[list[str], bool]:
    """Rows for a person, and whether each job was predicted well enough."""
    lines = [
        f"## {title}",
        "",
        f"`{command}`, commit {commit()}, {machine()}, {len(rounds)} rounds.",
        "",
        "| job | predicted s (from, to) | took s | error (each round) | in 30 % | in range |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    good = True
    for job in JOBS:
        found = [one for outcomes in rounds for one in outcomes if one.job == job]
        error = median(one.error for one in found)
        kept = abs(error) <= WITHIN
        good = good and kept
        inside = sum(one.low <= one.took <= one.high for one in found)
        each = ", ".join(f"{one.error:+.0%}" for one in found)
        low, likely, high, took = (
            median(getattr(one, name) for one in found)
            for name in ("low", "likely", "high", "took")
        )
        lines.append(
            f"| {job} | {likely:.2f} ({low:.2f}, {high:.2f}) | {took:.2f} | {error:+.0%} ({each}) "
            f"| {'yes' if kept else 'NO'} | {inside} of {len(found)} |"
        )
    return [*lines, ""], good


HEAD = """# Predictions of `kluis bench` against what then happened

Medians over the rounds, each of which predicts and then does: first backup, unchanged run, full
restore, until the files are on the disk. Files are read from the disk, not from memory.
"""


def main() -> None:
    """Runs the rounds and prints the table; `--save` puts it into the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--dataset", default="system", choices=sorted(datasets.ALL))
    parser.add_argument("--size", type=int, default=1000, help="MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--medium", help="a modelled one, such as usb:exfat")
    parser.add_argument("--data", type=Path, help="where the data set stays (default: nowhere)")
    parser.add_argument("--save", action="store_true", help="put the table into results/")
    args = parser.parse_args()
    with ExitStack() as undo:
        data = args.data or Path(undo.enter_context(tempfile.TemporaryDirectory()))
        data.mkdir(exist_ok=True)
        prepared = datasets.prepare(args.dataset, args.size * 1_000_000, data)
        work = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=data)))
        place, forget = undo.enter_context(medium_at(args.medium, work))
        rounds = []
        for number in range(args.rounds):
            rounds.append(one_round(prepared.folder, place, work, forget))
            for one in rounds[-1]:
                print(f"round {number}: {one}", file=sys.stderr)
    words = [f"--dataset {args.dataset} --size {args.size} --rounds {args.rounds}"]
    words += [f"--medium {args.medium}"] if args.medium else []
    on = f"a modelled {args.medium}" if args.medium else "the machine's own disk"
    size = f"{prepared.size_bytes / 1e6:.0f} MB in {prepared.files} files"
    title = f"{args.dataset}, {size}, to {on}"
    lines, good = table(title, f"python -m benchmarks.prediction {' '.join(words)}", rounds)
    print("\n".join(lines))
    if args.save:
        old = RESULT.read_text() if RESULT.exists() else HEAD
        parts = old.split("\n## ")
        kept = [part for part in parts[1:] if not part.startswith(title)]
        RESULT.write_text("\n## ".join([parts[0], *kept, "\n".join(lines)[3:]]))
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
