"""Starts a command, waits for it and prints what it cost: status, CPU s, wall s, peak bytes.

    python -I -S benchmarks/bareparent.py LOG PROGRAM WORD ...

A script, for `measure.run` alone; every module more that it imports would show in its figures.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Its standard output and error go to the log, its input is empty."""
    log, *words = sys.argv[1:]
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    streams = [(os.POSIX_SPAWN_DUP2, a, b) for a, b in ((nothing, 0), (out, 1), (out, 2))]
    began = time.monotonic()
    child = os.posix_spawnp(words[0], words, os.environ, file_actions=streams)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    print(code, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    main()
