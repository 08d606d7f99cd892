"""A repository that lives through a history: sources that change, clients, traced or faulty calls.

`House` knows what was acknowledged, so that a test can ask afterwards whether it is still so.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kluis.events import Cancel, Context
from kluis.operations.backup import backup
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.options import BackupOptions, Credentials, ForgetOptions, Limit, PruneOptions
from kluis.repository.access import Repository, open_repository
from kluis.repository.create import make_vault
from kluis.results import BackupResult, PruneResult
from kluis.storage.base import Storage
from kluis.storage.between import Unsynced
from kluis.storage.calls import Calls
from kluis.storage.local import LocalStorage
from tests.contents import Contents, on_disk
from tests.repositories import KDF_MEMORY_BYTES, PASSPHRASE, Clock, Place

FILES = 20
SMALL_BYTES = 6000
LARGE_BYTES = 1_500_000
WORDS = b"the vault keeps what the house forgets and gives it back on a rainy day ".split()

ALL_GOES = PruneOptions(max_unused=Limit(size=0))
"""A prune that moves what is used out of every pack that holds anything unused."""


@dataclass
class SeededMachine(Clock):
    """A machine whose clock a test sets and whose randomness follows from a number."""

    seed: str = ""
    _drawn: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def random(self, size: int) -> bytes:
        """The pool that seals draws for itself, so that its threads disturb no other's order."""
        place = "pool" if threading.current_thread().name.startswith("kluis") else "control"
        with self._lock:
            self._drawn[place] += 1
            number = self._drawn[place]
        return hashlib.shake_256(f"{self.seed}/{place}/{number}".encode()).digest(size)


@dataclass
class House(Place):
    """A repository whose storage calls a test chooses, and what was promised about it."""

    clock: Clock = field(default_factory=SeededMachine)
    calls: Calls = field(default_factory=Unsynced)
    sound: bool = True  # whether the medium counts as one that loses no names
    passphrase: bytes = PASSPHRASE
    large_bytes: int = LARGE_BYTES
    acknowledged: dict[str, Contents] = field(default_factory=dict)

    def storage(self) -> Storage:
        """The repository's folder, through the calls of now."""
        storage = LocalStorage(self.location, calls=self.calls, surroundings=self.clock)
        storage._claim.__dict__["sound"] = self.sound
        return storage

    def settle_in(self) -> None:
        """An empty repository."""
        self.location.mkdir()
        with self.storage() as storage:
            make_vault(storage, PASSPHRASE, "", KDF_MEMORY_BYTES, self.clock)

    def reach(self, cache: str = "cache", storage: Storage | None = None) -> Repository:
        """The repository, as the client of that cache sees it."""
        found = self.storage() if storage is None else storage
        credentials = Credentials(self.passphrase)
        try:
            return open_repository(found, credentials, str(self.folder / cache), self.clock)
        except BaseException:
            found.close()
            raise

    def store(self, cache: str = "cache", storage: Storage | None = None) -> BackupResult:
        """A snapshot of the source as it is now; acknowledged if this returns."""
        expected = on_disk(self.source)
        with self.reach(cache, storage) as repository:
            result = backup(repository, self.what(), self.context())
        self.acknowledged[result.snapshot_id] = expected
        return result

    def what(self) -> BackupOptions:
        """What is backed up."""
        return BackupOptions(paths=(os.fsencode(self.source),), host="box")

    def forget(self, ids: list[str], cache: str = "cache", storage: Storage | None = None) -> None:
        """Forgets; from the beginning of the call on, these are not promised any more."""
        for snapshot in ids:
            self.acknowledged.pop(snapshot, None)
        with self.reach(cache, storage) as repository:
            forget(repository, ForgetOptions(ids=tuple(ids)), self.context())

    def prune(self, cache: str = "cache", storage: Storage | None = None) -> PruneResult:
        """A prune that leaves nothing unused."""
        with self.reach(cache, storage) as repository:
            return prune(repository, ALL_GOES, self.context())

    def below(self) -> bytes:
        """The path under which a snapshot has the source."""
        return os.fsencode(self.source)


def quiet(house: House) -> Context:
    """A context that gathers nothing."""
    return Context(cancel=Cancel(), surroundings=house.clock)


def make_house(folder: Path, chance: random.Random, large_bytes: int = LARGE_BYTES) -> House:
    """A house with a source, and no repository yet."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = SeededMachine(seed=str(chance.getrandbits(64)))
    house = House(folder, clock=machine, large_bytes=large_bytes)
    house.source.mkdir()
    for number in range(FILES):
        house.write(f"d{number % 4}/f{number}", some_bytes(chance))
    if large_bytes:
        house.write("large", chance.randbytes(large_bytes))
    house.write("empty", b"")
    (house.source / "link").symlink_to("large")
    return house


def some_bytes(chance: random.Random) -> bytes:
    """A few KB, of words or of noise."""
    size = chance.randrange(SMALL_BYTES)
    if chance.random() < 0.5:
        return b" ".join(chance.choices(WORDS, k=size // 5))
    return chance.randbytes(size)


def change(house: House, chance: random.Random) -> None:
    """Some files of the source become others; every change shows in a file's stat record."""
    files = sorted(path for path in house.source.rglob("*") if path.is_file())
    small = [path for path in files if path.name not in ("large", "link")]
    for _ in range(chance.randrange(1, 4)):
        path = chance.choice(small)
        what = chance.random()
        if what < 0.2 and len(small) > FILES // 2 and path.exists():
            path.unlink()
        elif what < 0.4:
            house.write(f"d{chance.randrange(6)}/new{chance.randrange(1000)}", some_bytes(chance))
        elif what < 0.5 and path.exists():
            path.rename(path.with_name(f"moved{chance.randrange(1000)}"))
        else:
            path.write_bytes(some_bytes(chance) + b"x" * chance.randrange(50))
    large = house.source / "large"
    if large.exists() and chance.random() < 0.3:
        data = bytearray(large.read_bytes())
        at = chance.randrange(len(data))
        data[at : at + 40_000] = chance.randbytes(30_000)
        large.write_bytes(data)
