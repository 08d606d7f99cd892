"""What every storage guarantees; `tests/contract` holds each implementation to it.

A storage keeps objects: bytes under a name. It knows nothing of backup. Objects are
written once: only `replace` changes one, and only repair and a client's cache use that.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from kluis.errors import FormatError

Buffer: TypeAlias = bytes | bytearray | memoryview

# Every object is under 2 GiB (docs/format.md).
MAX_OBJECT_BYTES = 2**31 - 1

# Taken while a file system that has neither a rename that refuses nor links decides who was first.
LOCK = "lock"
README = "README"
LEFTOVER_ENDING = ".tmp"
# ".", 13 characters of randomness and ".tmp" have to fit behind it into the 255 of most systems.
MAX_PART_CHARACTERS = 236
MAX_NAME_CHARACTERS = 1000

# No dot at the start (hidden), none at the end (FAT and NTFS drop it).
_PART = re.compile(r"[a-z0-9-](?:[a-z0-9.-]*[a-z0-9-])?")


def is_leftover(name: str) -> bool:
    """Whether the name is one that a writer uses until the object is whole."""
    return name.endswith(LEFTOVER_ENDING)


def wanted_by(leftover: str) -> str:
    """The name that the writer of a leftover was about to give it; "" if there is none."""
    name, _, random = leftover.removesuffix(LEFTOVER_ENDING).rpartition(".")
    return name if random and not name.endswith("/") else ""


def is_name(name: str) -> bool:
    """Whether an object or a leftover can have this name: `[a-z0-9/.-]`, or README at the end."""
    if len(name) > MAX_NAME_CHARACTERS:
        return False
    *folders, last = name.split("/")
    return is_last(last) and all(map(_is_part, folders))


def is_last(part: str) -> bool:
    """Whether the name of an object or a leftover can end with this part."""
    return part == README or _is_part(part)


def _is_part(part: str) -> bool:
    return len(part) <= MAX_PART_CHARACTERS + 18 and _PART.fullmatch(part) is not None


def check_name(name: str) -> str:
    """`name`, if an object can have it; else FormatError, before anything is touched."""
    longest = max(map(len, name.split("/")))
    if not is_name(name) or is_leftover(name) or longest > MAX_PART_CHARACTERS or name == LOCK:
        raise FormatError(f"{name!r} is not a name that kluis gives to an object; nothing was done")
    return name


def check_folder(prefix: str) -> str:
    """The folder that `prefix` names, without a slash at its end; "" is the whole storage."""
    folder = prefix.removesuffix("/")
    if prefix and (not is_name(folder) or folder.endswith(README)):
        raise FormatError(f"{prefix!r} is not a folder that kluis makes; nothing was done")
    return folder


def check_range(offset: int, length: int) -> None:
    """Raises FormatError for a range that no object can hold."""
    if not (0 <= offset <= MAX_OBJECT_BYTES and 0 <= length <= MAX_OBJECT_BYTES):
        raise FormatError(f"bytes {offset} to {offset + length} are in no object; nothing was read")


class Storage(ABC):
    """A place for named bytes. All methods may be called from several threads at once.

    Every method raises: FormatError for a name that `check_name` refuses, NoSpaceError when
    the medium is full, MediumGoneError when it is not connected (any more), and StorageError
    for everything else that the medium or its driver reports. No error is swallowed.
    """

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the storage is, in words for a person."""

    @abstractmethod
    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Stores a new object, the parts back to back; durable once `barrier` has returned.

        Readers may see it torn before that, also after a crash: its name or a signature in it
        has to tell. The buffers are only read, not copied where they are large, and not kept.
        AlreadyExistsError if the name is taken, and the old object is untouched. After any
        other error there is normally nothing under the name, at worst a torn object.
        """

    @abstractmethod
    def barrier(self) -> None:
        """Returns when everything put or deleted before the call is durable.

        Once it has failed it fails for ever: what the medium lost cannot be known from
        a second try, so the caller has to begin again with a new storage.
        """

    @abstractmethod
    def create(self, name: str, data: Buffer) -> None:
        """Creates an object at once and whole, or not at all; durable on return.

        Of all that try, threads, processes or machines, exactly one succeeds; the others get
        AlreadyExistsError. No reader sees a part of it, nor does a crash leave one, except that
        a power cut in the middle of the call may leave an empty object on FAT. After any other
        error it is open whether the object is there: read it.
        """

    @abstractmethod
    def replace(self, name: str, data: Buffer, *, present: bool = False) -> None:
        """Puts an object in the place of one that may be there, whole; durable on return.

        A power cut in the middle of the call leaves the old or the new, on FAT maybe neither.
        For repair and for a client's cache only. With `present`, NotFoundError if there is
        none (any more), and then nothing is created, also when somebody deletes meanwhile.
        """

    @abstractmethod
    def get(self, name: str, limit: int = MAX_OBJECT_BYTES) -> bytes:
        """The whole object.

        NotFoundError if there is none; DamageError if it has more than `limit` bytes, without
        reading it, or if what has the name is no plain file.
        """

    @abstractmethod
    def ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """For each (offset, length) what `read` returns, in the same order."""

    @abstractmethod
    def size(self, name: str) -> int:
        """The object's length in bytes. NotFoundError, DamageError as for `get`."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is anything under the name."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of each object below a folder, at any depth; "" is everything.

        A folder that does not exist is empty. What is there during the whole call is listed;
        what comes or goes meanwhile may be. Neither leftovers nor the lock are objects.
        """

    def names(self, prefix: str) -> Iterator[str]:
        """The names that `list` gives, where that is cheaper: no object is asked for its size."""
        return (name for name, _ in self.list(prefix))

    @abstractmethod
    def leftovers(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of what writers that died left unfinished, and of what is being written."""

    @abstractmethod
    def strays(self, prefix: str) -> Iterator[str]:
        """What lies below a folder and is nothing of a storage's.

        Foreign names (a folder as a whole), links, devices. Bytes that are not UTF-8 are
        surrogate escapes.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Removes an object, or nothing if there is none; durable once `barrier` has returned."""

    @abstractmethod
    def discard(self, leftover: str) -> bool:
        """Removes a leftover and says whether it did.

        It stays where removing it could hurt: on a medium on which it may share its bytes with
        the object it was to become, and that object exists.
        """

    @abstractmethod
    def sync(self, name: str) -> None:
        """Makes an object that is there durable, whoever wrote it. NotFoundError if it is not."""

    @abstractmethod
    def make_folders(self, folders: Iterable[str]) -> None:
        """Makes sure that the folders exist, durable on return."""

    @abstractmethod
    def trust_folders(self, folders: Iterable[str]) -> None:
        """Takes the caller's word that the folders, if they exist, are durable.

        Spares the sync of the folders above when the first object is put into each. Without
        it, who finds a folder cannot know whether its maker came to sync it.
        """

    @abstractmethod
    def free_space(self) -> int | None:
        """Bytes that can still be stored; None where that is not known."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what the storage holds of the machine; it cannot be used afterwards."""

    def identity(self) -> tuple[int, int] | None:
        """(device, inode) of the folder that the objects lie in; None where there is none."""
        return None

    def read(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer (also none) at the object's end.

        NotFoundError, DamageError as for `get`.
        """
        return self.ranges(name, [(offset, length)])[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
