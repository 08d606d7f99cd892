"""P10: a store that went back, or became another branch, is noticed by who has seen a newer one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.errors import KluisError
from kluis.operations.verify import verify
from kluis.options import VerifyOptions
from kluis.repository import merger
from kluis.storage.memory import MemoryStorage
from tests.crash.states import snapshot
from tests.promises.histories import History
from tests.promises.house import House, make_house, quiet
from tests.promises.scenes import fill_folder

Trials = Callable[[int, int], int]
Files = dict[str, bytes]


def states_of(house: House, seed: int, length: int) -> list[tuple[Files, Files]]:
    """The repository's files after each act, and the cache of the client that watched."""
    history = History(house, random.Random(seed), kill_share=0.0)
    history.begin()
    states = []
    for turn in range(length):
        if turn:
            history.act_any()
        else:
            history.act("backup")
        history.act("verify" if turn % 3 == 2 else "backup")
        states.append((snapshot(house.location), snapshot(house.folder / "cache")))
    return states


def told(house: House, files: Files, cache: Files) -> tuple[str, ...]:
    """What a client that has this cache says of that repository."""
    fill_folder(house.folder / "watch", cache)
    with house.reach("watch", MemoryStorage(files)) as repository:
        result = verify(repository, VerifyOptions(), quiet(house))
        assert bool(result.regressions) <= (result.exit_status == 4)
        assert repository.regressions == result.regressions
    return result.regressions


@pytest.fixture(params=[64, 5])
def merged_from(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Ledgers whose records are kept, and ones in which checkpoints replace them."""
    number = int(request.param)
    monkeypatch.setattr(merger, "RECORDS_MERGED_FROM", number)
    return number


def test_an_older_copy_of_the_store_is_noticed_and_a_newer_one_is_not(
    tmp_path: Path, seed: int, trials: Trials, merged_from: int
) -> None:
    for number in range(trials(2, 10)):
        house = make_house(tmp_path / str(number), random.Random(seed + number), 20_000)
        states = states_of(house, seed + number, 6)
        for seen, (_, cache) in enumerate(states):
            for there, (files, _) in enumerate(states):
                case = f"seed {seed}, number {number}: seen {seen}, there {there}"
                assert bool(told(house, files, cache)) == (there < seen), case


def test_a_branch_that_grew_apart_is_noticed_however_long_it_is(
    tmp_path: Path, seed: int, trials: Trials, merged_from: int
) -> None:
    for number in range(trials(2, 20)):
        chance = random.Random(f"{seed} {number}")
        house = make_house(tmp_path / str(number), chance, 20_000)
        states = states_of(house, seed + number, 4)
        base, ahead = chance.randrange(3), 3
        files, cache = states[base]
        _, seen = states[ahead]
        fill_folder(house.folder / "thief", cache)
        storage = MemoryStorage(files)
        house.acknowledged = {}
        for turn in range(5):
            house.write("forked", chance.randbytes(100 + turn))
            house.store("thief", storage)
            case = f"seed {seed}, number {number}: left at {base}, {turn + 1} records on"
            assert told(house, storage.files(), seen), case
        house.prune("thief", storage)
        assert told(house, storage.files(), seen)


def test_an_older_keyring_is_noticed(tmp_path: Path, seed: int) -> None:
    house = make_house(tmp_path, random.Random(seed), 0)
    history = History(house, random.Random(seed))
    history.begin()
    history.act("backup")
    before = snapshot(house.location)
    history.act("passwd")
    history.act("backup")
    after, cache = snapshot(house.location), snapshot(house.folder / "cache")
    replayed = {name: data for name, data in after.items() if "keyring/" not in name}
    replayed |= {name: data for name, data in before.items() if "keyring/" in name}
    assert not told(house, after, cache)
    house.passphrase = history.words[0]
    assert told(house, replayed, cache)


def test_records_of_another_branch_at_the_end_are_noticed(tmp_path: Path, seed: int) -> None:
    """The newest records give way to as many from a branch, or to older ones renamed."""
    house = make_house(tmp_path, random.Random(seed), 0)
    history = History(house, random.Random(seed))
    history.begin()
    history.act("backup")
    branch = MemoryStorage(snapshot(house.location))
    history.act("backup")
    files, cache = snapshot(house.location), snapshot(house.folder / "cache")
    house.store("other", branch)
    newest = max(name for name in files if name.startswith("ledger/"))
    forked = {**files, **{n: d for n, d in branch.files().items() if n.endswith(newest)}}
    assert forked != files
    assert told(house, forked, cache)
    older = max(name for name in files if name.startswith("ledger/") and name != newest)
    renamed = {**files, newest: files[older], f"twins/{newest}": files[older]}
    assert told(house, renamed, cache)


def test_work_on_a_store_that_went_back_is_told_and_prune_refuses(
    tmp_path: Path, seed: int
) -> None:
    house = make_house(tmp_path, random.Random(seed), 0)
    house.settle_in()
    house.store()
    old = snapshot(house.location)
    house.store()
    storage = MemoryStorage(old)
    with pytest.raises(KluisError, match="rolled back"):
        house.prune(storage=storage)
    assert storage.files().keys() == old.keys()
    house.acknowledged = {}
    assert house.store(storage=storage).warnings
    with house.reach("cache", storage) as repository:
        result = verify(repository, VerifyOptions(), quiet(house))
        assert result.exit_status == 4
