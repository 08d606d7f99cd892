"""What a client keeps outside the repository: its identity, what it has seen, and caches.

A cache is never evidence: losing it costs time, a wrong entry costs space, neither costs data.
So where its folder takes nothing, every command goes on without, and says so once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from kluis.errors import FormatError, KluisError
from kluis.format.codec import Reader, Writer
from kluis.format.crypt import DIGEST_BYTES, RUN_BYTES, digest
from kluis.format.names import base32, from_base32
from kluis.frozen import frozen
from kluis.storage.alive import AliveMark, Exclusive, is_alive
from kluis.storage.base import Storage
from kluis.storage.local import LocalStorage
from kluis.surroundings import Surroundings

if TYPE_CHECKING:
    from kluis.storage.spare import SpareFolder

CLIENT = "client"
SEEN = "seen"
RUNS = "runs"
OPEN_RUNS = "open-runs"
CLOCK = "clock"


@frozen
class Seen:
    """The newest state of a store that this client has seen."""

    head: int
    head_digest: bytes
    epoch: int


class ClientCache:
    """One folder per store, of files that only this client reads.

    What the folder does not take is known to this process alone; `trouble` then says so, and
    `tell` hears it when the cache is closed.
    """

    def __init__(self, folder: str, vault: bytes, store: bytes) -> None:
        base = f"{folder}/{base32(vault)[:20]}"
        self.folder = f"{base}/{base32(store)}"
        self.trouble = ""
        self.tell: Callable[[str], None] | None = None
        self._unsaved: dict[str, bytes] = {}
        self._vault = self._opened(base, durable=False)
        self.storage = self._opened(self.folder, durable=False)
        self._durable = self._opened(self.folder, durable=True)

    def _opened(self, folder: str, *, durable: bool) -> Storage:
        """The folder, made if it is missing; one that holds nothing where that cannot be."""
        try:
            return LocalStorage.make(folder, durable=durable)
        except (OSError, KluisError) as error:
            from kluis.storage.memory import MemoryStorage

            self.lose(error)
            return MemoryStorage(capacity=0)

    def lose(self, error: Exception) -> None:
        """Notes that the folder did not take something, and why."""
        # The error behind ours: ours advises what to do about a repository.
        system = error if isinstance(error, OSError) else error.__cause__
        number = system.errno if isinstance(system, OSError) else None
        reason = os.strerror(number).lower() if number else str(error)
        full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "make room there" if full else "make that folder writable"
        folder = os.fsencode(self.folder).decode("utf-8", "backslashreplace")
        self.trouble = self.trouble or (
            f"this client's cache in {folder} cannot be used ({reason}), so what was seen of the "
            "repository is not remembered: this client would not notice if it went back in time, "
            f"and a backup may read every file again. Next: {remedy}, or name another: --cache-dir"
        )

    def identities(self) -> list[tuple[int, int] | None]:
        """(device, inode) of the folders that belong to the vault: who copies files stays out."""
        spare = self.spare.identity() if "spare" in self.__dict__ else None
        return [self._vault.identity(), self.storage.identity(), spare]

    def close(self) -> None:
        """Gives the folders back."""
        for storage in (self._vault, self.storage, self._durable):
            storage.close()
        if "spare" in self.__dict__:
            self.spare.close()
        if self.trouble and self.tell is not None:
            self.tell(self.trouble)

    @cached_property
    def spare(self) -> SpareFolder:
        """A folder that lasts until the cache is closed."""
        from kluis.storage.spare import SpareFolder

        return SpareFolder()

    def table_folder(self) -> str:
        """Where the dedup table keeps its files."""
        return f"{self.folder}/table"

    def client(self, surroundings: Surroundings) -> bytes:
        """This client's id in the vault; a new one where none is kept."""
        known = self._checked(self._vault, CLIENT)
        if known is not None and len(known) == RUN_BYTES:
            return known
        fresh = surroundings.random(RUN_BYTES)
        self._write(self._vault, CLIENT, fresh)
        return fresh

    def seen(self) -> Seen | None:
        """What `remember` was given last."""
        data = self._checked(self.storage, SEEN)
        if data is None:
            return None
        reader = Reader(data, "cache")
        return Seen(reader.u64(), reader.raw(DIGEST_BYTES), reader.u32())

    def remember(self, seen: Seen) -> None:
        """Keeps the newest state seen, against a store that goes back."""
        if self.seen() == seen:
            return
        writer = Writer()
        writer.u64(seen.head)
        writer.raw(seen.head_digest, DIGEST_BYTES)
        writer.u32(seen.epoch)
        self._write(self.storage, SEEN, writer.bytes())

    def runs(self) -> list[bytes]:
        """The runs that the dedup table knows; a run's place is its local number."""
        data = self._checked(self.storage, RUNS) or b""
        return [data[i : i + RUN_BYTES] for i in range(0, len(data), RUN_BYTES)]

    def keep_runs(self, runs: list[bytes]) -> bool:
        """Keeps the local numbers of runs; must happen before the table learns of them.

        False if they are not kept. Durable: after a power cut a number that the table knows
        must not be given again.
        """
        return self._save(self._durable, RUNS, b"".join(runs))

    def begin_run(self, run: bytes) -> AliveMark:
        """Marks a run of this client as being written, until the mark is closed.

        A courtesy: who does not see the mark waits for a day, and a run that was ended by others
        too early goes on under another certificate.
        """
        try:
            self.storage.make_folders([OPEN_RUNS])
            return AliveMark(self._mark_path(run))
        except (OSError, KluisError) as error:
            self.lose(error)
            return AliveMark.unseen()

    def open_runs(self) -> list[bytes]:
        """Runs that this client began and whose process is gone without ending them."""
        return [run for run, alive in self._marks() if not alive]

    def living_runs(self) -> list[bytes]:
        """Runs of this client whose process still works."""
        return [run for run, alive in self._marks() if alive]

    def _marks(self) -> list[tuple[bytes, bool]]:
        marks = []
        try:
            for name, _ in self.storage.list(OPEN_RUNS):
                try:
                    run = from_base32(name.rpartition("/")[2], RUN_BYTES)
                except FormatError:
                    continue
                marks.append((run, is_alive(self._mark_path(run))))
        except (OSError, KluisError) as error:
            self.lose(error)
        return sorted(marks)

    def forget_runs(self, runs: Iterable[bytes]) -> None:
        """Takes the marks of ended runs away."""
        try:
            for run in runs:
                self.storage.delete(f"{OPEN_RUNS}/{base32(run)}")
        except KluisError as error:  # the ledger knows that they have ended
            self.lose(error)

    def lock_table(self) -> Exclusive:
        """The right to use the dedup table; another process may hold it."""
        return Exclusive(f"{self.folder}/table-lock")

    def _mark_path(self, run: bytes) -> str:
        return f"{self.folder}/{OPEN_RUNS}/{base32(run)}"

    def kernel_time_ns(self) -> int:
        """The time that the kernel gives a file made now: it can lag behind the clock.

        0 where none can be made: no file is older, so none counts as unchanged next time.
        """
        if isinstance(self.storage, LocalStorage) and self.takes_files():
            try:
                return self.storage.modified_ns(CLOCK)
            except KluisError as error:
                self.lose(error)
        return 0

    def takes_files(self) -> bool:
        """True if a file could be made just now."""
        return self._save(self.storage, CLOCK, b"")

    def read(self, name: str) -> bytes | None:
        """A checked file of the cache, or None if it is missing or damaged."""
        return self._checked(self.storage, name)

    def write(self, name: str, data: bytes) -> None:
        """Keeps a file in the cache, whole or not at all."""
        self._write(self.storage, name, data)

    def drop(self, name: str) -> bool:
        """Removes a file of the cache, durable; False if it may be there still."""
        self._unsaved.pop(name, None)
        try:
            self._durable.delete(name)
            self._durable.barrier()
        except KluisError as error:
            self.lose(error)
            return False
        return True

    def _checked(self, storage: Storage, name: str) -> bytes | None:
        if name in self._unsaved:
            return self._unsaved[name]
        try:
            data = storage.get(name)
        except KluisError:
            return None
        if len(data) < DIGEST_BYTES or digest(data[DIGEST_BYTES:]) != data[:DIGEST_BYTES]:
            return None
        return data[DIGEST_BYTES:]

    def _write(self, storage: Storage, name: str, data: bytes) -> None:
        """As `_save`; what is not kept is known until the cache is closed."""
        self._unsaved.pop(name, None)
        if not self._save(storage, name, data):
            self._unsaved[name] = data

    def _save(self, storage: Storage, name: str, data: bytes) -> bool:
        try:
            storage.replace(name, digest(data) + data)
        except KluisError as error:
            self.lose(error)
            return False
        return True
