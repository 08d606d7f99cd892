"""What lies in a store and is none of kluis' objects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from kluis.errors import FormatError
from kluis.format import names
from kluis.storage.base import Storage

_FOLDERS = {
    names.INDEX: names.parse_numbered,
    names.PARITY: names.parse_numbered,
    names.SNAPSHOTS: names.parse_numbered,
    names.DOMAINS: names.parse_numbered,
    names.LEDGER: names.parse_number,
    names.KEYRING: names.parse_number,
}
_TWINLESS = (names.PACKS, names.INDEX, names.PARITY, names.QUARANTINE)


def is_known_name(name: str) -> bool:
    """True for names that kluis gives to some object."""
    plain = name.removeprefix(f"{names.TWINS}/")
    folder, _, rest = plain.partition("/")
    if plain != name and folder in _TWINLESS:
        return False
    if not rest:
        return plain in (names.STORE, names.RESERVE, names.LOCK, *names.DOCUMENTS)
    if folder in (names.QUARANTINE, names.LOG):
        return True
    try:
        if folder == names.PACKS:
            names.parse_pack(plain)
            return True
        parse = _FOLDERS.get(folder)
        if parse is None or "/" in rest:
            return False
        parse(plain)
    except FormatError:
        return False
    return True


def foreign(storage: Storage) -> Iterator[str]:
    """Names that neither kluis nor an operating system gives; a folder of others as a whole."""
    found = chain(storage.strays(""), (name for name, _ in storage.list("")))
    return (name for name in found if not (names.is_of_system(name) or is_known_name(name)))
