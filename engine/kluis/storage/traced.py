"""What a storage was asked to do, recorded: call by call of the system, or object by object."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from kluis.frozen import frozen
from kluis.storage.base import MAX_OBJECT_BYTES, Buffer, Storage
from kluis.storage.between import Between
from kluis.storage.calls import Calls

Kind: TypeAlias = Literal[
    "mkdir", "create", "write", "fsync", "fsync-folder", "rename", "exchange", "link", "unlink",
    "mark",
]  # fmt: skip


@frozen
class Step:
    """One change to the medium, or a mark that the test set; paths are relative to the root."""

    kind: Kind
    path: str
    other: str = ""  # the new path of a rename or link, the second of an exchange
    data: bytes = b""  # of a write, which goes to the end of the file


@dataclass(slots=True)
class _File:
    paths: list[str]


class TracedCalls(Between):
    """Makes the calls of `inner` and records those that change the medium and succeed.

    One trace may serve several storages on one root, in threads too: a lock makes the order
    recorded the order that happened. A write or fsync carries the name that the file has then.
    """

    def __init__(self, inner: Calls | None = None) -> None:
        super().__init__(inner)
        self.steps: list[Step] = []
        self._lock = threading.RLock()
        self._files: dict[str, _File] = {}
        self._open: dict[int, _File] = {}
        self._folders: dict[int, str] = {}

    def mark(self, text: str) -> None:
        """Notes what the caller knows at this point, such as "acknowledged"."""
        with self._lock:
            self.steps.append(Step("mark", text))

    def root(self, path: str) -> int:
        with self._lock:
            fd = super().root(path)
            self._folders[fd] = ""
            return fd

    def folder(self, name: str, at: int) -> int:
        with self._lock:
            fd = super().folder(name, at)
            self._folders[fd] = self._path(name, at)
            return fd

    def mkdir(self, name: str, at: int) -> None:
        with self._lock:
            super().mkdir(name, at)
            self.steps.append(Step("mkdir", self._path(name, at)))

    def create(self, name: str, at: int) -> int:
        with self._lock:
            fd = super().create(name, at)
            path = self._path(name, at)
            self._open[fd] = self._files[path] = _File([path])
            self.steps.append(Step("create", path))
            return fd

    def open(self, name: str, at: int) -> int:
        with self._lock:
            fd = super().open(name, at)
            path = self._path(name, at)
            self._open[fd] = self._files.setdefault(path, _File([path]))
            return fd

    def write(self, fd: int, data: Buffer) -> int:
        with self._lock:
            count = super().write(fd, data)
            if paths := self._open[fd].paths:
                written = bytes(memoryview(data)[:count])
                self.steps.append(Step("write", paths[0], data=written))
            return count

    def fsync(self, fd: int) -> None:
        with self._lock:
            super().fsync(fd)
            if fd in self._folders:
                self.steps.append(Step("fsync-folder", self._folders[fd]))
            elif paths := self._open[fd].paths:
                self.steps.append(Step("fsync", paths[0]))

    def close(self, fd: int) -> None:
        with self._lock:
            self._open.pop(fd, None)
            self._folders.pop(fd, None)
            super().close(fd)

    def rename(self, old: str, new: str, at: int) -> None:
        with self._lock:
            super().rename(old, new, at)
            self._renamed(old, new, at)

    def rename_noreplace(self, old: str, new: str, at: int) -> None:
        with self._lock:
            super().rename_noreplace(old, new, at)
            self._renamed(old, new, at)

    def exchange(self, old: str, new: str, at: int) -> None:
        with self._lock:
            super().exchange(old, new, at)
            one, two = self._path(old, at), self._path(new, at)
            first, second = self._taken(one), self._taken(two)
            self._given(second, one)
            self._given(first, two)
            self.steps.append(Step("exchange", one, two))

    def link(self, old: str, new: str, at: int) -> None:
        with self._lock:
            super().link(old, new, at)
            one, two = self._path(old, at), self._path(new, at)
            self._given(self._files.setdefault(one, _File([one])), two)
            self.steps.append(Step("link", one, two))

    def unlink(self, name: str, at: int) -> None:
        with self._lock:
            super().unlink(name, at)
            path = self._path(name, at)
            self._taken(path)
            self.steps.append(Step("unlink", path))

    def _path(self, name: str, at: int) -> str:
        above = self._folders[at]
        if name == ".":
            return above
        return f"{above}/{name}" if above else name

    def _renamed(self, old: str, new: str, at: int) -> None:
        one, two = self._path(old, at), self._path(new, at)
        moved = self._taken(one)
        self._taken(two)
        self._given(moved, two)
        self.steps.append(Step("rename", one, two))

    def _taken(self, path: str) -> _File:
        """The file that had the path until now."""
        file = self._files.pop(path, _File([path]))
        file.paths.remove(path)
        return file

    def _given(self, file: _File, path: str) -> None:
        file.paths.append(path)
        self._files[path] = file


@frozen
class Request:
    """One call of a storage's method, on one object; a barrier has none."""

    method: str
    name: str = ""


class TracedStorage(Storage):
    """Passes every request on to `inner`, after recording it and asking `before`.

    What `before` raises is raised instead of the call: a fault; where it waits, another
    client goes first: an interleaving.
    """

    def __init__(self, inner: Storage, before: Callable[[Request], None] | None = None) -> None:
        self.inner = inner
        self.requests: list[Request] = []
        self._before = before

    @property
    def location(self) -> str:
        return self.inner.location

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        self._note("put", name)
        self.inner.put(name, parts)

    def barrier(self) -> None:
        self._note("barrier")
        self.inner.barrier()

    def create(self, name: str, data: Buffer) -> None:
        self._note("create", name)
        self.inner.create(name, data)

    def replace(self, name: str, data: Buffer, *, present: bool = False) -> None:
        self._note("replace", name)
        self.inner.replace(name, data, present=present)

    def get(self, name: str, limit: int = MAX_OBJECT_BYTES) -> bytes:
        self._note("get", name)
        return self.inner.get(name, limit)

    def ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self._note("ranges", name)
        return self.inner.ranges(name, ranges)

    def size(self, name: str) -> int:
        self._note("size", name)
        return self.inner.size(name)

    def exists(self, name: str) -> bool:
        self._note("exists", name)
        return self.inner.exists(name)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._note("list", prefix)
        return self.inner.list(prefix)

    def leftovers(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._note("leftovers", prefix)
        return self.inner.leftovers(prefix)

    def strays(self, prefix: str) -> Iterator[str]:
        self._note("strays", prefix)
        return self.inner.strays(prefix)

    def delete(self, name: str) -> None:
        self._note("delete", name)
        self.inner.delete(name)

    def discard(self, leftover: str) -> bool:
        self._note("discard", leftover)
        return self.inner.discard(leftover)

    def sync(self, name: str) -> None:
        self._note("sync", name)
        self.inner.sync(name)

    def make_folders(self, folders: Iterable[str]) -> None:
        self._note("make_folders")
        self.inner.make_folders(folders)

    def trust_folders(self, folders: Iterable[str]) -> None:
        self._note("trust_folders")
        self.inner.trust_folders(folders)

    def free_space(self) -> int | None:
        self._note("free_space")
        return self.inner.free_space()

    def identity(self) -> tuple[int, int] | None:
        return self.inner.identity()

    def close(self) -> None:
        self.inner.close()

    def _note(self, method: str, name: str = "") -> None:
        request = Request(method, name)
        self.requests.append(request)
        if self._before is not None:
            self._before(request)
