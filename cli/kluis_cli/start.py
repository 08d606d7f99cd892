"""The first module that runs: whoever presses Ctrl-C while the others load sees no traceback."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # to type checkers it is true; `typing` takes 5 ms
if TYPE_CHECKING:
    from types import FrameType

CANCELLED_STATUS = 130


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal wants it
    os.write(2, b"kluis: cancelled; nothing was begun\n")
    os._exit(CANCELLED_STATUS)


def main() -> int:
    """Runs the command line and returns its exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    from kluis_cli.main import main as run

    try:
        status = run()
    except KeyboardInterrupt:  # while the last words were written
        os._exit(CANCELLED_STATUS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done, and the code says how it went
    return status
