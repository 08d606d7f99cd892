"""P1: what was acknowledged survives a power cut at any instant, and the next backup just works."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.errors import KluisError
from kluis.operations.repair import repair
from kluis.options import RepairOptions
from kluis.repository import merger
from kluis.repository.create import make_vault
from kluis.storage.base import Storage
from kluis.storage.between import Unsynced
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import TracedCalls
from tests.crash.states import MODELS, Drawn, Model, State
from tests.promises.aftermath import Chains, Promised, check_aftermath
from tests.promises.conftest import an_old_source as an_old_source
from tests.promises.conftest import repeatable as repeatable
from tests.promises.histories import (
    History,
    Medium,
    cache_after,
    opens,
    power_cuts,
    promised_at,
)
from tests.promises.house import change, make_house, quiet
from tests.promises.scenes import do_repair, lived_in, with_damage
from tests.repositories import KDF_MEMORY_BYTES, PASSPHRASE

Trials = Callable[[int, int], int]


def a_history(place: Path, model: Model, number: int) -> History:
    """A house with an empty repository on a medium of that kind."""
    chance = random.Random(number)
    house = make_house(place / str(number), chance)
    house.sound = model != "fat"
    return History(house, chance)


def medium(state: State) -> Storage:
    """What the power cut left, to go on with."""
    return Chains(state.files, state.shared)


def check_cuts(history: History, model: Model, seed: int, count: int, first: int) -> None:
    """After a cut at any step from `first` on all that was promised by then is there."""
    history.house.calls = history.traced
    for state, case in power_cuts(history, model, seed, count, first):
        client = cache_after(history, state.cut, "after", history.chance)
        promised = promised_at(history, state.cut, f"{case}, cache of {client}")
        check_aftermath(history.house, medium(state), "after", promised)


@pytest.mark.parametrize("model", MODELS)
def test_what_was_acknowledged_survives_in_any_history(
    tmp_path: Path, model: Model, seed: int, trials: Trials
) -> None:
    """Backups of two clients, forget, prune, verify, some of them killed; then the cut."""
    for number in range(seed, seed + trials(3, 70)):
        history = a_history(tmp_path, model, number)
        history.begin()
        history.act("backup")
        for _ in range(6):
            history.act_any()
        check_cuts(history, model, number, trials(25, 70), history.known[0][0])


@pytest.mark.parametrize("model", MODELS)
def test_merging_segments_and_records_loses_nothing(
    tmp_path: Path, model: Model, seed: int, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prunes that merge what they find, as those of years do, killed and cut."""
    monkeypatch.setattr(merger, "SEGMENTS_MERGED_FROM", 3)
    monkeypatch.setattr(merger, "RECORDS_MERGED_FROM", 4)
    for number in range(seed, seed + trials(2, 40)):
        history = a_history(tmp_path, model, number)
        history.begin()
        for _ in range(3):
            change(history.house, history.chance)
            history.act("backup", history.chance.choice(("cache", "other")))
        history.act("forget")
        first = len(history.traced.steps)
        history.act("prune", kill_at=history.chance.randrange(5, 60))
        for _ in range(2):
            change(history.house, history.chance)
            history.act("backup")
            history.act("prune", kill_at=history.chance.choice((None, 10, 20, 30)))
        check_cuts(history, model, number, trials(20, 60), first)


@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_init_is_a_repository_or_can_be_made_again(
    tmp_path: Path, model: Model, seed: int, trials: Trials
) -> None:
    history = a_history(tmp_path, model, seed)
    history.begin()
    for state, case in power_cuts(history, model, seed, trials(25, 600)):
        house, storage = history.house, medium(state)
        try:
            house.reach("after", storage).close()
        except KluisError as error:
            assert state.cut < history.known[0][0], f"{case}: {error}"
            try:
                make_vault(storage, PASSPHRASE, "", KDF_MEMORY_BYTES, house.clock)
            except KluisError as again:
                raise AssertionError(f"{case}: {error}, and then: {again}") from again
        check_aftermath(house, storage, f"after{state.cut}", Promised({}, case))


@pytest.mark.parametrize("model", MODELS)
def test_a_changed_passphrase_opens_or_the_old_one_does(
    tmp_path: Path, model: Model, seed: int, trials: Trials
) -> None:
    history = a_history(tmp_path, model, seed)
    history.begin()
    history.act("backup")
    first = len(history.traced.steps)
    history.act("passwd", kill_at=history.chance.choice((None, 6, 9, 14)))
    history.act("passwd")
    history.act("backup")
    words = history.words
    for state, case in power_cuts(history, model, seed, trials(25, 1000), first):
        known = history.known_at(state.cut).passphrase
        opening = [word for word in words if opens(history.house, medium(state), word)]
        assert len(opening) == 1, f"{case}: {opening} open it"
        assert words.index(opening[0]) >= words.index(known), f"{case}: only {opening} opens it"
        history.house.passphrase = opening[0]
        storage = medium(state)
        cache_after(history, state.cut, "after", history.chance)
        check_aftermath(history.house, storage, "after", promised_at(history, state.cut, case))
        history.house.calls = history.traced


def test_the_checks_see_what_is_not_durable(tmp_path: Path, seed: int) -> None:
    """Were a snapshot acknowledged one step before it is, some state would show it."""
    history = a_history(tmp_path, "posix", seed)
    history.begin()
    history.act("backup")
    change(history.house, history.chance)
    history.act("backup")
    step, known = history.known[-1]
    history.known[-1] = (step - 12, known)
    wrong = 0
    for state, case in power_cuts(history, "posix", seed, 40, step - 12):
        promised = promised_at(history, state.cut, case)
        try:
            check_aftermath(history.house, MemoryStorage(state.files), "after", promised)
        except AssertionError:
            wrong += 1
    assert wrong


@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_repair_loses_nothing_and_the_next_one_finishes(
    tmp_path: Path, model: Model, seed: int, trials: Trials
) -> None:
    damaged = with_damage(lived_in(tmp_path, seed))
    house = damaged.set_up()
    house.sound = model != "fat"
    traced = TracedCalls(Unsynced())
    house.calls = traced
    do_repair(house)
    house.calls = Unsynced()
    chance = random.Random(seed)
    world = Medium(damaged.files)
    for cut in sorted(chance.randrange(len(traced.steps) + 1) for _ in range(trials(12, 500))):
        while world.step < cut:
            world.take(traced.steps[world.step])
        number = chance.getrandbits(32)
        state = world.cut(model, Drawn(number))
        storage = medium(state)
        case = f"{model}, seed {seed}, cut before step {cut}, draw {number}"
        with house.reach(f"cache-{number}", storage) as repository:
            result = repair(repository, RepairOptions(), quiet(house))
        assert not result.unhealed, f"{case}: {result.unhealed}"
        check_aftermath(house, storage, f"cache-{number}", damaged.promised(case))
