"""A rehearsal: the verbs themselves, over a sample and with a repository in memory.

What they take without a medium is what this machine's processor takes, both cores together, with
all that is done for each file and each folder.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias, TypeVar

from kluis.events import Context
from kluis.format import crypt, keyring, names
from kluis.frozen import frozen
from kluis.operations.bench.measuring import ROUNDS, Clock
from kluis.operations.bench.medium import require_room
from kluis.operations.bench.sample import Piece, Sample, Stratum
from kluis.options import KDF_MEMORY_BYTES, BackupOptions, Credentials, RestoreOptions
from kluis.repository.access import Repository, open_with, unlock
from kluis.repository.create import make_vault
from kluis.repository.keys import PASSPHRASE_PASSES
from kluis.repository.workers import WORKERS
from kluis.results import BackupResult, Measurement, RestoreResult
from kluis.storage.memory import MemoryStorage
from kluis.storage.trial import TrialFolder

T = TypeVar("T")

Backup: TypeAlias = Callable[[Repository, BackupOptions, Context], BackupResult]
Restore: TypeAlias = Callable[[Repository, RestoreOptions, Context], RestoreResult]

SECRET = b"a rehearsal"
# A file is only taken for unchanged if it is older than two seconds (FAT's clock).
AGE_SECONDS = 2.2
# What a folder costs by itself, whatever is in it.
FOLDERS = "folders"
FOLDERS_COUNT = 256
EMPTY = Piece(b"", [])
# Blocks and inodes that files take beyond their bytes.
FILE_ROOM_BYTES = 8 << 10


@frozen
class Step:
    """A verb over a stratum of so many bytes and files: what its rounds took.

    Without what the same verb takes over a single file; `own_seconds` is the CPU of the thread
    that decides.
    """

    measurement: Measurement
    own_seconds: float


@frozen
class RehearsedKind:
    """What a stratum takes; `share` is stored bytes to plain ones, without parity."""

    count: int
    """Of its files; of the folders in the stratum of these."""
    size: int
    store: Step
    again: Step
    bring: Step
    share: float


@frozen
class Rehearsed:
    """What the strata take, and the verbs by themselves, with next to nothing to do."""

    kinds: dict[str, RehearsedKind]
    backup: Measurement
    restore: Measurement


def opening_of(context: Context) -> Measurement:
    """What every command waits for: Argon2id over the passphrase."""
    clocks = []
    for _ in range(ROUNDS):
        context.cancel.check()
        with Clock(context) as clock:
            crypt.passphrase_key(SECRET, bytes(16), PASSPHRASE_PASSES, KDF_MEMORY_BYTES)
        clocks.append(clock)
    return _measured("passphrase", clocks, f"Argon2id over {KDF_MEMORY_BYTES >> 20} MiB")


def _measured(name: str, clocks: list[Clock], words: str = "by itself, in memory") -> Measurement:
    """What is done once a command."""
    rounds = tuple(clock.seconds for clock in clocks)
    cpu = median(clock.cpu_seconds for clock in clocks)
    return Measurement(name, 0, median(rounds), cpu, f"{words}, once a command", rounds)


class Rehearsal:
    """Copies of a sample in a trial folder; `run` backs them up and restores them."""

    def __init__(
        self, folder: TrialFolder, sample: Sample, verbs: tuple[Backup, Restore], context: Context
    ) -> None:
        self._folder = folder
        self._backup, self._restore = verbs
        self._context = Context(cancel=context.cancel, surroundings=context.surroundings)
        self._numbers = itertools.count()
        self._strata = {**sample.strata, FOLDERS: Stratum("folders", [EMPTY] * FOLDERS_COUNT)}
        one = [memoryview(b"one file")]
        files = sum(len(piece.lengths) for one in self._strata.values() for piece in one.pieces)
        size = sum(len(piece.data) for one in self._strata.values() for piece in one.pieces)
        require_room(folder.space(), (size + files * FILE_ROOM_BYTES) * (1 + ROUNDS))
        folder.make_files(b"base", [])
        folder.make_files(b"base/0", one)
        for name, stratum in self._strata.items():
            folder.make_files(name.encode(), [])
            for number in range(len(stratum.pieces)):
                context.cancel.check()
                folder.make_files(b"%b/%d" % (name.encode(), number), _contents(stratum, number))
        self._made = context.surroundings.monotonic()

    def run(self) -> Rehearsed:
        """Each stratum in some rounds, each with a repository and a target of its own."""
        machine = self._context.surroundings
        machine.sleep(max(0.0, self._made + AGE_SECONDS - machine.monotonic()))
        base = [self._round(b"base") for _ in range(ROUNDS)]
        kinds = {
            name: self._kind(stratum, [self._round(name.encode()) for _ in range(ROUNDS)], base)
            for name, stratum in self._strata.items()
        }
        return Rehearsed(
            kinds,
            _measured("a backup", [one.again for one in base]),
            _measured("a restore", [one.bring for one in base]),
        )

    def _round(self, name: bytes) -> _Round:
        number = next(self._numbers)
        source = os.path.join(self._folder.path, name)
        cache = os.fsdecode(os.path.join(self._folder.path, b"cache-%d" % number))
        target = os.path.join(self._folder.path, b"target-%d" % number)
        options, context = BackupOptions(paths=(source,)), self._context
        with self._vault(cache) as repository:
            store = self._timed(lambda: self._backup(repository, options, context))
            again = self._timed(lambda: self._backup(repository, options, context))
            wanted = RestoreOptions(path=os.path.abspath(source), target=target)
            bring = self._timed(lambda: self._restore(repository, wanted, context))
            packed = sum(size for _, size in repository.storage.list(names.PACKS))
        return _Round(store, again, bring, packed)

    def _vault(self, cache: str) -> Repository:
        machine, storage = self._context.surroundings, MemoryStorage()
        identity = make_vault(storage, SECRET, "", keyring.MEMORY_LEAST_BYTES, machine)
        session = unlock(storage, identity.vault, Credentials(passphrase=SECRET))
        return open_with(storage, identity, session, (cache, machine))

    def _timed(self, work: Callable[[], object]) -> Clock:
        with Clock(self._context) as clock:
            work()
        return clock

    def _kind(self, stratum: Stratum, rounds: list[_Round], base: list[_Round]) -> RehearsedKind:
        size = sum(len(piece.data) for piece in stratum.pieces)
        count = sum(len(piece.lengths) for piece in stratum.pieces) or len(stratum.pieces)
        packed = median(one.packed for one in rounds) - median(one.packed for one in base)
        share = min(1.0, max(0.0, packed / max(1, size)))
        words = f"{count} {stratum.words}, {WORKERS} threads"

        shrunk = f"; to {share * 100:.0f} %" if size else ""

        def step(name: str, of: Callable[[_Round], Clock], size: int, more: str = "") -> Step:
            less = median(of(one).seconds for one in base)
            less_cpu = median(of(one).cpu_seconds for one in base)
            less_own = median(of(one).own_seconds for one in base)
            times = tuple(max(of(one).seconds - less, 1e-6) for one in rounds)
            cpu = max(0.0, median(of(one).cpu_seconds for one in rounds) - less_cpu)
            own = max(0.0, median(of(one).own_seconds for one in rounds) - less_own)
            measured = Measurement(name, size, median(times), cpu, words + more, times)
            return Step(measured, own)

        return RehearsedKind(
            count,
            size,
            step("store", lambda one: one.store, size, shrunk),
            step("look again", lambda one: one.again, 0),
            step("bring back", lambda one: one.bring, size),
            share,
        )


@dataclass
class _Round:
    """What the verbs took once, and the bytes of the packs."""

    store: Clock
    again: Clock
    bring: Clock
    packed: int


def _contents(stratum: Stratum, number: int) -> Iterator[memoryview]:
    """Each file of a piece."""
    piece = stratum.pieces[number]
    view = memoryview(piece.data)
    position = 0
    for length in piece.lengths:
        yield view[position : position + length]
        position += length
