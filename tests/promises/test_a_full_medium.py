"""P3: no space is said plainly, leaves no half snapshot, and forget and prune still work."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kluis.errors import NoSpaceError
from kluis.storage.base import Storage
from kluis.storage.between import Unsynced
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.memory import MemoryStorage
from tests.contents import live
from tests.crash.states import snapshot
from tests.promises.aftermath import check_aftermath, check_promised, check_whole
from tests.promises.house import House
from tests.promises.scenes import VERBS, Scene, fill_folder, lived_in

Trials = Callable[[int, int], int]

# The calls that need room.
NEEDY = ("create", "write", "fsync", "rename_noreplace")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return lived_in(tmp_path_factory.mktemp("house"), 11)


def run_until_it_passes(here: Scene, verb: str, kind: str, number: int, step: int) -> int:
    """Fails every call of a kind from the first, second, third ... on; returns how many tries."""
    index = 0
    while True:
        house = here.set_up()
        calls = FaultyCalls([Fault(kind, index, errno=number, lasting=True)], inner=Unsynced())
        house.calls = calls
        case = f"{verb}, {errno.errorcode[number]} from {kind} {index} on"
        try:
            VERBS[verb](house)
        except NoSpaceError as error:
            assert error.exit_status == 13
            assert "space" in str(error), f"{case}: {error}"
        else:
            if not calls.hit:
                return index
        house.calls = Unsynced()
        storage = MemoryStorage(snapshot(house.location))
        with house.reach("cache", storage) as repository:
            known = set(live(repository))
            assert len(known - set(here.acknowledged)) <= 1, case
        check_aftermath(house, storage, "cache", here.promised(case))
        index += step


@pytest.mark.parametrize("kind", NEEDY)
def test_a_backup_that_meets_no_space_at_any_call_says_so_and_harms_nothing(
    intact: Scene, kind: str, trials: Trials
) -> None:
    assert run_until_it_passes(intact, "backup", kind, errno.ENOSPC, trials(2, 1)) >= 3


@pytest.mark.parametrize("number", FULL)
def test_a_quota_and_a_limit_on_file_sizes_are_no_space_too(intact: Scene, number: int) -> None:
    run_until_it_passes(intact, "backup", "write", number, 5)


def test_a_prune_that_meets_no_space_at_any_call_harms_nothing(
    intact: Scene, trials: Trials
) -> None:
    """It moves less, or says so; what it dooms it has recorded."""
    for index in range(0, trials(16, 60), trials(2, 1)):
        house = intact.set_up()
        fault = Fault("write", index, errno=errno.ENOSPC)
        house.calls = FaultyCalls([fault], inner=Unsynced())
        case = f"prune, ENOSPC once, at write {index}"
        try:
            house.prune()
        except NoSpaceError as error:
            assert "space" in str(error), case
        house.calls = Unsynced()
        storage = MemoryStorage(snapshot(house.location))
        check_aftermath(house, storage, "cache", intact.promised(case))


def test_a_medium_of_any_size_takes_a_whole_snapshot_or_none(
    intact: Scene, trials: Trials
) -> None:
    house = intact.set_up()
    files = snapshot(house.location)
    used = sum(map(len, files.values()))
    house.store(storage=MemoryStorage(files))
    whole = 700_000
    for room in range(0, whole, whole // trials(12, 180)):
        house = intact.set_up()
        storage = MemoryStorage(files, capacity=used + room)
        case = f"{room} bytes of room"
        try:
            house.store(storage=storage)
        except NoSpaceError as error:
            assert "space" in str(error), case
        with house.reach("cache", MemoryStorage(storage.files())) as repository:
            check_promised(house, repository, intact.promised(case))
            check_whole(house, repository, intact.promised(case))
        check_room_comes_back(house, storage, case)


def check_room_comes_back(house: House, storage: MemoryStorage, case: str) -> None:
    """On the full medium forget and prune work, and then there is more room."""
    before = storage.free_space()
    assert before is not None
    kept = list(house.acknowledged)[-1:]
    house.forget(list(house.acknowledged)[:-1], storage=storage)
    house.prune(storage=storage)
    after = storage.free_space()
    assert after is not None
    assert after > before, case
    with house.reach("cache", storage) as repository:
        assert live(repository) == kept, case
        check_whole(house, repository, Promised_(house, case))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 8 MiB if this user may mount one, else a folder with a quota of bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "kluis", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    yield place
    if mounted:
        subprocess.run(["umount", str(place)], check=True)
