"""What a command costs, started by a process so small that it hides no peak.

The kernel begins the peak memory of a process at that of who started it: under a harness of
30 MB a tool of 12 MB shows 30. A bare interpreter has some 9 MB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Command, FailedError

PARENT = Path(__file__).with_name("bareparent.py")
# A command that is still at it after so long is stopped: its figures would be no use.
PATIENCE_SECONDS = 3600
# What a caller's own settings would change.
UNWANTED = ("KLUIS_", "PYTHON", "RESTIC_", "BORG_")


@dataclass(frozen=True)
class Spent:
    """One run of a command with all that it waited for."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


def run(command: Command, log: Path) -> Spent:
    """What a command cost that ends with 0; `log` gets what it says."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(UNWANTED)}
    said = subprocess.run(
        [sys.executable, "-I", "-S", str(PARENT), str(log), *command.argv],
        env=environment | command.environment,
        cwd=command.cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    words = said.stdout.split()
    if said.returncode != 0 or len(words) != 4:
        raise FailedError(f"{' '.join(command.argv)} was not started:\n{said.stderr[-2000:]}")
    if words[0] != "0":
        text = log.read_text(errors="replace")[-2000:]
        raise FailedError(f"{' '.join(command.argv)} ended with {words[0]}:\n{text}")
    return Spent(float(words[1]), float(words[2]), int(words[3]))
