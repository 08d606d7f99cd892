"""Runs one command and says what it cost, as the kernel counted it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

FileStates = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Command:
    """What to run, with the variables that it needs besides the caller's own."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True)
class Cost:
    """One run: a process with all descendants that it waited for."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    written_bytes: int
    """All that it passed to write calls, wherever to."""


class FailedError(Exception):
    """A measured command did not end with 0; its figures would mean nothing."""


_PARENT = Path(__file__).with_name("bareparent.py")
# What a caller's own settings would change. A Python that may not keep what it compiled would
# compile at each start, which is not as on a user's machine.
_UNWANTED = ("KLUIS_", "PYTHON", "RESTIC_", "RUSTIC_", "BORG_", "KOPIA_")


def run(command: Command, log: Path) -> Cost:
    """The cost of a command that ends with 0; `log` gets what it says.

    The kernel begins the peak memory of a process at that of who started it, and this one holds
    data sets: a bare interpreter of 9 MB starts the command.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_UNWANTED)}
    os.sync()  # what an earlier run left to be written must not be charged to this one
    written = _written()
    said = subprocess.run(
        [sys.executable, "-I", "-S", str(_PARENT), str(log), *command.argv],
        env=environment | command.environment,
        cwd=command.cwd,
        capture_output=True,
        text=True,
    )
    words = said.stdout.split()
    shown = " ".join(command.argv)
    if said.returncode != 0 or len(words) != 4:
        raise FailedError(f"{shown} was not started:\n{said.stderr[-2000:]}")
    if words[0] != "0":
        text = log.read_text(errors="replace")[-2000:]
        raise FailedError(f"{shown} ended with {words[0]}:\n{text}")
    return Cost(float(words[1]), float(words[2]), int(words[3]), _written() - written)


def _written() -> int:
    """Bytes that this process and all children that it waited for have written."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "wchar":
            return int(value)
    raise FailedError("/proc/self/io has no line wchar")


def states(folder: Path) -> FileStates:
    """Path to (size, mtime, inode) of every file below a folder, which need not exist."""
    found: FileStates = {}
    for path, _, names in os.walk(folder):
        for name in names:
            entry = os.lstat(os.path.join(path, name))
            key = os.path.relpath(os.path.join(path, name), folder)
            found[key] = (entry.st_size, entry.st_mtime_ns, entry.st_ino)
    return found


def added(before: FileStates, after: FileStates) -> FileStates:
    """What is new or differs; a rewritten file counts whole."""
    return {path: state for path, state in after.items() if before.get(path) != state}


def read_through(*folders: Path) -> None:
    """Reads all files, so that no run pays for what another one dropped from the page cache.

    borg and restic tell the kernel to forget what they have read: the next tool would read the
    same data from the disk again.
    """
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                place = os.path.join(path, name)
                if stat.S_ISREG(os.lstat(place).st_mode):
                    with open(place, "rb", buffering=0) as file:
                        while file.read(1 << 20):
                            pass


def forget(*places: Path) -> None:
    """Has the kernel drop what it keeps of these files' content, so that reading asks the medium.

    A place is a file or a folder. Names and attributes stay cached, for every tool alike.
    """
    os.sync()
    for place in places:
        files = [place] if place.is_file() else list(place.rglob("*"))
        for path in files:
            if stat.S_ISREG(path.lstat().st_mode):
                with path.open("rb", buffering=0) as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def total(found: FileStates) -> int:
    """Bytes of all files."""
    return sum(state[0] for state in found.values())
