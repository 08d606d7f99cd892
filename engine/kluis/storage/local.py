"""A folder on this machine as a storage.

Every object is one file, made with `open`, `write` and `fsync`, and read with `pread`:
never mapped, since a failing stick turns a page fault into SIGBUS. `docs/format.md`,
"Commit and barriers", says why each fsync is where it is.
"""

from __future__ import annotations

import base64
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self, TypeAlias

from kluis.errors import DamageError, NotFoundError, StorageError
from kluis.storage import explain
from kluis.storage.base import (
    LEFTOVER_ENDING,
    LOCK,
    MAX_NAME_CHARACTERS,
    MAX_OBJECT_BYTES,
    Buffer,
    Storage,
    check_folder,
    check_name,
    check_range,
    is_last,
    is_leftover,
    is_name,
    wanted_by,
)
from kluis.storage.calls import Calls
from kluis.storage.claim import Claim
from kluis.storage.folders import Folders, make_path, parent
from kluis.storage.presence import Presence
from kluis.surroundings import Machine, Surroundings

# A write below this is gathered with its neighbours: on FUSE each is a request of its own.
SMALL_WRITE_BYTES = 64 * 1024
GATHERED_WRITE_BYTES = 1024 * 1024

# 64 bits: two writers of one name at once do not meet, and if they do both try again.
RANDOM_BYTES = 8
ATTEMPTS = 5

# What `_fill` calls with the file's name and descriptor once its bytes are durable.
Then: TypeAlias = Callable[[str, int], None]
# What gives a file its name: (temporary name, name, folder's descriptor, own descriptor).
NameIt: TypeAlias = Callable[[str, str, int, int], None]


class _DiscardedError(Exception):
    """Somebody removed a temporary file before it had its name."""


