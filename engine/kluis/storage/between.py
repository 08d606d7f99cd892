"""Standing between a local storage and the system: the ground of traces and of faults."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from kluis.storage.base import Buffer
from kluis.storage.calls import Calls

T = TypeVar("T")


class Between(Calls):
    """Passes every call on to `inner`; `count` says how often each method was called."""

    def __init__(self, inner: Calls | None = None) -> None:
        self.inner = Calls() if inner is None else inner
        self.count: Counter[str] = Counter()

    def around(self, kind: str, call: Callable[[], T]) -> T:
        """What `call` returns; a subclass may do something before, after or instead."""
        self.count[kind] += 1
        return call()

    def root(self, path: str) -> int:
        return self.around("root", lambda: self.inner.root(path))

    def folder(self, name: str, at: int) -> int:
        return self.around("folder", lambda: self.inner.folder(name, at))

    def mkdir(self, name: str, at: int) -> None:
        return self.around("mkdir", lambda: self.inner.mkdir(name, at))

    def create(self, name: str, at: int) -> int:
        return self.around("create", lambda: self.inner.create(name, at))

    def open(self, name: str, at: int) -> int:
        return self.around("open", lambda: self.inner.open(name, at))

    def open_lock(self, name: str, at: int) -> int:
        return self.around("open_lock", lambda: self.inner.open_lock(name, at))

    def write(self, fd: int, data: Buffer) -> int:
        return self.around("write", lambda: self.inner.write(fd, data))

    def read(self, fd: int, length: int, offset: int) -> bytes:
        return self.around("read", lambda: self.inner.read(fd, length, offset))

    def fsync(self, fd: int) -> None:
        return self.around("fsync", lambda: self.inner.fsync(fd))

    def close(self, fd: int) -> None:
        return self.around("close", lambda: self.inner.close(fd))

    def rename(self, old: str, new: str, at: int) -> None:
        return self.around("rename", lambda: self.inner.rename(old, new, at))

    def rename_noreplace(self, old: str, new: str, at: int) -> None:
        return self.around("rename_noreplace", lambda: self.inner.rename_noreplace(old, new, at))

    def exchange(self, old: str, new: str, at: int) -> None:
        return self.around("exchange", lambda: self.inner.exchange(old, new, at))

    def link(self, old: str, new: str, at: int) -> None:
        return self.around("link", lambda: self.inner.link(old, new, at))

    def unlink(self, name: str, at: int) -> None:
        return self.around("unlink", lambda: self.inner.unlink(name, at))

    def stat(self, name: str, at: int) -> os.stat_result:
        return self.around("stat", lambda: self.inner.stat(name, at))

    def fstat(self, fd: int) -> os.stat_result:
        return self.around("fstat", lambda: self.inner.fstat(fd))

    def entries(self, fd: int, sizes: bool = True) -> list[tuple[str, int, int]]:
        return self.around("entries", lambda: self.inner.entries(fd, sizes))

    def names(self, fd: int) -> list[tuple[str, bool]]:
        return self.around("names", lambda: self.inner.names(fd))

    def peek(self, fd: int) -> None:
        return self.around("peek", lambda: self.inner.peek(fd))

    def uncache(self, fd: int) -> None:
        return self.around("uncache", lambda: self.inner.uncache(fd))

    def block_device(self, fd: int) -> str | None:
        return self.around("block_device", lambda: self.inner.block_device(fd))

    def is_device(self, path: str) -> bool:
        return self.around("is_device", lambda: self.inner.is_device(path))

    def is_direct(self, fd: int) -> bool:
        return self.around("is_direct", lambda: self.inner.is_direct(fd))

    def space(self, fd: int) -> os.statvfs_result:
        return self.around("space", lambda: self.inner.space(fd))

    def lock(self, fd: int) -> bool:
        return self.around("lock", lambda: self.inner.lock(fd))


class Unsynced(Between):
    """Makes every call but fsync, which does nothing: for tests that only record or fail it."""

    def fsync(self, fd: int) -> None:
        self.count["fsync"] += 1
