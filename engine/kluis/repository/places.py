"""Where a client keeps its cache, and which folder of it belongs to a store."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kluis.errors import NoRepositoryError, NotFoundError
from kluis.format.names import base32
from kluis.format.store import Store
from kluis.storage.local import LocalStorage

VAULT_CHARACTERS = 20


def cache_folder(given: str | None, environment: Mapping[str, str]) -> str:
    """`given`, else KLUIS_CACHE_DIR, else `kluis` in the cache folder of the user."""
    if given:
        return given
    if environment.get("KLUIS_CACHE_DIR"):
        return environment["KLUIS_CACHE_DIR"]
    base = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as the specification of these variables wants it
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "kluis")


def store_folder(folder: str, store: Store) -> str:
    """What of a cache belongs to one store."""
    return f"{folder}/{base32(store.vault)[:VAULT_CHARACTERS]}/{base32(store.store)}"


def open_storage(location: str) -> LocalStorage:
    """The folder as a storage; `NoRepositoryError` if there is none, and nothing is made."""
    try:
        return LocalStorage(location)
    except NotFoundError as error:
        raise NoRepositoryError(
            f"there is no kluis repository at {location}: {error}. Nothing was created. "
            "Next: check the path, or kluis init -r PATH"
        ) from None
