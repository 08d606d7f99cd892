"""A medium measured with files of our own: what a backup, a restore and a check ask of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from kluis.errors import NoSpaceError
from kluis.events import Context
from kluis.format.pack import PACK_LEAST_BYTES, PACK_TARGET_BYTES
from kluis.frozen import frozen
from kluis.operations.bench.measuring import FRAME_BYTES, ROUNDS, Calls, Clock, span_of
from kluis.operations.bench.sample import spread
from kluis.options import BenchOptions
from kluis.results import Measurement, Span
from kluis.storage.trial import Space, TrialFile, TrialFolder
from kluis.units import format_size

# A backup makes each pack durable by itself; the first are small.
PACK_SIZES = (PACK_LEAST_BYTES, PACK_TARGET_BYTES)
READ_BYTES = 1 << 20
RANDOM_SIZES = (4 << 10, 64 << 10)
CALLS = 200
SYNCS = 100
SMALL_FILES = 300
SMALL_BYTES = 4 << 10
# Of each kind of call; a slow stick does fewer of them then.
BUDGET_SECONDS = 4.0
# What is left for others while the trial runs.
SPARE_BYTES = 8 << 20


@frozen
class Medium:
    """What was measured: seconds for a stored byte, for a sync; `write_first` in small packs."""

    measurements: tuple[Measurement, ...]
    write_first: Span
    write: Span
    read: Span
    sync: Span
    from_memory: bool
    """Reads may have come from a cache that could not be emptied."""
    device: int
    space: Space
    system: str


@frozen
class Restoring:
    """The place that a restore writes to: seconds for a byte."""

    measurement: Measurement
    write: Span
    device: int
    space: Space


def target_of(options: BenchOptions, environment: Mapping[str, str] | None = None) -> bytes:
    """Where a restore would write: as asked, else where large temporary files belong."""
    if options.target is not None:
        return options.target
    known = os.environ if environment is None else environment
    return os.fsencode(known.get("TMPDIR") or "/var/tmp")


def measure(folder: TrialFolder, size: int, context: Context) -> Medium:
    """Packs written and read, random reads, syncs, and small files."""
    space = folder.space()
    require_room(space, size + SMALL_FILES * SMALL_BYTES)
    trial = _Trial(folder, context)
    try:
        first, write = (trial.write_packs(size // 2, length) for length in PACK_SIZES)
        read = trial.read_packs()
        for length in RANDOM_SIZES:
            trial.random_reads(length)
        sync = trial.syncs()
    finally:
        trial.close()
    trial.small_files()
    cached = not trial.dropped
    return Medium(
        tuple(trial.found), first, write, read, sync, cached, folder.device, space, folder.system()
    )


def measure_target(folder: TrialFolder, size: int, context: Context) -> Restoring:
    """One large file, written as a restore does, and made durable."""
    space = folder.space()
    require_room(space, size)
    noise = context.surroundings.random(FRAME_BYTES)
    length = max(FRAME_BYTES, size // ROUNDS)
    clocks = []
    for _ in range(ROUNDS):
        with folder.large() as file, Clock(context) as clock:
            left = length
            while left > 0:
                context.cancel.check()
                file.write(memoryview(noise)[: min(left, len(noise))])
                left -= len(noise)
            file.sync()
        clocks.append(clock)
    rounds = tuple(clock.seconds for clock in clocks)
    cpu = median(clock.cpu_seconds for clock in clocks)
    words = "a file, then fsync"
    large = Measurement("target write", length, median(rounds), cpu, words, rounds)
    return Restoring(large, span_of(large, length), folder.device, space)


def require_room(space: Space, size: int) -> None:
    """Raises `NoSpaceError` before anything is written that would not fit."""
    if space.free < size + SPARE_BYTES:
        raise NoSpaceError(
            f"a trial needs {format_size(size + SPARE_BYTES)} of space and "
            f"{format_size(space.free)} are free; nothing was measured. Next: kluis bench --size "
            "with less, or make room"
        )


@dataclass
class _Trial:
    """The steps, which build on one another's files."""

    folder: TrialFolder
    context: Context
    found: list[Measurement] = field(default_factory=list)
    dropped: bool = True
    _packs: list[tuple[TrialFile, int]] = field(default_factory=list)

    def close(self) -> None:
        for file, _ in self._packs:
            file.close()
        self._packs.clear()

    def write_packs(self, size: int, each: int) -> Span:
        """Seconds for a byte, in packs of so many."""
        noise = memoryview(self.context.surroundings.random(FRAME_BYTES))  # some compress
        rounds: list[tuple[float, int]] = []
        cpu = 0.0
        left = size
        while left > 0:
            length = min(left, each)
            with Clock(self.context) as clock:
                file = self.folder.large()
                self._packs.append((file, length))
                for at in range(0, length, FRAME_BYTES):
                    self.context.cancel.check()
                    file.write(noise[: min(FRAME_BYTES, length - at)])
                file.sync()
            rounds.append((clock.seconds, length))
            cpu += clock.cpu_seconds
            left -= length
        seconds = sum(seconds for seconds, _ in rounds)
        words = f"packs of {each >> 20} MiB, each with fsync"
        self.found.append(Measurement("disk write", size, seconds, cpu, words))
        return spread(rounds)

    def read_packs(self) -> Span:
        """Seconds for a byte, past the system's memory where that can be."""
        rounds: list[tuple[float, int]] = []
        cpu = 0.0
        for file, length in self._packs:
            self.dropped = file.drop() and self.dropped
            with Clock(self.context) as clock:
                for at in range(0, length, READ_BYTES):
                    self.context.cancel.check()
                    file.read(READ_BYTES, at)
            rounds.append((clock.seconds, length))
            cpu += clock.cpu_seconds
        seconds, size = (sum(column) for column in zip(*rounds, strict=True))
        words = "past the cache" if self.dropped else "may come from memory"
        self.found.append(Measurement("disk read", int(size), seconds, cpu, words))
        return spread(rounds)

    def random_reads(self, length: int) -> None:
        """Each somewhere in one of the packs."""
        for file, _ in self._packs:
            file.drop()
            file.random_reads()
        calls = Calls(self.context, BUDGET_SECONDS)
        random = self.context.surroundings.random
        places = [int.from_bytes(random(6), "little") for _ in range(CALLS)]

        def read(place: int) -> None:
            file, size = self._packs[place % len(self._packs)]
            slots = max(1, size // length)
            file.read(length, place // len(self._packs) % slots * length)

        calls.each(places, read)
        words = "at random" if self.dropped else "at random, may come from memory"
        self.found.append(calls.measurement(f"read {length >> 10} KiB", length, words))

    def syncs(self) -> Span:
        """Seconds for a sync after a small write."""
        data = self.context.surroundings.random(SMALL_BYTES)
        calls = Calls(self.context, BUDGET_SECONDS)
        with self.folder.large() as file:

            def sync(_: int) -> None:
                file.write(data)
                file.sync()

            calls.each(range(SYNCS), sync)
        measured = calls.measurement("fsync", SMALL_BYTES, "after 4 KiB each")
        self.found.append(measured)
        times = measured.latencies
        return Span(times[len(times) // 4], median(times), times[-1 - len(times) // 20])

    def small_files(self) -> None:
        """Created, made durable, read back, deleted: many, as folders of documents are."""
        folder = self.folder
        data = self.context.surroundings.random(SMALL_BYTES)
        words = f"of {SMALL_BYTES >> 10} KiB"
        create = Calls(self.context, BUDGET_SECONDS)
        count = create.each(range(SMALL_FILES), lambda n: folder.create_small(n, data))
        self.found.append(create.measurement("create files", SMALL_BYTES, words))
        names = Calls(self.context, BUDGET_SECONDS)
        names.each([0], lambda _: folder.sync())
        self.found.append(names.measurement("sync folder", 0, f"with {count} new names"))
        sync = Calls(self.context, BUDGET_SECONDS)
        count = sync.each(range(count), folder.sync_small)
        self.found.append(sync.measurement("sync files", SMALL_BYTES, words))
        folder.drop_caches()
        for name, work in (
            ("read files", lambda n: folder.read_small(n, SMALL_BYTES)),
            ("delete files", folder.remove_small),
        ):
            calls = Calls(self.context, BUDGET_SECONDS)
            calls.each(range(count), work)
            self.found.append(calls.measurement(name, SMALL_BYTES, words))
