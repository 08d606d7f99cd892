"""SIGINT and SIGTERM as a wish to stop, and commands that do not outlive us."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kluis.errors import CancelledError
from kluis.events import Cancel

if TYPE_CHECKING:
    import subprocess
    from types import FrameType

POLL_SECONDS = 0.1
"""How soon a command is ended after somebody asked."""


@contextmanager
def cancelling(cancel: Cancel) -> Iterator[Cancel]:
    """The first SIGINT or SIGTERM sets `cancel`, a second SIGINT ends the process at once."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal wants it
        if cancel.is_set() and number == signal.SIGINT:
            os._exit(CancelledError.exit_status)
        cancel.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield cancel
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_command(
    command: str | Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """The exit code of a command (a text goes to the shell), and what it printed.

    With `stdout` it prints there, and nothing is returned of it.
    Raises `KeyboardInterrupt` once it has ended the command because of a signal.
    """
    import subprocess

    with cancelling(Cancel()) as cancel:
        process = subprocess.Popen(
            command,
            shell=isinstance(command, str),
            stdin=stdin,
            stdout=subprocess.PIPE if stdout is None else stdout,
            env=environment,
        )
        printed = _printed(process, cancel)
    if cancel.is_set():
        raise KeyboardInterrupt
    return process.returncode, printed


def _printed(process: subprocess.Popen[bytes], cancel: Cancel) -> bytes:
    """What the command prints until it ends by itself, or is ended."""
    import subprocess

    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)[0] or b""
        except subprocess.TimeoutExpired:
            if cancel.is_set():
                process.kill()
                process.wait()
                return b""
