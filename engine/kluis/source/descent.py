"""A way down from one directory, by descriptors: any depth, few of them open, no link followed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kluis.source.openat import DIRECTORY_FLAGS, open_directory

OPEN_LIMIT = 48
"""Descriptors that one way down keeps open; with a few for files this stays below 64."""

_PASS_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CLOSED = -1

Identity = tuple[int, int]


def identity_of(descriptor: int) -> Identity:
    """(dev, ino) of what is open."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _stale() -> OSError:
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@dataclass(slots=True)
class _Step:
    """One directory on the way; `reopen` opens it in its parent in the way it was opened first."""

    name: bytes
    identity: Identity
    descriptor: int
    reopen: Callable[[bytes, int], int]


class Descent:
    """The directories from a base down to the current one.

    Owns all its descriptors. Those far above are closed and opened again on the way
    back, by `..` or else by name from the base; whatever is not the same directory
    (device and inode) as before is refused with OSError(ESTALE).
    """

    def __init__(self, base: int) -> None:
        self._steps = [_Step(b"", identity_of(base), base, open_directory)]
        self._first_open = 1  # the base always stays open, and so do the steps from here on

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """How many steps below the base."""
        return len(self._steps) - 1

    @property
    def descriptor(self) -> int:
        """The current directory; valid until the next step either way."""
        return self._steps[-1].descriptor

    @property
    def identity(self) -> Identity:
        """(dev, ino) of the current directory."""
        return self._steps[-1].identity

    def enter(self, name: bytes, reopen: Callable[[bytes, int], int] = open_directory) -> Identity:
        """Goes down to `name`, opened by `reopen(name, directory)`; an OSError changes nothing."""
        descriptor = reopen(name, self.descriptor)
        try:
            identity = identity_of(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._steps.append(_Step(name, identity, descriptor, reopen))
        if len(self._steps) - self._first_open > OPEN_LIMIT:
            self._close(self._steps[self._first_open])
            self._first_open += 1
        return identity

    def leave(self) -> None:
        """Goes up one step, in any case.

        OSError if the directory above can no longer be opened, or is another one now:
        then its descriptor is not valid, and the caller can only leave it too.
        """
        gone = self._steps.pop()
        above = self._steps[-1]
        try:
            if above.descriptor == _CLOSED:
                above.descriptor = self._found_again(gone.descriptor)
                self._first_open = len(self._steps) - 1
        finally:
            self._close(gone)
            self._first_open = min(self._first_open, len(self._steps))

    def close(self) -> None:
        """Closes all descriptors, the base too."""
        for step in self._steps:
            self._close(step)

    def _found_again(self, below: int) -> int:
        """A new descriptor of the current directory, from the one below or from the base."""
        wanted = self._steps[-1].identity
        if below != _CLOSED:
            try:
                return _verified(open_directory(b"..", below), wanted)
            except OSError:
                pass  # moved, or not to be searched by us: by name, then
        at = self._steps[0].descriptor
        for number, step in enumerate(self._steps[1:], 1):
            last = number == len(self._steps) - 1
            opened = step.reopen if last or step.reopen is not open_directory else look_up_only
            try:
                following = opened(step.name, at)
            finally:
                if number > 1:
                    os.close(at)
            at = following
        return _verified(at, wanted)

    @staticmethod
    def _close(step: _Step) -> None:
        if step.descriptor != _CLOSED:
            os.close(step.descriptor)
            step.descriptor = _CLOSED


def look_up_only(name: bytes, directory: int) -> int:
    """A descriptor of a directory that is no link, good for looking up names in it."""
    return os.open(name, _PASS_FLAGS | os.O_NOFOLLOW, dir_fd=directory)


def _verified(descriptor: int, wanted: Identity) -> int:
    """The descriptor, if it is the directory that is wanted; else it is closed."""
    try:
        if identity_of(descriptor) == wanted:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    raise _stale()


def search_only(name: bytes, directory: int) -> int:
    """A descriptor for a directory on the way to what was asked for; links are followed.

    It is for looking up names; where the directory may be listed it can be read as well.
    """
    flags = DIRECTORY_FLAGS & ~os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=directory)
    except PermissionError:
        return os.open(name, _PASS_FLAGS, dir_fd=directory)
