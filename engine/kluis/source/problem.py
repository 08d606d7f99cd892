"""What could not be read, written or set, with the system's own number for the reason."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeAlias

from kluis import events
from kluis.frozen import frozen


@frozen
class Problem:
    """One thing that failed; the work goes on without it."""

    path: bytes
    operation: str
    """What was tried: `stat`, `list`, `read`, `write`, `owner`, `mode`, `xattr`, `device` ..."""
    errno: int
    words: str = ""
    """What to say instead of the system's words."""

    @property
    def reason(self) -> str:
        """`words`, or the system's for `errno`."""
        return self.words or reason_of(self.errno)

    def event(self) -> events.Problem:
        """The same for those who listen to an operation."""
        return events.Problem(self.path, self.operation, self.reason)


Report: TypeAlias = Callable[[Problem], None]

CHANGED_MEANWHILE = 0
"""No errno: the file was read, but it changed while that went on."""

_WORDS = {
    CHANGED_MEANWHILE: "It changed while it was read: what is kept may be of two moments",
    errno.ESTALE: "It was replaced by something else meanwhile",
    errno.ELOOP: "It contains itself, or a link stands where none was",
}


def reason_of(number: int) -> str:
    """A sentence for an errno; better than the system's where that misleads."""
    return _WORDS.get(number) or os.strerror(number)
