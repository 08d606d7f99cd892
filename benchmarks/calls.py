"""Counts, by strace, what runs of kluis and its peers ask of the file system.

    python -m benchmarks.calls --tools kluis,restic,borg [--medium usb:exfat] [--save calls]

Runs: a first backup of an office folder, one after a small change, one after none. Counted in
the repository and, apart, everywhere else: files created or opened for writing that hold bytes,
bytes written, syncs, renames and links, deletions.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import datasets, measure
from benchmarks.harness import DEFAULT_WORK, MB, medium_of
from benchmarks.media.medium import Medium
from benchmarks.peers.base import Peer
from benchmarks.peers.registry import chosen
from benchmarks.report import RESULTS, commit, machine
from tests.datasets import incompressible

RUNS = ("first", "small", "unchanged")
SMALL_CHANGE_BYTES = 2_000_000

WRITES = {"write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "sendfile"}
SYNCS = {"fsync", "fdatasync", "sync_file_range", "syncfs", "sync", "msync"}
MOVES = {"rename", "renameat", "renameat2", "link", "linkat"}
REMOVALS = {"unlink", "unlinkat", "rmdir"}
_TRACED = ",".join(sorted(WRITES | SYNCS | MOVES | REMOVALS))

_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<rest>.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(?P<rest>.*)$")
_DESCRIPTOR = re.compile(r"^\d+<(?P<path>[^>]*)>")
_QUOTED = re.compile(r'"(?P<path>(?:[^"\\]|\\.)*)"')


@dataclass
class Counts:
    """Calls on files of one place."""

    files: set[str] = field(default_factory=set)
    written_bytes: int = 0
    calls: Counter[str] = field(default_factory=Counter)


def counted(trace: Path, repo: Path) -> tuple[Counts, Counts]:
    """(in the repository, elsewhere) of a trace written by `strace -f -y`."""
    places = (Counts(), Counts())
    for line in _whole_lines(trace):
        match = _CALL.match(line)
        if match is None or int(match["result"]) < 0:
            continue
        name, arguments = match["name"], match["arguments"]
        kind = next((kind for kind, names in _KINDS.items() if name in names), None)
        if kind is None:
            continue
        if name in WRITES | SYNCS:
            descriptor = _DESCRIPTOR.match(arguments)
            path = descriptor["path"] if descriptor else ""
            if not path.startswith("/") or path.startswith("/dev/"):
                continue  # pipes and terminals
        else:
            paths = _QUOTED.findall(arguments)
            path = paths[-1] if paths else ""
            folder = re.search(r"<([^>]*)>", arguments)
            if not path.startswith("/") and folder is not None:
                path = f"{folder[1]}/{path}"
        place = places[0] if path.startswith(f"{repo}/") or path == str(repo) else places[1]
        place.calls[kind] += 1
        if kind == "writes":
            place.files.add(path)
            place.written_bytes += int(match["result"])
    return places


_KINDS = {"writes": WRITES, "syncs": SYNCS, "moves": MOVES, "removals": REMOVALS}


def _whole_lines(trace: Path) -> list[str]:
    """Calls without their process; one that another interrupted is put together again."""
    begun: dict[str, str] = defaultdict(str)
    lines = []
    for raw in trace.read_text(errors="replace").splitlines():
        match = _LINE.match(raw)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = _RESUMED.match(rest)
        lines.append(begun.pop(pid, "") + resumed["rest"] if resumed else rest)
    return lines


def traced(command: measure.Command, trace: Path) -> measure.Command:
    """The same command under strace."""
    words = ("strace", "-f", "-y", "-s", "0", "--seccomp-bpf", "-e", f"trace={_TRACED}")
    return measure.Command(
        (*words, "-o", str(trace), *command.argv), command.environment, command.cwd
    )


@dataclass(frozen=True)
class Row:
    """One run of one tool."""

    tool: str
    run: str
    repo: Counts
    elsewhere: Counts
    busy_seconds: float | None

    def cells(self) -> str:
        """As a line of the table."""
        repo, other = self.repo, self.elsewhere
        busy = "" if self.busy_seconds is None else f"{self.busy_seconds:.2f}"
        return (
            f"| {self.run} | {self.tool} | {len(repo.files)} | {repo.written_bytes / 1000:.1f} "
            f"| {repo.calls['writes']} | {repo.calls['syncs']} | {repo.calls['moves']} "
            f"| {repo.calls['removals']} | {len(other.files)} | {other.calls['syncs']} | {busy} |"
        )


def measure_tool(
    tool: type[Peer], data: datasets.Prepared, work: Path, medium: Medium | None
) -> list[Row]:
    """The three runs of one tool in a repository of its own."""
    place = work / "tools" / tool.name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    peer = tool(place, (medium.folder if medium else place) / f"{tool.name}-repo")
    command = peer.init()
    if command is not None:
        measure.run(command, place / "init.log")
    rows = []
    extra = data.folder / "added later"
    try:
        for run in RUNS:
            if run == "small":
                incompressible(extra, SMALL_CHANGE_BYTES, datasets.SEED - 1)
            command = peer.backup(data.folder)
            if command is None:
                break
            before = medium.statistics() if medium else None
            trace = place / f"{run}.trace"
            measure.run(traced(command, trace), place / f"{run}.log")
            busy = None
            if medium and before:
                busy = medium.statistics().since(before).busy_seconds
            rows.append(Row(tool.name, run, *counted(trace, peer.repo), busy))
    finally:
        extra.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
    return rows


def main() -> None:
    """Prints the table, and saves it if asked."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.calls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tools", default="kluis,restic,borg")
    parser.add_argument("--dataset", default="office", choices=sorted(datasets.ALL))
    parser.add_argument("--size", type=int, default=64, help="MB of it; default 64")
    parser.add_argument("--medium", type=medium_of, help="MODEL:SYSTEM, as usb:exfat")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK)
    parser.add_argument("--save", help="name of the file in benchmarks/results")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        raise SystemExit("needs strace; `make bench-peers` installs it")
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = datasets.prepare(options.dataset, options.size * MB, work)
    tools = chosen(options.tools)
    rows: list[Row] = []
    with ExitStack() as stack:
        medium = stack.enter_context(options.medium(work)) if options.medium else None
        for tool in tools:
            rows += measure_tool(tool, data, work, medium)
    text = table(options, data, tools, rows)
    print(text)
    if options.save:
        (RESULTS / f"{options.save}.md").write_text(text)


