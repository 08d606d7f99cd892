"""P5, P6, P9: any damage is found, never read as if it were whole, and no single one is fatal."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kluis.errors import DamageError, KluisError
from kluis.operations.repair import repair
from kluis.operations.verify import verify
from kluis.options import RepairOptions, VerifyOptions
from kluis.results import VerifyResult
from kluis.storage.memory import MemoryStorage
from tests.contents import all_contents, live
from tests.promises.aftermath import check_promised, check_whole
from tests.promises.damages import (
    DAMAGES,
    KINDS,
    Files,
    all_kinds,
    flipped,
    of_kind,
    without,
)
from tests.promises.house import change, make_house, quiet
from tests.promises.scenes import Scene, lived_in, scene

Trials = Callable[[int, int], int]

SMALL_KINDS = ("store", "keyring", "domain")


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A repository in which frames were moved, records sealed, snapshots forgotten."""
    here = lived_in(tmp_path_factory.mktemp("house"), 17, 50_000)
    house = here.house
    house.prune()
    house.store()
    change(house, random.Random(17))
    house.store()
    return scene(house)


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A repository with one snapshot."""
    house = make_house(tmp_path_factory.mktemp("young"), random.Random(18), 0)
    house.settle_in()
    house.store()
    return scene(house)


def look(here: Scene, files: Files, level: int) -> VerifyResult | DamageError:
    """What verify says of these files; an error where they cannot even be opened."""
    try:
        with here.house.reach("cache", MemoryStorage(files)) as repository:
            options = VerifyOptions(level=2 if level == 2 else 1 if level else 0)
            return verify(repository, options, quiet(here.house))
    except DamageError as error:
        return error


def is_found(result: VerifyResult | DamageError) -> bool:
    return isinstance(result, DamageError) or result.exit_status == 4


def check_never_wrong(here: Scene, files: Files, case: str) -> None:
    """Whatever can be read is what was stored."""
    try:
        with here.house.reach("fresh", MemoryStorage(files)) as repository:
            there = [one for one in live(repository) if one in here.acknowledged]
            found = all_contents(repository, there, here.house.below())
    except KluisError:
        return
    for snapshot, read in found.items():
        assert read == here.acknowledged[snapshot], f"{case}: wrong bytes and no error"


def check_healed(here: Scene, files: Files, case: str) -> None:
    """Repair makes it whole again, without the source."""
    storage = MemoryStorage(files)
    here.set_up_cache()
    with here.house.reach("cache", storage) as repository:
        result = repair(repository, RepairOptions(), quiet(here.house))
    assert result.exit_status == 0, f"{case}: {result.unhealed}"
    with here.house.reach("cache", storage) as repository:
        check_promised(here.house, repository, here.promised(case))
        check_whole(here.house, repository, here.promised(case))
    here.set_up_cache()


def is_tolerated(here: Scene, name: str, how: str) -> bool:
    """A newest record whose twin is missing is what an interrupted command leaves."""
    newest = max(name for name in here.files if name.startswith("twins/ledger/"))
    return how == "delete" and name == newest


@pytest.mark.parametrize("kind", KINDS)
def test_any_damage_to_a_file_is_found(intact: Scene, kind: str, seed: int, trials: Trials) -> None:
    intact.set_up()
    chance = random.Random(f"{seed} {kind}")
    names = of_kind(intact.files, kind)
    assert names
    for number in range(trials(70, 10_000)):
        name, how = chance.choice(names), chance.choice(sorted(DAMAGES))
        files = DAMAGES[how](intact.files, name, chance)
        case = f"{how} of a {kind}, seed {seed}, number {number}: {name}"
        if not is_tolerated(intact, name, how):
            assert is_found(look(intact, files, 1)), f"{case} was not found"
        if number % 4 == 0:
            check_never_wrong(intact, files, case)


def test_every_file_that_is_missing_is_found_by_structure_alone_and_healed(
    intact: Scene,
) -> None:
    intact.set_up()
    for name in all_kinds(intact.files):
        files = without(intact.files, name)
        if not is_tolerated(intact, name, "delete"):
            assert is_found(look(intact, files, 0)), f"{name} is missing, and verify is content"
        check_never_wrong(intact, files, name)
        check_healed(intact, files, f"{name} is missing")


@pytest.mark.parametrize("kind", SMALL_KINDS)
def test_no_flipped_bit_in_what_opens_the_repository_is_fatal(young: Scene, kind: str) -> None:
    """Every byte of both copies, with a bit that depends on its place."""
    young.set_up()
    for name in of_kind(young.files, kind):
        for place in range(len(young.files[name])):
            files = flipped(young.files, name, place * 8 + place % 8)
            case = f"bit {place % 8} of byte {place} of {name}"
            check_not_fatal(young, files, name, case)


def check_not_fatal(here: Scene, files: Files, name: str, case: str) -> None:
    """It opens, every snapshot is there, and just the one file is reported."""
    with here.house.reach("cache", MemoryStorage(files)) as repository:
        assert set(live(repository)) == set(here.acknowledged), case
        result = verify(repository, VerifyOptions(), quiet(here.house))
        assert [damage.object for damage in result.damages] == [name], case


def test_no_flipped_bit_in_the_ledger_is_fatal(intact: Scene, trials: Trials) -> None:
    intact.set_up()
    for number, name in enumerate(of_kind(intact.files, "ledger record")):
        for place in range(number % trials(23, 1), len(intact.files[name]), trials(23, 1)):
            files = flipped(intact.files, name, place * 8 + place % 8)
            case = f"bit {place % 8} of byte {place} of {name}"
            check_not_fatal(intact, files, name, case)


def test_structure_alone_tells_short_long_and_foreign_files(
    intact: Scene, seed: int, trials: Trials
) -> None:
    intact.set_up()
    chance = random.Random(f"{seed} structure")
    for number in range(trials(100, 1000)):
        name = chance.choice(all_kinds(intact.files))
        how = chance.choice(("truncate", "grow", "misname", "add"))
        if how == "misname":
            files = without(intact.files, name)
            files[f"{name}0"] = intact.files[name]
        elif how == "add":
            strange = chance.choice(("index/note.txt", "copy-of-store", "packs/q", "x/y/z"))
            files = {**intact.files, strange: chance.randbytes(9)}
        else:
            files = DAMAGES[how](intact.files, name, chance)
        if how == "misname" and is_tolerated(intact, name, "delete"):
            continue
        result = look(intact, files, 0)
        assert is_found(result), f"{how} of {name} (seed {seed}, number {number}) was not found"


def test_a_snapshot_of_which_both_copies_are_gone_is_missed(intact: Scene) -> None:
    intact.set_up()
    run = next(iter(intact.acknowledged))
    gone = [name for name in of_kind(intact.files, "snapshot") if run in name]
    assert len(gone) == 2
    assert is_found(look(intact, without(intact.files, *gone), 0))


def test_verify_says_when_bytes_were_last_read(intact: Scene) -> None:
    house = intact.set_up()
    storage = MemoryStorage(intact.files)
    with house.reach("cache", storage) as repository:
        first = verify(repository, VerifyOptions(), quiet(house))
    assert first.bytes_never_read
    assert first.oldest_read_ns is None
    read_at = house.clock.time_ns
    with house.reach("cache", storage) as repository:
        verify(repository, VerifyOptions(level=1), quiet(house))
    house.clock.time_ns += 10**15
    with house.reach("cache", storage) as repository:
        later = verify(repository, VerifyOptions(), quiet(house))
    house.clock.time_ns = read_at
    assert later.oldest_read_ns == read_at
    assert later.bytes_never_read == 0
