"""Faults between a local storage and the system, by index or from a seed.

What fails is the real code on real files: a full disk, a failing stick, a reply that was
lost, a bit that flipped, a process that is gone at the nth call.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from kluis.frozen import frozen
from kluis.storage.base import Buffer
from kluis.storage.between import Between
from kluis.storage.calls import Calls

T = TypeVar("T")

# The calls that change the medium: where a kill can leave something half done.
CHANGES = (
    "mkdir", "create", "write", "fsync", "rename", "rename_noreplace", "exchange", "link",
    "unlink",
)  # fmt: skip


class Killed(BaseException):
    """The process is gone: no handler may do anything any more, and no call does."""


@frozen
class Fault:
    """What happens at the `index`-th call (from 0) of a kind; "" counts those that change.

    `errno` fails it, `lasting` also every later one of that kind; `after`: only once it has
    been done, as when a reply is lost. `flip`: one bit of the data is wrong. `short`: a write
    or read is cut short. `kill`: the process ends before the call, a write half done.
    """

    kind: str
    index: int
    errno: int = 0
    lasting: bool = False
    after: bool = False
    flip: bool = False
    short: bool = False
    kill: bool = False


class Chance:
    """Numbers that a seed decides, the same on every machine and in every version of Python."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = 0

    def below(self, limit: int) -> int:
        """One of 0 to limit - 1."""
        self._drawn += 1
        drawn = hashlib.blake2b(f"{self._seed}/{self._drawn}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn, "little") % limit


class FaultyCalls(Between):
    """Makes the calls of `inner`, with the faults given; those met are in `hit`."""

    def __init__(
        self, faults: Iterable[Fault] = (), *, seed: int = 0, inner: Calls | None = None
    ) -> None:
        super().__init__(inner)
        self.faults = list(faults)
        self.hit: list[Fault] = []
        self.dead = False
        self._chance = Chance(seed)
        self._lock = threading.RLock()

    def around(self, kind: str, call: Callable[[], T]) -> T:
        fault = self._due(kind)
        if fault is None:
            return call()
        if fault.kill:
            self.dead = True
            raise Killed
        if fault.errno and not fault.after:
            if kind == "close":
                call()  # the descriptor is free, whatever close says
            raise OSError(fault.errno, os.strerror(fault.errno))
        result = call()
        if fault.errno:
            raise OSError(fault.errno, os.strerror(fault.errno))
        return result

    def close(self, fd: int) -> None:
        if self.dead:
            return self.inner.close(fd)
        return super().close(fd)

    def write(self, fd: int, data: Buffer) -> int:
        fault = self._due("write")
        if fault is None:
            return self.inner.write(fd, data)
        view = memoryview(data)
        if fault.kill:
            self.inner.write(fd, view[: self._chance.below(len(view) + 1)])
            self.dead = True
            raise Killed
        if fault.errno:
            if fault.after or self._chance.below(2):
                self.inner.write(fd, view[: self._chance.below(len(view) + 1)])
            raise OSError(fault.errno, os.strerror(fault.errno))
        if fault.flip:
            return self.inner.write(fd, self._flipped(view))
        if fault.short:
            view = view[: self._chance.below(len(view)) + 1]
        return self.inner.write(fd, view)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        fault = self._due("read")
        if fault is not None and fault.kill:
            self.dead = True
            raise Killed
        if fault is not None and fault.errno:
            raise OSError(fault.errno, os.strerror(fault.errno))
        if fault is not None and fault.short:
            length = self._chance.below(length) + 1
        data = self.inner.read(fd, length, offset)
        return self._flipped(memoryview(data)) if fault is not None and fault.flip else data

    def _due(self, kind: str) -> Fault | None:
        """Counts the call and returns the fault that it meets."""
        with self._lock:
            if self.dead and kind != "close":
                raise Killed
            kinds = (kind, "") if kind in CHANGES else (kind,)
            now = {name: self.count[name] for name in kinds}
            self.count.update(kinds)
            for fault in self.faults:
                at = now.get(fault.kind, -1)
                if at == fault.index or (fault.lasting and at > fault.index):
                    self.hit.append(fault)
                    return fault
        return None

    def _flipped(self, data: memoryview) -> bytes:
        wrong = bytearray(data)
        if wrong:
            at = self._chance.below(len(wrong))
            wrong[at] ^= 1 << self._chance.below(8)
        return bytes(wrong)


def seeded_faults(seed: int, number: int, errnos: tuple[int, ...], calls: int) -> list[Fault]:
    """`number` faults that the seed decides, among the first `calls` calls of each kind."""
    chance = Chance(seed)
    kinds = ("create", "write", "fsync", "read", "close", "entries", "stat", "rename_noreplace")
    return [
        Fault(
            kind=kinds[chance.below(len(kinds))],
            index=chance.below(calls),
            errno=errnos[chance.below(len(errnos))],
            lasting=bool(chance.below(2)),
        )
        for _ in range(number)
    ]
