"""Cache clear: what this client keeps, deleted; the next backup reads every file again."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kluis.errors import KluisError, NotFoundError
from kluis.events import Context
from kluis.options import CacheClearOptions
from kluis.repository.access import read_store
from kluis.repository.cache import CLIENT, OPEN_RUNS, SEEN
from kluis.repository.places import cache_folder, open_storage, store_folder
from kluis.repository.remaking import LAST_SNAPSHOT
from kluis.results import CacheClearResult
from kluis.storage.alive import Exclusive
from kluis.storage.local import LocalStorage

# Who this client is, what it has seen of a store, and what it began there.
KEPT = {CLIENT, SEEN, LAST_SNAPSHOT}
TABLE_LOCK = "table-lock"
# vault / store / file: what lies elsewhere is not ours.
STORE_DEPTH = 2


def cache_clear(options: CacheClearOptions, context: Context) -> CacheClearResult:
    """The cache of one repository, or of all, is empty when this returns.

    `KluisError` if another process works with it just now; what came before is deleted then.
    """
    top = cache_folder(options.cache_folder, os.environ)
    if options.location is not None:
        with open_storage(options.location) as storage:
            folders = [store_folder(top, read_store(storage))]
    else:
        folders = list(_store_folders(top))
    cleared, freed = [], 0
    for folder in folders:
        context.cancel.check()
        size = _clear(folder, options.forget_client)
        if size is not None:
            cleared.append(os.fsencode(folder))
            freed += size
    if options.forget_client and options.location is None:
        freed += _forget_clients(top)
    return CacheClearResult(tuple(cleared), freed)


def _store_folders(top: str) -> Iterator[str]:
    try:
        storage = LocalStorage(top, durable=False)
    except NotFoundError:
        return
    with storage:
        found = {
            "/".join(name.split("/")[:STORE_DEPTH])
            for name, _ in storage.list("")
            if name.count("/") >= STORE_DEPTH
        }
    for name in sorted(found):
        yield f"{top}/{name}"


def _clear(folder: str, forget_client: bool) -> int | None:
    """Bytes that were freed; None if there is no such folder."""
    try:
        storage = LocalStorage(folder, durable=False)
    except NotFoundError:
        return None
    with storage, Exclusive(f"{folder}/{TABLE_LOCK}") as lock:
        if not lock.held:
            raise KluisError(
                f"another kluis works with the cache in {storage.location}; it was not deleted. "
                "Next: wait until it is done"
            )
        freed = 0
        for name, size in list(storage.list("")):
            first = name.partition("/")[0]
            if name == TABLE_LOCK or (not forget_client and first in KEPT | {OPEN_RUNS}):
                continue
            storage.delete(name)
            freed += size
        for name, size in list(storage.leftovers("")):
            freed += size if storage.discard(name) else 0
    return freed


def _forget_clients(top: str) -> int:
    """The ids under which vaults know this client."""
    try:
        storage = LocalStorage(top, durable=False)
    except NotFoundError:
        return 0
    freed = 0
    with storage:
        for name, size in list(storage.list("")):
            if name.count("/") == 1 and name.endswith(f"/{CLIENT}"):
                storage.delete(name)
                freed += size
    return freed
