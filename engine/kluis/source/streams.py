"""Standard input, and what a command prints, as streams of bytes."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shlex
import signal
import subprocess
from collections.abc import Sequence

from kluis.errors import KluisError
from kluis.events import Cancel

PATIENCE_SECONDS = 5.0
"""How long a command may take to end after it was asked to, before it is killed."""

POLL_SECONDS = 0.2
"""How long a silent stream is waited for before the wish to stop is looked at again."""


def _fill(descriptor: int, buffer: memoryview, cancel: Cancel) -> int:
    """Reads until the buffer is full or the data ends; `CancelledError` while it waits."""
    done = 0
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    while done < len(buffer):
        cancel.check()
        if not waiting.poll(POLL_SECONDS * 1000):
            continue
        count = os.readv(descriptor, [buffer[done:]])
        if count == 0:
            break
        done += count
    return done


class StdinStream:
    """The standard input of this process."""

    def __init__(self, cancel: Cancel | None = None) -> None:
        self._cancel = cancel or Cancel()
        try:
            self._descriptor = os.dup(0)
        except OSError as failure:
            raise KluisError(
                "standard input is closed, so there is nothing to back up; "
                "pipe the data into kluis, or name a path"
            ) from failure

    def read_into(self, buffer: memoryview) -> int:
        return _fill(self._descriptor, buffer, self._cancel)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class CommandStream:
    """What a command prints; it reads nothing, and its own messages go where ours go."""

    def __init__(self, arguments: Sequence[bytes], cancel: Cancel | None = None) -> None:
        self._cancel = cancel or Cancel()
        self.words = " ".join(shlex.quote(os.fsdecode(argument)) for argument in arguments)
        try:
            self._process = subprocess.Popen(
                list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
            )
        except (OSError, ValueError) as failure:
            raise KluisError(
                f"the command {self.words} cannot be started: {failure}; nothing was backed up"
            ) from failure

    def read_into(self, buffer: memoryview) -> int:
        pipe = self._process.stdout
        if pipe is None or pipe.closed:
            return 0
        return _fill(pipe.fileno(), buffer, self._cancel)

    def finish(self) -> None:
        """Waits for the command to end; KluisError unless it says that it succeeded.

        To be called once `read_into` has given all: only then is what it printed complete.
        A signal from the terminal reaches the command too: then it is `CancelledError`.
        """
        status = self._wait()
        self.close()
        self._cancel.check()
        if status == 0:
            return
        how = f"exit status {status}" if status > 0 else f"signal {_signal_name(-status)}"
        raise KluisError(
            f"the command {self.words} failed with {how}: what it printed may be incomplete, "
            "so no snapshot was made; correct the command and run the backup again"
        )

    def _wait(self) -> int:
        while True:
            try:
                return self._process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                self._cancel.check()

    def close(self) -> None:
        """Ends the command and all that it started, if they still run."""
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._process.poll() is None:
            family = _descendants(self._process.pid)
            for process in family:
                _send(process, signal.SIGTERM)
            try:
                self._process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                for process in family:
                    _send(process, signal.SIGKILL)
                self._process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _descendants(process: int) -> list[int]:
    """The process and all below it, as the kernel lists them; only itself where it does not."""
    family = [process]
    for member in family:
        try:
            path = b"/proc/%d/task/%d/children" % (member, member)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES):
                raise
            continue
        with os.fdopen(descriptor, "rb") as listed:
            family += [int(word) for word in listed.read().split()]
    return family
