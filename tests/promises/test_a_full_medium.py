"""P3: no space is said plainly, leaves no half snapshot, and forget and prune still work."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kluis.errors import NoSpaceError
from kluis.storage.base import Storage
from kluis.storage.between import Unsynced
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from kluis.storage.memory import MemoryStorage
from tests.contents import live
from tests.crash.states import snapshot
from tests.promises.aftermath import Promised, check_aftermath, check_promised, check_whole
from tests.promises.house import House
from tests.promises.scenes import VERBS, Scene, lived_in, write_files

Trials = Callable[[int, int], int]

# The calls that need room.
NEEDY = ("create", "write", "fsync", "rename_noreplace")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WHOLE_ROOM_BYTES = 400_000  # in which the backup fits
PAGE_BYTES = 4096


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
    assert run_until_it_passes(intact, "backup", kind, errno.ENOSPC, trials(2, 1)) >= 2


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
    intact: Scene, disk: Disk, trials: Trials
) -> None:
    """On a real small disk where this user may mount one, else in memory."""
    used = sum(map(len, intact.files.values()))
    for number in range(trials(10, 150)):
        room = number * WHOLE_ROOM_BYTES // trials(10, 150)
        house = intact.set_up()
        storage = disk.filled(intact.files, used + room)
        case = f"{room} bytes of room on {disk}"
        try:
            house.store(storage=storage)
        except NoSpaceError as error:
            assert "space" in str(error), case
        storage = disk.again()
        promised = Promised(dict(house.acknowledged), case)
        with house.reach("cache", storage) as repository:
            check_promised(house, repository, promised)
            check_whole(house, repository, promised)
        check_room_comes_back(house, disk, case)


def check_room_comes_back(house: House, disk: Disk, case: str) -> None:
    """On the full medium forget and prune work, and then there is more room."""
    before = disk.room()
    [*old, last] = house.acknowledged
    house.forget(old, storage=disk.again())
    house.prune(storage=disk.again())
    assert disk.room() > before, case
    with house.reach("cache", disk.again()) as repository:
        assert last in live(repository), case
        promised = Promised(dict(house.acknowledged), case)
        check_promised(house, repository, promised)
        check_whole(house, repository, promised)


class Disk:
    """A medium of a given size: a tmpfs of its own, or a storage in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mounted = False
        self._memory = MemoryStorage()
        self._may_mount = os.geteuid() == 0

    def __repr__(self) -> str:
        return "tmpfs" if self._mounted else "memory"

    def filled(self, files: dict[str, bytes], size: int) -> Storage:
        """The medium with these files, of so many bytes, but for what folders take."""
        self.remove()
        self._folder.mkdir(exist_ok=True)
        pages = sum(-(-len(data) // PAGE_BYTES) for data in files.values())
        room = size - sum(map(len, files.values()))
        options = f"size={pages * PAGE_BYTES + room}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "kluis", str(self._folder)]
        self._mounted = (
            self._may_mount
            and subprocess.run(mount, check=False, capture_output=True).returncode == 0
        )
        if self._mounted:
            write_files(self._folder, files)
        else:
            self._may_mount = False
            self._memory = MemoryStorage(files, capacity=size)
        return self.again()

    def again(self) -> Storage:
        """The medium, opened anew."""
        return LocalStorage(self._folder, calls=Unsynced()) if self._mounted else self._memory

    def room(self) -> int:
        """Bytes that are free."""
        with self.again() as storage:
            free = storage.free_space()
        assert free is not None
        return free

    def remove(self) -> None:
        """Takes the disk away."""
        if self._mounted:
            subprocess.run(["umount", str(self._folder)], check=True)
            self._mounted = False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.remove()
