"""Freed buffers are used again, and only where nobody has said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

# Page faults of buffers that come and go: a mapped one has a fault for each of its pages.
CHURN = """
import resource
from kluis_cli.memory import keep_freed_buffers
keep_freed_buffers()
for _ in range(3):
    bytearray(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for size in range(40):
    room = bytearray((8 << 20) + size)
    other = bytearray(24 << 20)
    del room, other
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", CHURN], env=unset | environment, capture_output=True, check=True
    )
    return int(done.stdout)


def test_freed_buffers_are_used_again_unless_the_environment_says_how() -> None:
    assert faults() * 4 < faults(MALLOC_MMAP_THRESHOLD_="131072")
