"""A storage in memory: the contract without a medium, and the power cut as a method."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kluis.errors import AlreadyExistsError, DamageError, NoSpaceError, NotFoundError, StorageError
from kluis.storage.base import (
    LOCK,
    MAX_OBJECT_BYTES,
    Buffer,
    Storage,
    check_folder,
    check_name,
    check_range,
    is_leftover,
    is_name,
)

SECTOR_BYTES = 512


class MemoryStorage(Storage):
    """Objects in a dict; `files` may hold leftovers and strays. Full at `capacity` bytes."""

    def __init__(
        self, files: Mapping[str, bytes] | None = None, *, capacity: int | None = None
    ) -> None:
        self._files = dict(files or {})
        self._capacity = capacity
        # What the last barrier left of each name touched since; None where there was nothing.
        self._before: dict[str, bytes | None] = {}
        self._lock = threading.RLock()

    @property
    def location(self) -> str:
        return "memory"

    def files(self) -> dict[str, bytes]:
        """All that is stored, as it is now."""
        with self._lock:
            return dict(self._files)

    def after_power_cut(self, chance: random.Random) -> MemoryStorage:
        """What a power cut may leave, decided by `chance`.

        Each write and deletion since the last barrier is there or not, and a new object may be
        short, or torn in sectors of zeros.
        """
        with self._lock:
            left = dict(self._files)
            for name, before in sorted(self._before.items()):
                choices = [before, left.get(name)]
                if name in left and before is None:
                    choices.append(_torn(left[name], chance))
                chosen = chance.choice(choices)
                left.pop(name, None)
                if chosen is not None:
                    left[name] = chosen
        return MemoryStorage(left, capacity=self._capacity)

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        check_name(name)
        data = b"".join(parts)
        with self._lock:
            self._check_new(name)
            self._check_space(name, len(data))
            self._remember(name)
            self._files[name] = data

    def barrier(self) -> None:
        with self._lock:
            self._before.clear()

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        with self._lock:
            self._check_new(name)
            self._check_space(name, memoryview(data).nbytes)
            self._files[name] = bytes(data)
            self._before.pop(name, None)

    def replace(self, name: str, data: Buffer, *, present: bool = False) -> None:
        check_name(name)
        with self._lock:
            if present:
                self._found(name)
            self._check_way(name)
            if self._is_folder(name):
                raise StorageError(f"cannot replace {name} in {self.location}: it is a folder")
            old = len(self._files.get(name, b""))
            self._check_space(name, memoryview(data).nbytes - old)
            self._files[name] = bytes(data)
            self._before.pop(name, None)

    def get(self, name: str, limit: int = MAX_OBJECT_BYTES) -> bytes:
        data = self._found(name)
        if len(data) > limit:
            raise DamageError(
                f"{name} in {self.location} has {len(data)} bytes, and no such object has more"
                f" than {limit}: damaged or foreign"
            )
        return data

    def ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        for offset, length in ranges:
            check_range(offset, length)
        data = self._found(name)
        return [data[offset : offset + length] for offset, length in ranges]

    def size(self, name: str) -> int:
        return len(self._found(name))

    def exists(self, name: str) -> bool:
        _check_readable(name)
        with self._lock:
            self._check_way(name)
            return name in self._files or self._is_folder(name)

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        return (
            (name, size)
            for name, size in self._below(prefix)
            if is_name(name) and not is_leftover(name) and name != LOCK
        )

    def leftovers(self, prefix: str) -> Iterator[tuple[str, int]]:
        return (
            (name, size)
            for name, size in self._below(prefix)
            if is_name(name) and is_leftover(name)
        )

    def strays(self, prefix: str) -> Iterator[str]:
        return (name for name, _ in self._below(prefix) if not is_name(name))

    def delete(self, name: str) -> None:
        check_name(name)
        with self._lock:
            self._check_way(name)
            if self._is_folder(name):
                raise StorageError(f"cannot delete {name} in {self.location}: it is a folder")
            if name in self._files:
                self._remember(name)
                del self._files[name]

    def discard(self, leftover: str) -> bool:
        if not (is_name(leftover) and is_leftover(leftover)):
            check_name(f"{leftover}.tmp")
        with self._lock:
            return self._files.pop(leftover, None) is not None

    def sync(self, name: str) -> None:
        self._found(name)
        with self._lock:
            self._before.pop(name, None)

    def make_folders(self, folders: Iterable[str]) -> None:
        for folder in folders:
            check_folder(folder)

    def trust_folders(self, folders: Iterable[str]) -> None:
        for folder in folders:
            check_folder(folder)

    def free_space(self) -> int | None:
        with self._lock:
            if self._capacity is None:
                return None
            return self._capacity - sum(map(len, self._files.values()))

    def close(self) -> None:
        """Keeps the objects: there is nothing to give back, and a test reads them afterwards."""

    def _found(self, name: str) -> bytes:
        _check_readable(name)
        with self._lock:
            self._check_way(name)
            if name in self._files:
                return self._files[name]
            if self._is_folder(name):
                raise DamageError(f"{name} in {self.location} is a folder, so not what was stored")
        raise NotFoundError(f"{name} is not there in {self.location}")

    def _below(self, prefix: str) -> Sequence[tuple[str, int]]:
        folder = check_folder(prefix)
        with self._lock:
            return [
                (name, len(data))
                for name, data in sorted(self._files.items())
                if not folder or name.startswith(f"{folder}/")
            ]

    def _is_folder(self, name: str) -> bool:
        return any(other.startswith(f"{name}/") for other in self._files)

    def _check_way(self, name: str) -> None:
        parts = name.split("/")
        for count in range(1, len(parts)):
            if "/".join(parts[:count]) in self._files:
                raise DamageError(
                    f"cannot reach {name} in {self.location}: a file lies where a folder should be"
                )

    def _check_new(self, name: str) -> None:
        self._check_way(name)
        if name in self._files or self._is_folder(name):
            raise AlreadyExistsError(
                f"{name} exists already in {self.location}; it was left as it is"
            )

    def _check_space(self, name: str, more: int) -> None:
        free = self.free_space()
        if free is not None and more > free:
            raise NoSpaceError(f"cannot write {name} in {self.location}: no space left")

    def _remember(self, name: str) -> None:
        self._before.setdefault(name, self._files.get(name))


def _check_readable(name: str) -> None:
    if not (is_name(name) and is_leftover(name)):
        check_name(name)


def _torn(data: bytes, chance: random.Random) -> bytes:
    """What may be there of bytes that were not made durable."""
    torn = bytearray(data[: chance.randrange(len(data) + 1)])
    for start in range(0, len(torn), SECTOR_BYTES):
        if chance.random() < 0.25:
            torn[start : start + SECTOR_BYTES] = bytes(len(torn[start : start + SECTOR_BYTES]))
    return bytes(torn)
