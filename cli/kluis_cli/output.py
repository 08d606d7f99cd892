"""Printing: text or JSON events on standard output, words for people on standard error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from kluis_cli.records import (
    Fields,
    damage_fields,
    damage_lines,
    name_fields,
    printable,
    problem_text,
)

if TYPE_CHECKING:
    from kluis.errors import KluisError
    from kluis.events import Damage, Problem

LINES_AT_ONCE = 256

SCHEMA = 1
"""Raised when an event changes in a way that breaks a reader; new fields do not."""


class Stream(Protocol):
    """What is printed to: a binary standard stream."""

    def write(self, data: bytes, /) -> int:
        """Takes all of `data`, perhaps into a buffer."""

    def flush(self) -> None:
        """Hands the buffer over."""


class Output:
    """Where a command prints; says each problem once; falls silent when nobody reads any more."""

    def __init__(self, stdout: Stream, stderr: Stream, *, as_json: bool, verbosity: int) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self.stdout_is_data = False
        """Events go to standard error then, and no words, so that scripts can read it."""
        self.closed = False
        self.failure = ""
        """Why standard output takes nothing any more, unless its reader just went away."""
        self._stdout = stdout
        self._stderr = stderr
        self._said: set[object] = set()

    def event(self, message_type: str, fields: Fields, *, flush: bool = True) -> None:
        """Prints one JSON event."""
        import json

        record = {"schema": SCHEMA, "message_type": message_type, **fields}
        data = json.dumps(record).encode() + b"\n"
        if self.stdout_is_data:
            self._write_stderr(data)
            return
        self._write(data)
        if flush:
            self.flush()

    def line(self, text: str) -> None:
        """Prints what was asked for."""
        self._write(text.encode("utf-8", "surrogateescape") + b"\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Prints many lines, many at once; those before an error too. Stops where nobody reads."""
        gathered: list[str] = []
        try:
            for text in texts:
                gathered.append(text)
                if len(gathered) == LINES_AT_ONCE:
                    self.line("\n".join(gathered))
                    gathered.clear()
                    if self.closed:
                        return
        finally:
            if gathered:
                self.line("\n".join(gathered))

    def note(self, text: str) -> None:
        """Prints what is good to know: not with -q, not in JSON."""
        if not self.as_json and self.verbosity >= 0:
            self.line(text)

    def say(self, text: str) -> None:
        """Words for a person, on standard error, unless that has events."""
        if not (self.as_json and self.stdout_is_data):
            self._write_stderr(text.encode("utf-8", "surrogateescape") + b"\n")

    def problem(self, problem: Problem) -> None:
        """Says, once, what could not be read, written or set."""
        if self._first(problem):
            self.say(f"kluis: {problem_text(problem)}")
            if self.as_json:
                fields = {"operation": problem.operation, "message": problem.reason}
                self.event("error", {"fatal": False, **fields, **name_fields("path", problem.path)})

    def damage(self, damage: Damage) -> None:
        """Says, once, what is damaged."""
        if self._first(damage):
            for text in damage_lines(damage):
                self.say(text)
            if self.as_json:
                self.event("damage", damage_fields(damage))

    def warning(self, message: str, code: str = "") -> None:
        """Says, once, something that is no failure."""
        if self._first(message):
            self.say(f"kluis: warning: {printable(message)}")
            if self.as_json:
                self.event("warning", {"code": code, "message": message})

    def error(self, error: KluisError) -> None:
        """Says why the command failed."""
        self.say(f"kluis: {printable(str(error))}")
        if self.as_json:
            fields = {"fatal": True, "code": error.code, "exit_status": error.exit_status}
            self.event("error", {**fields, "message": str(error)})

    def flush(self) -> None:
        """Hands everything over."""
        if not self.closed:
            try:
                self._stdout.flush()
            except OSError as error:
                self._close(error)

    def _first(self, thing: object) -> bool:
        if thing in self._said:
            return False
        self._said.add(thing)
        return True

    def _write_stderr(self, data: bytes) -> None:
        try:
            self._stderr.write(data)
            self._stderr.flush()
        except OSError:  # nobody is there to tell
            return

    def _write(self, data: bytes) -> None:
        if not self.closed:
            try:
                self._stdout.write(data)
            except OSError as error:
                self._close(error)

    def _close(self, error: OSError) -> None:
        """Prints nothing more; an operation that runs goes on, as its log is worth less than it."""
        self.closed = True
        if not isinstance(error, BrokenPipeError):
            self.failure = error.strerror or str(error)
