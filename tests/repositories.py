"""Real repositories in a temporary folder, with a clock that a test sets."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from kluis.events import Cancel, Context, Event
from kluis.operations.backup import backup
from kluis.operations.init import init
from kluis.options import BackupOptions, Credentials, InitOptions
from kluis.repository.access import Repository, open_repository
from kluis.results import BackupResult
from kluis.storage.local import LocalStorage

PASSPHRASE = b"correct horse"
KDF_MEMORY_BYTES = 8 << 10  # the least: a test need not resist guessing
SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
START_NS = 1_750_000_000 * SECOND_NS  # 15 June 2025, a Sunday


@dataclass
class Clock:
    """A machine whose wall clock stands still until it is set."""

    time_ns: int = START_NS

    def now(self) -> int:
        return self.time_ns

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def sleep(self, seconds: float) -> None:
        self.time_ns += int(seconds * SECOND_NS)


@dataclass
class Place:
    """A repository, a client's cache, and a source to back up, below one folder."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    told: list[Event] = field(default_factory=list)

    @property
    def location(self) -> Path:
        return self.folder / "repository"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def source(self) -> Path:
        return self.folder / "source"

    def context(self) -> Context:
        """Gathers events in `told`."""
        return Context(self.told.append, Cancel(), self.clock)

    def make(self) -> None:
        """An empty repository and an empty source."""
        credentials = Credentials(PASSPHRASE)
        options = InitOptions(credentials, kdf_memory_bytes=KDF_MEMORY_BYTES)
        init(str(self.location), options, self.context())
        self.source.mkdir()

    def open(self, passphrase: bytes = PASSPHRASE, cache: str = "cache") -> Repository:
        """The repository, as a client of that cache sees it."""
        storage = LocalStorage(self.location)
        credentials = Credentials(passphrase)
        return open_repository(storage, credentials, str(self.folder / cache), self.clock)

    def write(self, name: str, content: str | bytes = "") -> Path:
        """A file in the source."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def path(self, name: str = "") -> bytes:
        """The path of something in the source, as a snapshot has it."""
        return os.fsencode(self.source / name)

    def backup(self, at: int | None = None, **options: object) -> BackupResult:
        """A snapshot of the source, made at that time of the clock."""
        if at is not None:
            self.clock.time_ns = at
        wanted = BackupOptions(paths=(os.fsencode(self.source),), host="box")
        wanted = replace(wanted, **options)  # type: ignore[arg-type]
        with self.open() as repository:
            return backup(repository, wanted, self.context())


def make_place(folder: Path) -> Place:
    """A repository with nothing in it yet."""
    place = Place(folder)
    place.make()
    return place


def small_tree(place: Place) -> None:
    """A few files, folders and a link in the source."""
    place.write("letter.txt", "Dear Ann,\n" * 50)
    place.write("empty", "")
    place.write("docs/report.odt", os.urandom(90_000))
    place.write("docs/notes/monday.txt", "call the accountant\n")
    place.write("docs/notes/tuesday.txt", "call again\n")
    (place.source / "link").symlink_to("letter.txt")


def days_of_snapshots(place: Place, days: int) -> list[str]:
    """A snapshot a day, each with one file changed; their ids, oldest first."""
    ids = []
    for day in range(days):
        place.write("diary.txt", f"day {day}\n")
        ids.append(place.backup(START_NS + day * DAY_NS).snapshot_id)
    return ids
