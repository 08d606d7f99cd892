"""Small objects and their twins: written together, read from whichever copy is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kluis.errors import FormatError, NotFoundError, UnreadableError
from kluis.format import names
from kluis.frozen import frozen
from kluis.storage.base import Storage

T = TypeVar("T")

# Nothing that has a twin is larger: checkpoints and use maps grow to some MB.
SMALL_LIMIT_BYTES = 1 << 28


@frozen
class Copies:
    """What lies under a name and under its twin's; None where nothing (readable) does."""

    first: bytes | None
    twin: bytes | None


def put_with_twin(storage: Storage, name: str, data: bytes) -> None:
    """Stores a new object and its twin; durable after the storage's next barrier."""
    storage.put(name, [data])
    storage.put(names.twin(name), [data])


def read_or_none(storage: Storage, name: str) -> bytes | None:
    """The object's bytes, or None if there is none of that name, or none that can be read."""
    try:
        return storage.get(name, SMALL_LIMIT_BYTES)
    except (NotFoundError, UnreadableError):
        return None


def read_copies(storage: Storage, name: str) -> Copies:
    """Both copies of a small object."""
    return Copies(read_or_none(storage, name), read_or_none(storage, names.twin(name)))


def read_whole(storage: Storage, name: str, decode: Callable[[bytes, str], T]) -> T:
    """The decoded object, from its twin where the first copy is missing or damaged.

    Raises `NotFoundError` if neither copy exists, `FormatError` if neither is whole.
    """
    problem: Exception | None = None
    for place in (name, names.twin(name)):
        data = read_or_none(storage, place)
        if data is None:
            continue
        try:
            return decode(data, place)
        except FormatError as error:
            problem = problem or error
    if problem is not None:
        raise FormatError(
            f"{name} is damaged and so is its twin: {problem}. Next: kluis verify, kluis repair"
        ) from problem
    raise NotFoundError(f"{name} is missing, and so is its twin. Next: kluis verify, kluis repair")


def listed(storage: Storage, folder: str) -> list[str]:
    """The names in a folder of small objects, twins included, each once, sorted."""
    found = {name for name, _ in storage.list(folder)}
    found |= {name.removeprefix(f"{names.TWINS}/") for name, _ in storage.list(names.twin(folder))}
    return sorted(found)
