"""One maker for each storage that the contract suite holds to the same guarantees."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from kluis.storage.base import Storage
from kluis.storage.between import Unsynced
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import TracedCalls, TracedStorage

Maker = Callable[[Path], Storage]

# vfat of older kernels: no rename that refuses. exfat-fuse: no links either.
NO_REFUSING_RENAME = Fault("rename_noreplace", 0, errno=errno.EINVAL, lasting=True)
NO_LINK = Fault("link", 0, errno=errno.EPERM, lasting=True)


def local(folder: Path) -> LocalStorage:
    return LocalStorage.make(folder)


def without_fsync(folder: Path) -> LocalStorage:
    return LocalStorage.make(folder, durable=False)


def on_links(folder: Path) -> LocalStorage:
    return LocalStorage.make(folder, calls=FaultyCalls([NO_REFUSING_RENAME], inner=Unsynced()))


def on_locks(folder: Path) -> LocalStorage:
    return LocalStorage.make(
        folder, calls=FaultyCalls([NO_REFUSING_RENAME, NO_LINK], inner=Unsynced())
    )


def traced(folder: Path) -> LocalStorage:
    return LocalStorage.make(folder, calls=TracedCalls())


def faulty(folder: Path) -> LocalStorage:
    return LocalStorage.make(folder, calls=FaultyCalls(inner=TracedCalls(Unsynced())))


def short_calls(folder: Path) -> LocalStorage:
    """Every write and every read does a part only, which the system is free to do."""
    shorts = [Fault(kind, 0, short=True, lasting=True) for kind in ("read", "write")]
    return LocalStorage.make(folder, calls=FaultyCalls(shorts, inner=Unsynced()))


def memory(folder: Path) -> MemoryStorage:
    return MemoryStorage()


def traced_memory(folder: Path) -> TracedStorage:
    return TracedStorage(MemoryStorage())


LOCALS: dict[str, Maker] = {
    "local": local,
    "without-fsync": without_fsync,
    "on-links": on_links,
    "on-locks": on_locks,
    "traced": traced,
    "faulty": faulty,
    "short-calls": short_calls,
}
ALL: dict[str, Maker] = {**LOCALS, "memory": memory, "traced-memory": traced_memory}
