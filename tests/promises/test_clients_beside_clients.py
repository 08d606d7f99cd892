"""P13: writers beside writers beside prune lose nothing, whatever their clocks say."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kluis.errors import BusyError, KluisError
from kluis.events import Context
from kluis.operations.archiving import session
from kluis.operations.backup import backup
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.operations.restore import restore
from kluis.operations.verify import verify
from kluis.options import (
    BackupOptions,
    Credentials,
    ForgetOptions,
    PruneOptions,
    RestoreOptions,
    VerifyOptions,
)
from kluis.repository import merger, mover
from kluis.repository.access import Repository, open_repository
from kluis.storage.base import Storage
from kluis.storage.memory import MemoryStorage
from tests.contents import Contents, all_contents, live, on_disk
from tests.crash.states import snapshot
from tests.promises.house import ALL_GOES, House, SeededMachine, make_house
from tests.promises.interleaving import Act, AtOnce, Turns, interleaved
from tests.promises.scenes import fill_folder
from tests.repositories import DAY_NS, PASSPHRASE, Clock

Trials = Callable[[int, int], int]
TEN_YEARS_NS = 3653 * DAY_NS
CLIENTS = 3


@pytest.fixture(autouse=True)
def one_thread_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr(mover, "ThreadPoolExecutor", AtOnce)


@dataclass
class Street:
    """A repository that several clients use, each with a source and a cache of its own."""

    house: House
    files: dict[str, bytes]
    caches: list[dict[str, bytes]]
    acknowledged: dict[str, Contents]
    forgotten: list[str]

    def set_up(self, skew: random.Random) -> list[Client]:
        """Each client as it was, with clocks that are up to ten years off."""
        clients = []
        for number, cache in enumerate(self.caches):
            fill_folder(self.house.folder / f"cache{number}", cache)
            offset = skew.choice((0, 0, TEN_YEARS_NS, -TEN_YEARS_NS))
            seed = f"{skew.getrandbits(64)}"
            clock = SeededMachine(self.house.clock.time_ns + offset, seed)
            clients.append(Client(self, number, clock, {}, []))
        return clients


@dataclass
class Client:
    """One of them, and what it was told."""

    street: Street
    number: int
    clock: Clock
    made: dict[str, Contents]
    let_go: list[str]

    def open(self, storage: Storage, cache: str = "") -> Repository:
        folder = self.street.house.folder / (cache or f"cache{self.number}")
        return open_repository(storage, Credentials(PASSPHRASE), str(folder), self.clock)

    @property
    def source(self) -> Path:
        return self.street.house.source / f"d{self.number}"

    def backup(self, storage: Storage) -> None:
        with self.open(storage) as repository:
            options = BackupOptions(paths=(os.fsencode(self.source),), host=f"h{self.number}")
            result = backup(repository, options, self.context())
        assert not result.problems
        self.made[result.snapshot_id] = on_disk(self.source)

    def prune(self, storage: Storage) -> None:
        with self.open(storage) as repository:
            prune(repository, ALL_GOES, self.context())

    def forget_one(self, storage: Storage) -> None:
        """The oldest, which a backup that runs may be building on."""
        gone = next(iter(self.street.acknowledged))
        self.let_go.append(gone)
        with self.open(storage) as repository:
            forget(repository, ForgetOptions(ids=(gone,)), self.context())

    def restore(self, storage: Storage) -> None:
        """Every file of a snapshot that stays, whatever is moved meanwhile."""
        identity, expected = list(self.street.acknowledged.items())[-1]
        target = self.street.house.folder / "target"
        shutil.rmtree(target, ignore_errors=True)
        with self.open(storage) as repository:
            options = RestoreOptions(snapshot=identity, target=os.fsencode(target))
            result = restore(repository, options, self.context())
        assert result.exit_status == 0, result
        restored = on_disk(target)
        for path, facts in expected.items():
            assert restored[os.fsencode(target) + path] == facts

    def verify(self, storage: Storage) -> None:
        """Says that all is well, whatever is moved and deleted meanwhile."""
        with self.open(storage) as repository:
            result = verify(repository, VerifyOptions(level=1), self.context())
        assert result.exit_status == 0, result.damages

    def context(self) -> Context:
        return Context(surroundings=self.clock)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    """Content that lies only in a forgotten snapshot lies in two sources again."""
    chance = random.Random(29)
    house = make_house(tmp_path_factory.mktemp("street"), chance, 0)
    house.settle_in()
    here = Street(house, {}, [{} for _ in range(CLIENTS)], {}, [])
    shared = [chance.randbytes(9000) for _ in range(3)]
    clients = here.set_up(random.Random(0))
    for number, client in enumerate(clients):
        client.clock.time_ns = house.clock.time_ns
        (client.source / "shared").write_bytes(shared[number])
        client.backup(house.storage())
        (client.source / "shared").write_bytes(shared[(number + 1) % 3])
        (client.source / "f0").write_bytes(chance.randbytes(3000))
        client.backup(house.storage())
        old, new = client.made.items()
        here.forgotten.append(old[0])
        here.acknowledged[new[0]] = new[1]
    with clients[0].open(house.storage()) as repository:
        forget(repository, ForgetOptions(ids=tuple(here.forgotten)), Context())
    for number, client in enumerate(clients):
        (client.source / "shared").write_bytes(shared[number])
        here.caches[number] = snapshot(house.folder / f"cache{number}")
    here.files = snapshot(house.location)
    return here


PARTIES: dict[str, list[str]] = {
    "two writers": ["backup", "backup"],
    "a writer and a prune": ["backup", "prune"],
    "two prunes": ["prune", "prune"],
    "a writer, a prune and a forget": ["backup", "prune", "forget_one"],
    "two writers and a prune": ["backup", "backup", "prune"],
    "two prunes and a writer": ["prune", "prune", "backup"],
    "a restore beside a prune": ["restore", "prune", "backup"],
    "a verify beside a prune": ["verify", "prune", "backup"],
}


def check_party(street: Street, party: str, turns: Turns, case: str) -> None:
    """After any order of their calls nothing is lost, and all have come to an end."""
    clients = street.set_up(turns.chance)
    storage = MemoryStorage(street.files)
    acts: list[Act] = [
        getattr(client, verb) for client, verb in zip(clients, PARTIES[party], strict=False)
    ]
    outcome = interleaved(storage, acts, turns)
    case = f"{party}, {case}, order {''.join(map(str, turns.order))}"
    for verb, error in zip(PARTIES[party], outcome, strict=True):
        busy = isinstance(error, BusyError) and verb != "backup"
        assert error is None or busy, f"{case}: {verb} ended with {error!r}"
    promised = dict(street.acknowledged)
    for client in clients:
        promised |= client.made
    for gone in [identity for client in clients for identity in client.let_go]:
        promised.pop(gone, None)
    check_all_there(street, storage, promised, case)


def check_all_there(
    street: Street, storage: MemoryStorage, promised: dict[str, Contents], case: str
) -> None:
    house = street.house
    try:
        with house.reach("fresh", MemoryStorage(storage.files())) as repository:
            result = verify(repository, VerifyOptions(level=1), Context())
            found = [f"{damage.object}: {damage.what}" for damage in result.damages]
            assert not found, f"{case}: {found}"
            missing = promised.keys() - set(live(repository))
            assert not missing, f"{case}: {missing} are not there"
            read = all_contents(repository, promised, os.fsencode(house.source))
    except KluisError as error:
        raise AssertionError(f"{case}: {error}") from error
    for identity, expected in promised.items():
        read[identity].pop(os.fsencode(house.source), None)  # each backs up one folder in it
        assert read[identity] == expected, f"{case}: {identity} has other bytes"
    fill_folder(house.folder / "fresh", {})


@pytest.mark.parametrize("party", PARTIES)
def test_whoever_comes_first_nothing_is_lost(
    street: Street, party: str, seed: int, trials: Trials
) -> None:
    for number in range(trials(25, 3000)):
        chance = random.Random(f"{seed} {party} {number}")
        check_party(street, party, Turns(chance), f"seed {seed}, number {number}")


@pytest.mark.parametrize("party", list(PARTIES)[:3])
def test_every_order_of_the_first_calls_is_safe(
    street: Street, party: str, seed: int, trials: Trials
) -> None:
    """What comes after them is left to chance. In the slice a part of the orders."""
    depth = 12
    orders = list(itertools.product((0, 1), repeat=depth))
    chosen = random.Random(seed).sample(orders, trials(15, len(orders)))
    for number, order in enumerate(chosen):
        turns = Turns(random.Random(f"{seed} {number}"), script=order)
        check_party(street, party, turns, f"seed {seed}, script {order}")


@pytest.mark.parametrize("party", ["two prunes and a writer", "two writers and a prune"])
def test_merging_and_checkpoints_do_not_get_in_the_way(
    street: Street, party: str, seed: int, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merger, "SEGMENTS_MERGED_FROM", 3)
    monkeypatch.setattr(merger, "RECORDS_MERGED_FROM", 3)
    for number in range(trials(25, 3000)):
        chance = random.Random(f"{seed} merging {party} {number}")
        check_party(street, party, Turns(chance), f"merging, seed {seed}, number {number}")


def test_two_processes_of_one_client_do_not_disturb_one_another(
    street: Street, seed: int, trials: Trials
) -> None:
    for number in range(trials(15, 1000)):
        chance = random.Random(f"{seed} one client {number}")
        turns = Turns(chance)
        first, second, *_ = street.set_up(random.Random(0))
        second.number, twin_source = first.number, first.source
        storage = MemoryStorage(street.files)
        outcome = interleaved(storage, [first.backup, second.backup], turns)
        case = f"one client twice, seed {seed}, number {number}, order {turns.order}"
        assert outcome == [None, None], f"{case}: {outcome}"
        expected = on_disk(twin_source)
        made = {**first.made, **second.made}
        assert len(made) == 2, case
        assert all(contents == expected for contents in made.values()), case
        check_all_there(street, storage, {**street.acknowledged, **made}, case)


def test_a_clock_that_is_years_off_forgets_and_dooms_nothing_early(street: Street) -> None:
    """The delay of another key's repository is not shortened by a clock that is ahead."""
    clients = street.set_up(random.Random(0))
    for offset in (TEN_YEARS_NS, -TEN_YEARS_NS):
        storage = MemoryStorage(street.files)
        clients[0].clock.time_ns = street.house.clock.time_ns + offset
        clients[0].backup(storage)
        with clients[1].open(storage) as repository:
            prune(repository, PruneOptions(delay_seconds=0), clients[1].context())
        made = {**street.acknowledged, **clients[0].made}
        check_all_there(street, storage, made, f"offset {offset}")
        clients[0].made.clear()
        fill_folder(street.house.folder / "cache0", street.caches[0])
        fill_folder(street.house.folder / "cache1", street.caches[1])
