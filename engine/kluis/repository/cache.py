"""What a client keeps outside the repository: its identity, what it has seen, and caches.

A cache is never evidence: losing it costs time, a wrong entry costs space, neither costs data.
"""

from __future__ import annotations

from collections.abc import Iterable

from kluis.errors import FormatError, KluisError, NotFoundError
from kluis.format.codec import Reader, Writer
from kluis.format.crypt import DIGEST_BYTES, RUN_BYTES, digest
from kluis.format.names import base32, from_base32
from kluis.frozen import frozen
from kluis.storage.alive import AliveMark, Exclusive, is_alive
from kluis.storage.base import Storage
from kluis.storage.local import LocalStorage
from kluis.surroundings import Surroundings

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
    """One folder per store, of files that only this client reads."""

    def __init__(self, folder: str, vault: bytes, store: bytes) -> None:
        base = f"{folder}/{base32(vault)[:20]}"
        self._vault = LocalStorage.make(base, durable=False)
        self.folder = f"{base}/{base32(store)}"
        self.storage = LocalStorage.make(self.folder, durable=False)
        self._durable = LocalStorage.make(self.folder)

    def identities(self) -> list[tuple[int, int] | None]:
        """(device, inode) of the folders that belong to the vault: who copies files stays out."""
        return [self._vault.identity(), self.storage.identity()]

    def close(self) -> None:
        """Gives the folders back."""
        for storage in (self._vault, self.storage, self._durable):
            storage.close()

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

    def keep_runs(self, runs: list[bytes]) -> None:
        """Keeps the local numbers of runs; must happen before the table learns of them.

        Durable: after a power cut a number that the table knows must not be given again.
        """
        self._write(self._durable, RUNS, b"".join(runs))

    def begin_run(self, run: bytes) -> AliveMark:
        """Marks a run of this client as being written, until the mark is closed."""
        self._runs_folder()
        return AliveMark(self._mark_path(run))

    def open_runs(self) -> list[bytes]:
        """Runs that this client began and whose process is gone without ending them."""
        return [run for run, alive in self._marks() if not alive]

    def living_runs(self) -> list[bytes]:
        """Runs of this client whose process still works."""
        return [run for run, alive in self._marks() if alive]

    def _marks(self) -> list[tuple[bytes, bool]]:
        folder = self._runs_folder()
        marks = []
        for name, _ in self.storage.list(folder):
            try:
                run = from_base32(name.rpartition("/")[2], RUN_BYTES)
            except FormatError:
                continue
            marks.append((run, is_alive(self._mark_path(run))))
        return sorted(marks)

    def forget_runs(self, runs: Iterable[bytes]) -> None:
        """Takes the marks of ended runs away."""
        for run in runs:
            self.storage.delete(f"{OPEN_RUNS}/{base32(run)}")

    def lock_table(self) -> Exclusive:
        """The right to use the dedup table; another process may hold it."""
        return Exclusive(f"{self.folder}/table-lock")

    def _runs_folder(self) -> str:
        self.storage.make_folders([OPEN_RUNS])
        return OPEN_RUNS

    def _mark_path(self, run: bytes) -> str:
        return f"{self.folder}/{OPEN_RUNS}/{base32(run)}"

    def kernel_time_ns(self) -> int:
        """The time that the kernel gives a file made now: it can lag behind the clock."""
        self._write(self.storage, CLOCK, b"")
        return self.storage.modified_ns(CLOCK)

    def read(self, name: str) -> bytes | None:
        """A checked file of the cache, or None if it is missing or damaged."""
        return self._checked(self.storage, name)

    def write(self, name: str, data: bytes) -> None:
        """Keeps a file in the cache, whole or not at all."""
        self._write(self.storage, name, data)

    @staticmethod
    def _checked(storage: Storage, name: str) -> bytes | None:
        try:
            data = storage.get(name)
        except (NotFoundError, FormatError, KluisError):
            return None
        if len(data) < DIGEST_BYTES or digest(data[DIGEST_BYTES:]) != data[:DIGEST_BYTES]:
            return None
        return data[DIGEST_BYTES:]

    @staticmethod
    def _write(storage: Storage, name: str, data: bytes) -> None:
        storage.replace(name, digest(data) + data)