# What an unchanged run of kluis may ask of the repository's medium.
_OWED = (("files written", 4), ("syncs", 10), ("kB", 100))


def _verdicts(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        if (row.tool, row.run) == ("kluis", "unchanged"):
            found = (len(row.repo.files), row.repo.calls["syncs"], row.repo.written_bytes / 1000)
            for (what, limit), value in zip(_OWED, found, strict=True):
                kept = "kept" if value <= limit else "NOT KEPT"
                lines.append(f"* unchanged, {what}: {value:.4g}, at most {limit}: {kept}")
    return ["", *lines] if lines else []


_COLUMNS: tuple[str, ...] = (
    "run",
    "tool",
    "files written",
    "kB",
    "writes",
    "syncs",
    "renames, links",
)
_COLUMNS += ("removals", "files elsewhere", "syncs there", "device busy s")


def table(
    options: argparse.Namespace,
    data: datasets.Prepared,
    tools: list[type[Peer]],
    rows: list[Row],
) -> str:
    """What a person reads."""
    where = f"a modelled medium, {options.medium}" if options.medium else "the machine's own disk"
    rows = sorted(rows, key=lambda row: RUNS.index(row.run))
    strace = subprocess.run(["strace", "--version"], capture_output=True, text=True).stdout
    lines = [
        f"# System calls of a backup: {data.dataset.name}, {data.size_bytes / 1e6:.0f} MB",
        "",
        f"Commit {commit()}, {machine()}, on {where}; counted by {strace.splitlines()[0]}.",
        f"small: one new file of {SMALL_CHANGE_BYTES / 1e6:.0f} MB.",
        "",
        *(f"* {tool.name}: {tool.version()}" for tool in tools),
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "| --- | --- |" + " ---: |" * (len(_COLUMNS) - 2),
        *(row.cells() for row in rows),
        *_verdicts(rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
