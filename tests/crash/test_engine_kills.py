"""P2: a kill at any instant damages nothing and never needs an unlock."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from kluis.errors import PasswordError
from kluis.storage.between import Unsynced
from kluis.storage.faulty import CHANGES, Fault, FaultyCalls, Killed
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import TracedCalls
from tests.crash.states import Drawn, snapshot
from tests.promises.aftermath import Promised, check_aftermath
from tests.promises.conftest import an_old_source as an_old_source
from tests.promises.conftest import repeatable as repeatable
from tests.promises.histories import Medium
from tests.promises.scenes import VERBS, Scene, do_repair, lived_in, scene, with_damage
from tests.repositories import PASSPHRASE

Trials = Callable[[int, int], int]

# Each instant is tried in the soak; the slice takes this many, spread over all of them.
INSTANTS_IN_SLICE = 16


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return lived_in(tmp_path_factory.mktemp("house"), 7)


def changes_of(here: Scene, verb: str) -> int:
    """How many calls of a verb change the medium."""
    house = here.set_up()
    counting = FaultyCalls(inner=Unsynced())
    house.calls = counting
    VERBS[verb](house)
    return sum(counting.count[kind] for kind in CHANGES)


def instants(total: int, wanted: int) -> list[int]:
    """At most so many numbers below `total`, evenly spread, the first and last among them."""
    if total <= wanted:
        return list(range(total))
    return sorted({round(number * (total - 1) / (wanted - 1)) for number in range(wanted)})


def killed(here: Scene, verb: str, instant: int) -> FaultyCalls:
    """The verb, gone before that change; the acknowledged is what it was before."""
    house = here.set_up()
    calls = FaultyCalls([Fault("", instant, kill=True)], seed=instant, inner=Unsynced())
    house.calls = calls
    try:
        VERBS[verb](house)
    except Killed:
        pass
    finally:
        house.calls = Unsynced()
    return calls


@pytest.mark.parametrize("verb", ["backup", "forget", "prune"])
def test_a_kill_at_any_change_damages_nothing(intact: Scene, verb: str, trials: Trials) -> None:
    total = changes_of(intact, verb)
    for instant in instants(total, trials(INSTANTS_IN_SLICE, total)):
        calls = killed(intact, verb, instant)
        assert calls.hit, f"{verb} has no change number {instant}"
        house = intact.house
        promised = Promised(dict(house.acknowledged), f"{verb} killed before change {instant}")
        check_aftermath(house, MemoryStorage(snapshot(house.location)), "cache", promised)


def test_a_killed_change_of_keys_leaves_one_passphrase(intact: Scene, trials: Trials) -> None:
    total = changes_of(intact, "passwd")
    for instant in instants(total, trials(INSTANTS_IN_SLICE, total)):
        killed(intact, "passwd", instant)
        house = intact.house
        storage = MemoryStorage(snapshot(house.location))
        opening = []
        for word in (PASSPHRASE, b"another"):
            house.passphrase = word
            try:
                house.reach("cache", storage).close()
                opening.append(word)
            except PasswordError:
                continue
        assert len(opening) == 1, f"killed before change {instant}: {opening} open it"
        [house.passphrase] = opening
        case = f"passwd killed before change {instant}"
        check_aftermath(house, storage, "cache", intact.promised(case))


def test_a_killed_repair_makes_no_loss_and_can_be_run_again(intact: Scene, trials: Trials) -> None:
    here = with_damage(intact)
    total = changes_of(here, "repair")
    for instant in instants(total, trials(INSTANTS_IN_SLICE, total)):
        killed(here, "repair", instant)
        house = here.house
        do_repair(house)
        case = f"repair killed before change {instant}, and run again"
        storage = MemoryStorage(snapshot(house.location))
        check_aftermath(house, storage, "cache", here.promised(case))


@pytest.mark.parametrize("verb", ["backup", "prune"])
def test_what_a_killed_run_left_is_not_built_on_before_it_is_durable(
    intact: Scene, verb: str, trials: Trials
) -> None:
    """A kill, then a backup that finds the run's packs, then a power cut."""
    total = changes_of(intact, verb)
    for instant in instants(total, trials(INSTANTS_IN_SLICE, total)):
        house = intact.set_up()
        traced = TracedCalls(Unsynced())
        house.calls = FaultyCalls([Fault("", instant, kill=True)], inner=traced)
        try:
            VERBS[verb](house)
        except Killed:
            house.calls = traced
        house.store()
        case = f"{verb} killed before change {instant}, a backup, then a power cut"
        world = Medium(intact.files)
        for step in traced.steps:
            world.take(step)
        house.calls = Unsynced()
        for draw in range(2):
            state = world.cut("posix", Drawn(draw * 1000 + instant))
            promised = Promised(dict(house.acknowledged), f"{case}, draw {draw}")
            check_aftermath(
                house, MemoryStorage(state.files), f"fresh-{verb}-{instant}-{draw}", promised
            )


PROGRAM = """
import os, sys
from kluis.events import Context
from kluis.operations.backup import backup
from kluis.operations.prune import prune
from kluis.options import BackupOptions, Credentials, Limit, PruneOptions
from kluis.repository.access import open_repository
from kluis.storage.local import LocalStorage
from kluis.surroundings import Machine
location, cache, source, verb = sys.argv[1:]
print("ready", flush=True)
key = Credentials(b"PASSPHRASE")
with open_repository(LocalStorage(location), key, cache, Machine()) as repository:
    if verb == "backup":
        backup(repository, BackupOptions((os.fsencode(source),), host="box"), Context())
    else:
        prune(repository, PruneOptions(max_unused=Limit(size=0)), Context())
print("done", flush=True)
""".replace("PASSPHRASE", PASSPHRASE.decode())


@pytest.mark.parametrize("verb", ["backup", "prune"])
def test_a_real_kill_damages_nothing(intact: Scene, verb: str, seed: int, trials: Trials) -> None:
    chance = random.Random(seed)
    longest = 0.25
    for number in range(trials(4, 1000)):
        house = intact.set_up()
        wait = chance.random() * longest
        command = [sys.executable, "-c", PROGRAM, str(house.location), str(house.folder / "cache")]
        with subprocess.Popen(
            [*command, str(house.source), verb], stdout=subprocess.PIPE, env=dict(os.environ)
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(wait)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        case = f"{verb} killed after {wait:.4f} s (seed {seed}, number {number})"
        storage = MemoryStorage(snapshot(house.location))
        check_aftermath(house, storage, "cache", intact.promised(case))
    assert scene(intact.house).files