class LocalStorage(Storage):
    """The files below `path`, which has to exist; 0600, in folders of 0700.

    `durable=False` leaves every fsync out, for a client's cache. Works relative to the
    descriptor of its folder: a medium that is changed for another is noticed, not written to.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durable: bool = True,
        calls: Calls | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._durable = durable
        self._calls = Calls() if calls is None else calls
        self._surroundings = Machine() if surroundings is None else surroundings
        try:
            self._folders = Folders(self._calls.root(self.path), self._calls, durable=durable)
        except OSError as error:
            raise explain.explain_root(error, self.location) from error
        self._presence = Presence(self.path, self._calls, self._folders, self._surroundings)
        self._claim = Claim(self._calls, self._surroundings, self._folders.root)

    @classmethod
    def make(
        cls,
        path: str | os.PathLike[str],
        *,
        durable: bool = True,
        calls: Calls | None = None,
        surroundings: Surroundings | None = None,
    ) -> Self:
        """A storage in a folder that is made, durable, if it is missing; so are those above it."""
        top = os.path.abspath(os.fspath(path))
        try:
            make_path(top, durable=durable)
        except OSError as error:
            raise explain.explain_root(error, explain.shown(top)) from error
        return cls(top, durable=durable, calls=calls, surroundings=surroundings)

    @property
    def location(self) -> str:
        return explain.shown(self.path)

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        check_name(name)
        folder, last = parent(name), name.rpartition("/")[2]
        with self._doing("write", name), self._folders.touching(folder) as at:
            self._fill(self._calls.create(last, at), last, at, parts)

    def barrier(self) -> None:
        with self._doing("make durable", ""):
            self._folders.barrier()

    def create(self, name: str, data: Buffer) -> None:
        check_name(name)
        folder, last = parent(name), name.rpartition("/")[2]
        with self._doing("create", name):
            with self._folders.touching(folder) as at:
                if self._is_there(last, at):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
                self._publish(last, at, data, self._claim.first)
            self._folders.barrier()

    def replace(self, name: str, data: Buffer, *, present: bool = False) -> None:
        check_name(name)
        folder, last = parent(name), name.rpartition("/")[2]
        with self._doing("replace", name):
            with self._folders.touching(folder) as at:
                if present:
                    self._calls.stat(last, at)
                self._publish(last, at, data, self._instead if present else self._over)
            self._folders.barrier()

    def get(self, name: str, limit: int = MAX_OBJECT_BYTES) -> bytes:
        with self._reading(name) as (fd, size):
            if size > limit:
                raise DamageError(
                    f"{name} in {self.location} has {size} bytes, and no such object has more than"
                    f" {limit}: damaged or foreign"
                )
            data = self._pread(fd, size, 0)
            self._presence.noted(name, size, 0)
            return data

    def ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        for offset, length in ranges:
            check_range(offset, length)
        with self._reading(name) as (fd, size):
            # Never more than is there: a length may come from damaged bytes.
            found = [
                self._pread(fd, max(0, min(length, size - offset)), offset)
                for offset, length in ranges
            ]
            if ranges and found[0]:
                self._presence.noted(name, size, ranges[0][0])
            return found

    def size(self, name: str) -> int:
        with self._at("look at", name) as (last, at):
            return self._plain_size(name, self._calls.stat(last, at))

    def exists(self, name: str) -> bool:
        try:
            with self._at("look for", name) as (last, at):
                self._calls.stat(last, at)
        except NotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for name, size in self._walk(check_folder(prefix)):
            if size is not None and not is_leftover(name):
                yield name, size

    def names(self, prefix: str) -> Iterator[str]:
        listed = self._walk(check_folder(prefix), sizes=False)
        return (name for name, size in listed if size is not None and not is_leftover(name))

    def leftovers(self, prefix: str) -> Iterator[tuple[str, int]]:
        for name, size in self._walk(check_folder(prefix)):
            if size is not None and is_leftover(name):
                yield name, size

    def strays(self, prefix: str) -> Iterator[str]:
        return (name for name, size in self._walk(check_folder(prefix)) if size is None)

    def delete(self, name: str) -> None:
        check_name(name)
        doing, touching = self._doing("delete", name), self._folders.touching
        with suppress(NotFoundError), doing, touching(parent(name), make=False) as at:
            self._claim.remove(name.rpartition("/")[2], at)

    def discard(self, leftover: str) -> bool:
        if not (is_name(leftover) and is_leftover(leftover)):
            check_name(f"{leftover}{LEFTOVER_ENDING}")  # no leftover: says so
        wanted = wanted_by(leftover)
        with suppress(NotFoundError), self._at("discard", leftover) as (last, at):
            shared = bool(wanted) and self._is_there(wanted.rpartition("/")[2], at)
            if self._claim.sound or not shared:
                self._calls.unlink(last, at)
                return True
        return False

    def sync(self, name: str) -> None:
        with self._reading(name) as (fd, _):
            if self._durable:
                self._calls.fsync(fd)
        with self._doing("make durable", name):
            with self._folders.touching(parent(name)):
                pass
            self._folders.barrier()

    def make_folders(self, folders: Iterable[str]) -> None:
        with self._doing("make the folders of", ""):
            for folder in folders:
                self._folders.make(check_folder(folder))
            self._folders.barrier()

    def trust_folders(self, folders: Iterable[str]) -> None:
        self._folders.trust(folders)

    def free_space(self) -> int | None:
        with self._doing("ask for the free space of", ""):
            space = self._calls.space(self._folders.root)
        # Some FUSE drivers know nothing and say nought of nought.
        return space.f_bavail * space.f_frsize if space.f_blocks else None

    def identity(self) -> tuple[int, int] | None:
        with self._doing("look at", ""):
            status = os.fstat(self._folders.root)
        return status.st_dev, status.st_ino

    def modified_ns(self, name: str) -> int:
        """When the object was written, by the clock that this file system uses."""
        with self._at("look at", name) as (last, at):
            return self._calls.stat(last, at).st_mtime_ns

    def close(self) -> None:
        self._folders.close()

    @contextmanager
    def _doing(self, action: str, name: str) -> Iterator[None]:
        """Turns an OSError in the block into the error to raise for it."""
        try:
            yield
        except OSError as error:
            raise self._presence.explain(error, action, name) from error

    @contextmanager
    def _at(self, action: str, name: str) -> Iterator[tuple[str, int]]:
        """The last part of the name and its folder's descriptor, to read."""
        if not is_leftover(name):
            check_name(name)
        with self._doing(action, name), self._folders.opened(parent(name)) as at:
            yield name.rpartition("/")[2], at

    @contextmanager
    def _reading(self, name: str) -> Iterator[tuple[int, int]]:
        """Descriptor and size of a plain file that is there."""
        with self._at("read", name) as (last, at):
            try:
                fd = self._calls.open(last, at)
            except OSError as error:
                if error.errno == errno.ENXIO:  # also what a socket says, on any medium
                    self._plain_size(name, self._calls.stat(last, at))
                raise
            try:
                yield fd, self._plain_size(name, self._calls.fstat(fd))
            finally:
                self._calls.close(fd)

    def _plain_size(self, name: str, status: os.stat_result) -> int:
        if not stat.S_ISREG(status.st_mode):
            raise explain.not_plain(name, self.location)
        return status.st_size

    def _is_there(self, last: str, at: int) -> bool:
        try:
            self._calls.stat(last, at)
        except FileNotFoundError:
            return False
        return True

    def _pread(self, fd: int, length: int, offset: int) -> bytes:
        data = self._calls.read(fd, length, offset) if length else b""
        if len(data) == length or not data:
            return data
        parts = [data]
        have = len(data)
        while have < length and (data := self._calls.read(fd, length - have, offset + have)):
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def _walk(self, folder: str, sizes: bool = True) -> Iterator[tuple[str, int | None]]:
        """Each file below a folder and its size, folder by folder; None for what is a stray."""
        pending = [folder]
        while pending:
            where = pending.pop()
            try:
                with self._doing("list", where), self._folders.opened(where) as at:
                    entries = self._calls.entries(at, sizes)
            except NotFoundError:
                continue
            for last, mode, size in entries:
                name = f"{where}/{last}" if where else last
                kind = stat.S_IFMT(mode)
                long = len(name) > MAX_NAME_CHARACTERS
                if long or not is_last(last) or kind not in (stat.S_IFDIR, stat.S_IFREG):
                    yield name, None
                elif kind == stat.S_IFDIR:
                    pending.append(name)
                elif name != LOCK:
                    yield name, size

    def _fill(
        self, fd: int, last: str, at: int, parts: Sequence[Buffer], then: Then | None = None
    ) -> None:
        """Writes a new file, makes all but its name durable, lets `then` go on, and closes it.

        On any error the file is removed if that is possible: its fsync is not tried again.
        """
        try:
            try:
                for part in gathered(parts):
                    self._write(fd, part)
                if self._durable:
                    self._calls.fsync(fd)
                if then is not None:
                    then(last, fd)
            finally:
                self._calls.close(fd)
        except BaseException:
            with suppress(OSError):
                self._calls.unlink(last, at)
            raise

    def _write(self, fd: int, part: Buffer) -> None:
        view = memoryview(part).cast("B")
        while view:
            view = view[self._calls.write(fd, view) :]

    def _publish(self, last: str, at: int, data: Buffer, name_it: NameIt) -> None:
        """Writes a file under a temporary name and lets `name_it` give it its own.

        Again under another if that one was taken, or was removed as if its writer had died. The
        second fsync is for FAT: there the entry of the new name carries length and place.
        """

        def then(temporary: str, fd: int) -> None:
            try:
                name_it(temporary, last, at, fd)
            except FileNotFoundError:
                if self._is_there(temporary, at):
                    raise
                raise _DiscardedError from None
            if self._durable:
                self._calls.fsync(fd)

        for _ in range(ATTEMPTS):
            random = base64.b32encode(self._surroundings.random(RANDOM_BYTES)).decode("ascii")
            temporary = f"{last}.{random.rstrip('=').lower()}{LEFTOVER_ENDING}"
            try:
                fd = self._calls.create(temporary, at)
            except FileExistsError:
                continue
            try:
                return self._fill(fd, temporary, at, [data], then)
            except _DiscardedError:
                continue
        raise StorageError(
            f"cannot write {last} in {self.location}: {ATTEMPTS} times another process took or"
            " removed the temporary file; see what else works in that folder, then repeat"
        )

    def _over(self, temporary: str, last: str, at: int, _fd: int) -> None:
        self._calls.rename(temporary, last, at)

    def _instead(self, temporary: str, last: str, at: int, _fd: int) -> None:
        if self._claim.instead(temporary, last, at):
            self._calls.unlink(temporary, at)


def gathered(parts: Iterable[Buffer]) -> Iterator[Buffer]:
    """The same bytes: small parts joined with their neighbours, large ones as they are."""
    small = bytearray()
    for part in parts:
        size = memoryview(part).nbytes
        if size < SMALL_WRITE_BYTES:
            small += part
        if small and (size >= SMALL_WRITE_BYTES or len(small) >= GATHERED_WRITE_BYTES):
            yield small
            small = bytearray()
        if size >= SMALL_WRITE_BYTES:
            yield part
    if small:
        yield small
