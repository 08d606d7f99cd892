"""P4: an error of the medium, on whatever call, is never reported as success."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from kluis.errors import KluisError, UnreadableError
from kluis.operations import verify as verifying
from kluis.options import VerifyOptions
from kluis.repository.access import Repository
from kluis.storage.between import Unsynced
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import Request, TracedStorage
from tests.contents import all_contents, live, on_disk
from tests.crash.states import snapshot
from tests.promises.aftermath import Promised, check_aftermath
from tests.promises.house import House, quiet
from tests.promises.scenes import VERBS, Scene, do_repair, lived_in, with_damage

Trials = Callable[[int, int], int]

ERRORS = (errno.EIO, errno.EROFS, errno.EACCES, errno.ENODEV, errno.ESTALE, errno.EMFILE)
READING = ("folder", "open", "read", "fstat", "entries", "stat", "close")
WRITING = ("mkdir", "create", "write", "fsync", "rename_noreplace", "unlink", "close")


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return lived_in(tmp_path_factory.mktemp("house"), 13, 100_000)


def counted(here: Scene, act: Callable[[House], object]) -> dict[str, int]:
    """How often an act makes each call."""
    house = here.set_up()
    counting = FaultyCalls(inner=Unsynced())
    house.calls = counting
    act(house)
    return dict(counting.count)


def a_fault(chance: random.Random, kinds: tuple[str, ...], counts: dict[str, int]) -> Fault:
    """One that the act will meet."""
    kind = chance.choice([kind for kind in kinds if counts.get(kind)])
    index, number = chance.randrange(counts[kind]), chance.choice(ERRORS)
    return Fault(
        kind, index, errno=number, lasting=chance.random() < 0.5, after=chance.random() < 0.2
    )


def failing(here: Scene, act: Callable[[House], object], fault: Fault) -> KluisError | None:
    """What comes of an act with that fault; None is success."""
    house = here.set_up()
    calls = FaultyCalls([fault], seed=fault.index, inner=Unsynced())
    house.calls = calls
    try:
        act(house)
    except KluisError as error:
        return error
    finally:
        house.calls = Unsynced()
    return None


@pytest.mark.parametrize("verb", ["backup", "prune", "forget", "passwd"])
def test_no_error_harms_what_is_stored_and_success_means_success(
    intact: Scene, verb: str, seed: int, trials: Trials
) -> None:
    counts = counted(intact, VERBS[verb])
    chance = random.Random(f"{seed} {verb}")
    for number in range(trials(24, 1500)):
        fault = a_fault(chance, READING + WRITING, counts)
        case = f"{verb}, seed {seed}, number {number}: {fault}"
        error = failing(intact, VERBS[verb], fault)
        house = intact.house
        storage = MemoryStorage(snapshot(house.location))
        if verb == "passwd" and error is not None:
            house.passphrase = b"another"
            try:
                house.reach("cache", storage).close()
            except KluisError:
                house.passphrase = intact.passphrase
        promised = dict(house.acknowledged if error is None else intact.acknowledged)
        if verb == "forget":
            promised = dict(house.acknowledged)
        check_aftermath(house, storage, "cache", Promised(promised, f"{case} gave {error}"))


def test_a_backup_that_reports_an_error_may_have_counted_but_then_it_is_whole(
    intact: Scene, seed: int, trials: Trials
) -> None:
    """The answer to the last write can be lost: the snapshot is there or not, never a half one."""
    counts = counted(intact, VERBS["backup"])
    expected = on_disk(intact.house.source)
    chance = random.Random(f"{seed} after")
    for number in range(trials(12, 500)):
        kind = chance.choice(("rename_noreplace", "fsync", "write", "close"))
        index = counts[kind] - 1 - chance.randrange(min(4, counts[kind]))
        fault = Fault(kind, index, errno=errno.EIO, after=True)
        failing(intact, VERBS["backup"], fault)
        house = intact.house
        with house.reach("fresh") as repository:
            new = set(live(repository)) - set(intact.acknowledged)
            for found in all_contents(repository, new, house.below()).values():
                assert found == expected, f"seed {seed}, number {number}: {fault}"


def test_verify_never_finds_all_well_in_what_it_could_not_read(
    intact: Scene, seed: int, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "_remember_reading", lambda *_: None)
    monkeypatch.setattr(Repository, "remember", lambda _: None)

    def look(house: House) -> None:
        with house.reach("cache") as repository:
            result = verifying.verify(repository, VerifyOptions(level=2), quiet(house))
        if result.exit_status:
            raise KluisError(str(result.damages))

    counts = counted(intact, look)
    chance = random.Random(f"{seed} verify")
    for number in range(trials(60, 3000)):
        # One that passes may be made good by a second reading or by the other copy.
        fault = replace(a_fault(chance, READING[:-1], counts), lasting=True)
        case = f"seed {seed}, number {number}: {fault}"
        assert failing(intact, look, fault) is not None, f"{case} was not noticed"


def test_verify_names_each_pack_and_shard_that_could_not_be_read_even_once(intact: Scene) -> None:
    house = intact.set_up()
    for name in [name for name in intact.files if name.startswith(("packs/", "parity/"))]:
        left = [name]

        def refuse(request: Request, left: list[str] = left) -> None:
            if request.method == "get" and request.name in left:
                left.remove(request.name)
                raise UnreadableError(f"cannot read {request.name}")

        storage = TracedStorage(MemoryStorage(intact.files), refuse)
        with house.reach("cache", storage) as repository:
            result = verifying.verify(repository, VerifyOptions(level=1), quiet(house))
        assert not left
        assert name in [damage.object for damage in result.damages]


def test_reading_gives_the_right_bytes_or_an_error(
    intact: Scene, seed: int, trials: Trials
) -> None:
    def read(house: House) -> None:
        with house.reach("cache") as repository:
            found = all_contents(repository, intact.acknowledged, house.below())
        assert found == intact.acknowledged

    counts = counted(intact, read)
    chance = random.Random(f"{seed} read")
    for number in range(trials(60, 3000)):
        fault = a_fault(chance, READING, counts)
        try:
            failing(intact, read, fault)
        except AssertionError as wrong:
            raise AssertionError(f"wrong bytes: seed {seed}, number {number}: {fault}") from wrong
    flips = FaultyCalls([Fault("read", 5, flip=True, lasting=True)], inner=Unsynced())
    house = intact.set_up()
    house.calls = flips
    with pytest.raises((KluisError, AssertionError)) as caught:
        read(house)
    house.calls = Unsynced()
    assert isinstance(caught.value, KluisError)


def test_a_failing_repair_makes_no_loss(intact: Scene, seed: int, trials: Trials) -> None:
    here = with_damage(intact)
    counts = counted(here, do_repair)
    chance = random.Random(f"{seed} repair")
    for number in range(trials(14, 1000)):
        fault = a_fault(chance, READING + WRITING, counts)
        case = f"seed {seed}, number {number}: {fault}"
        try:
            failing(here, do_repair, fault)
        except AssertionError:
            pass  # it said that not all was healed
        house = here.house
        do_repair(house)
        storage = MemoryStorage(snapshot(house.location))
        check_aftermath(house, storage, "cache", here.promised(case))
