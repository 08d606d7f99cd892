"""What an operation tells while it runs, and how it is told to stop.

Every operation takes a `Context`. It calls `context.events(event)` from the thread
that runs the operation, and `context.cancel.check()` at least once a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Literal, TypeAlias

from kluis.errors import CancelledError
from kluis.frozen import frozen
from kluis.surroundings import Machine, Surroundings


@frozen
class Problem:
    """Something outside the repository that could not be read, written or set."""

    path: bytes
    operation: str
    """What was tried: `read`, `list`, `stat`, `write`, `owner`, `mode`, `xattr`, `device` ..."""
    reason: str


@frozen
class Damage:
    """Something stored that is missing or wrong, and what that costs."""

    object: str
    """Its name in the store, such as `packs/a/abc...`."""
    what: str
    means: str
    files: tuple[bytes, ...] = ()
    next_command: str = ""


@frozen
class Stage:
    """The operation now does `name` (a few words, such as `reading the ledger`)."""

    name: str


@frozen
class Progress:
    """Totals so far; a total that is not known yet is None. Cheap: sent some times a second."""

    files_done: int = 0
    bytes_done: int = 0
    files_total: int | None = None
    bytes_total: int | None = None
    errors: int = 0
    current: bytes = b""


@frozen
class FileDone:
    """One path was dealt with; sent only where `Context.each_file` asks for it."""

    path: bytes
    action: Literal["new", "changed", "unmodified", "restored", "unchanged", "skipped", "deleted"]
    size: int = 0
    bytes_added: int = 0


@frozen
class FileProblem:
    """The operation goes on without this; the result repeats it."""

    problem: Problem


@frozen
class DamageFound:
    """The operation goes on; the result repeats it."""

    damage: Damage


@frozen
class Warning_:  # noqa: N801 - `Warning` is a builtin
    """Something to know that is no failure; `code` is one word for programs."""

    code: str
    message: str


Event: TypeAlias = Stage | Progress | FileDone | FileProblem | DamageFound | Warning_


def ignore(event: Event) -> None:
    """Takes an event and does nothing."""


class Cancel:
    """A wish to stop, set from any thread or signal handler.

    A plain attribute and no lock, since a handler that interrupts the holder of a
    lock would wait for ever.
    """

    __slots__ = ("_wanted",)

    def __init__(self) -> None:
        self._wanted = False

    def set(self) -> None:
        """Asks the operation to stop; it leaves nothing half done that counts."""
        self._wanted = True

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._wanted

    def check(self) -> None:
        """Raises `CancelledError` once somebody asked."""
        if self._wanted:
            raise CancelledError(
                "cancelled: nothing of this run counts, all before it is as it was"
            )


@frozen
class Context:
    """Where events go, how to stop, whose clock and randomness count."""

    events: Callable[[Event], None] = ignore
    cancel: Cancel = field(default_factory=Cancel)
    surroundings: Surroundings = field(default_factory=Machine)
    each_file: bool = False
