"""Histories of a repository, decided by a seed and traced call by call; and their power cuts."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from kluis.errors import DamageError, PasswordError
from kluis.operations.keys import key_passwd
from kluis.operations.verify import verify
from kluis.options import Credentials, KeyPasswdOptions, VerifyOptions
from kluis.repository.access import open_repository
from kluis.storage.base import Storage
from kluis.storage.between import Unsynced
from kluis.storage.faulty import Fault, FaultyCalls, Killed
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import TracedCalls
from tests.contents import Contents
from tests.crash.states import Drawn, Model, State, World, snapshot
from tests.promises.aftermath import Promised
from tests.promises.house import House, change, quiet
from tests.repositories import KDF_MEMORY_BYTES, PASSPHRASE

CLIENTS = ("cache", "other")
KILLED_SHARE = 0.3
CALLS_OF_A_VERB = 30  # about; a kill later than its last call does not happen


@dataclass
class Known:
    """What was known at a step: marks so far, and the caches as they were."""

    promised: dict[str, Contents]
    caches: dict[str, dict[str, bytes]]
    passphrase: bytes


@dataclass
class History:
    """A house whose every change is traced, with what was promised at each step."""

    house: House
    chance: random.Random
    traced: TracedCalls = field(init=False)
    known: list[tuple[int, Known]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    kill_share: float = KILLED_SHARE
    acknowledged_passphrase: bytes = PASSPHRASE
    words: list[bytes] = field(default_factory=lambda: [PASSPHRASE])

    def __post_init__(self) -> None:
        self.traced = TracedCalls(Unsynced())
        self.house.calls = self.traced

    def begin(self) -> None:
        """An empty repository."""
        self.house.settle_in()
        self.note()

    def note(self) -> None:
        """From here on this is promised."""
        caches = {
            client: snapshot(self.house.folder / client)
            for client in CLIENTS
            if (self.house.folder / client).exists()
        }
        promised = dict(self.house.acknowledged)
        known = Known(promised, caches, self.acknowledged_passphrase)
        self.known.append((len(self.traced.steps), known))

    def known_at(self, cut: int) -> Known:
        """What was promised before the cut, and so has to be there after it."""
        return [known for step, known in self.known if step <= cut][-1]

    def act(self, verb: str, client: str = "cache", kill_at: int | None = None) -> None:
        """One verb, killed before its `kill_at`-th change if it comes so far."""
        self.told.append(f"{verb} by {client}" + ("" if kill_at is None else f" killed {kill_at}"))
        faults = [] if kill_at is None else [Fault("", kill_at, kill=True)]
        self.house.calls = FaultyCalls(faults, seed=kill_at or 0, inner=self.traced)
        try:
            VERBS[verb](self, client)
        except Killed:
            self.told[-1] += " (was)"
        finally:
            self.house.calls = self.traced
        self.note()

    def act_any(self) -> None:
        """A verb that the chance decides; before a backup the source changes."""
        verb = self.chance.choices(list(VERBS), WEIGHTS)[0]
        if verb == "backup":
            change(self.house, self.chance)
        client = self.chance.choice(CLIENTS) if self.chance.random() < 0.5 else CLIENTS[0]
        killed = self.chance.random() < self.kill_share
        self.act(verb, client, self.chance.randrange(CALLS_OF_A_VERB) if killed else None)


def _backup(history: History, client: str) -> None:
    history.house.store(client)


def _forget(history: History, client: str) -> None:
    house = history.house
    ids = sorted(house.acknowledged, key=list(house.acknowledged).index)
    if len(ids) < 2:
        return
    gone = history.chance.sample(ids, history.chance.randrange(1, len(ids)))
    for identity in gone:
        house.acknowledged.pop(identity)
    history.note()
    house.forget(gone, client)


def _prune(history: History, client: str) -> None:
    history.house.prune(client)


def _verify(history: History, client: str) -> None:
    with history.house.reach(client) as repository:
        result = verify(repository, VerifyOptions(level=1), quiet(history.house))
    if result.exit_status:
        raise DamageError(f"{history.told}: {result.damages} {result.regressions}")


def _passwd(history: History, client: str) -> None:
    house = history.house
    history.words.append(f"word {len(history.told)}".encode())
    options = KeyPasswdOptions(history.words[-1], KDF_MEMORY_BYTES)
    try:
        with house.reach(client) as repository:
            key_passwd(repository, options, quiet(house))
        history.acknowledged_passphrase = history.words[-1]
    finally:
        files = MemoryStorage(snapshot(house.location))
        [house.passphrase] = [word for word in history.words if opens(house, files, word)]


def opens(house: House, storage: Storage, passphrase: bytes) -> bool:
    """Whether a passphrase opens what is stored."""
    try:
        cache = str(house.folder / "fresh")
        open_repository(storage, Credentials(passphrase), cache, house.clock).close()
    except PasswordError:
        return False
    return True


VERBS: dict[str, Callable[[History, str], None]] = {
    "backup": _backup,
    "forget": _forget,
    "prune": _prune,
    "verify": _verify,
    "passwd": _passwd,
}
WEIGHTS = (5, 2, 3, 1, 0)


class Medium(World):
    """A world whose choices follow the order in which names came up, not the names themselves.

    Names of packs and runs are random; so one seed means one state all the same.
    """

    def cut(self, model: Model, chooser: Drawn) -> State:  # type: ignore[override]
        span = self.step - self._synced + 1
        upto = self._synced + chooser.pick(span) if model == "ext4" else 0
        chosen = {}
        for path, history in self._names.items():
            entry = history[chooser.pick(len(history))] if model != "ext4" else None
            if entry is None:
                entry = [item for item in history if item.step <= upto][-1]
            if entry.node is not None:
                chosen[path] = entry
        return self._state(model, chooser, chosen)


def power_cuts(
    history: History, model: Model, seed: int, count: int, first: int = 0
) -> Iterator[tuple[State, str]]:
    """`count` states after a power cut at steps from `first` on, each with a name for it."""
    steps = history.traced.steps
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(first, len(steps) + 1) for _ in range(count))
    world = Medium({})
    for cut in cuts:
        while world.step < cut:
            world.take(steps[world.step])
        number = chance.getrandbits(32)
        yield world.cut(model, Drawn(number)), f"seed {seed}, {model}, step {cut}, draw {number}"


def promised_at(history: History, cut: int, case: str) -> Promised:
    """What has to be there after a cut before this step."""
    return Promised(history.known_at(cut).promised, f"{case} of {history.told}")


def cache_after(history: History, cut: int, folder_name: str, chance: random.Random) -> str:
    """Lays out a client's cache as the cut may have left it; returns which client's.

    It is the one of before, an older one, none, or one with a file torn.
    """
    house = history.house
    folder = house.folder / folder_name
    shutil.rmtree(folder, ignore_errors=True)
    earlier = [known.caches for step, known in history.known if step <= cut]
    caches = earlier[-1] if chance.random() < 0.7 else chance.choice(earlier)
    client = chance.choice(CLIENTS)
    files = dict(caches.get(client, {}))
    way = chance.random()
    if way < 0.15:
        files = {}
    elif way < 0.4 and files:
        name = chance.choice(sorted(files))
        data = files[name]
        at = chance.randrange(len(data) + 1)
        files[name] = chance.choice((b"", data[:at], data[:at] + bytes(len(data) - at)))
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return client
