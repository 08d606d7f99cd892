"""Init: a new vault, and its first store, on an empty place."""

from __future__ import annotations

from kluis.errors import PasswordError
from kluis.events import Context
from kluis.format.names import base32
from kluis.options import InitOptions
from kluis.repository.create import make_vault
from kluis.results import InitResult
from kluis.storage.local import LocalStorage


def init(location: str, options: InitOptions, context: Context) -> InitResult:
    """A repository that is durable at `location`; the folder is created if it is missing.

    Raises `AlreadyExistsError` where one is, `PasswordError` without a passphrase.
    """
    passphrase = options.credentials.passphrase
    if not passphrase:
        raise PasswordError(
            "no passphrase was given, so no repository was made. "
            "Next: set KLUIS_PASSWORD or use --password-file"
        )
    storage = LocalStorage.make(location)
    with storage:
        store = make_vault(
            storage, passphrase, options.label, options.kdf_memory_bytes, context.surroundings
        )
    return InitResult(location, base32(store.vault), base32(store.store))
