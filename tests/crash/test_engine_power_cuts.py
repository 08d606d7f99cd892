"""P1: what was acknowledged survives a power cut at any instant, and the next backup just works."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.storage.memory import MemoryStorage
from tests.crash.states import MODELS, Model
from tests.promises.aftermath import Chains, check_aftermath
from tests.promises.conftest import an_old_source as an_old_source
from tests.promises.histories import History, cache_after, power_cuts, promised_at
from tests.promises.house import make_house

Trials = Callable[[int, int], int]


@pytest.mark.parametrize("model", MODELS)
def test_what_was_acknowledged_survives_a_power_cut_in_any_history(
    tmp_path: Path, model: Model, seed: int, trials: Trials
) -> None:
    for number in range(trials(4, 70)):
        chance = random.Random(seed + number)
        house = make_house(tmp_path / str(number), chance)
        house.sound = model != "fat"
        history = History(house, chance)
        history.begin()
        history.act("backup")
        for _ in range(6):
            history.act_any()
        house.calls = history.traced
        for state, case in power_cuts(history, model, seed + number, 35, history.known[0][0]):
            client = cache_after(history, state.cut, "after", chance)
            storage = MemoryStorage(state.files)
            if model == "fat":
                storage = Chains(state.files, state.shared)
            promised = promised_at(history, state.cut, f"{case} (number {number}, {client})")
            check_aftermath(house, storage, "after", promised)
