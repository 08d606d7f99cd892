"""P18: what changes, shrinks, vanishes or cannot be read is named, and all else is safe."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kluis.errors import NotFoundError
from kluis.operations.backup import backup
from kluis.operations.verify import verify
from kluis.options import BackupOptions, VerifyOptions
from kluis.results import BackupResult
from kluis.source import read
from kluis.storage.memory import MemoryStorage
from tests.contents import Contents, contents, on_disk
from tests.crash.states import snapshot
from tests.promises.house import House, make_house, quiet

Trials = Callable[[int, int], int]

RACING = 12
UNIT_BYTES = 1000
LARGE_UNIT_BYTES = 300_000

# Every state in which a file ever is says so itself: one letter, as often as some unit.
DISTURBER = """
import os, random, sys, time
top, seed, unit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
print("ready", flush=True)
while True:
    name = os.path.join(top, f"r{chance.randrange(RACING)}")
    letter = bytes([chance.randrange(97, 123)])
    what = chance.randrange(6)
    try:
        if what == 0:
            os.unlink(name)
        elif what == 1:
            size = os.stat(name).st_size
            os.truncate(name, size // unit // 2 * unit)
        elif what == 2:
            with open(name, "rb") as file:
                first = file.read(1) or letter
            descriptor = os.open(name, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, first * unit)
            os.close(descriptor)
        elif what == 3:
            os.rename(name, name + "-away")
            os.rename(name + "-away", name)
        else:
            with open(name + ".new", "wb") as file:
                file.write(letter * unit * chance.randrange(1, 5))
            os.rename(name + ".new", name)
    except OSError:
        pass
    time.sleep(chance.random() * 0.002)
""".replace("RACING", str(RACING))


@contextmanager
def disturbed(folder: Path, seed: int, unit: int) -> Iterator[None]:
    """Another process changes the files of the folder all the time."""
    command = [sys.executable, "-c", DISTURBER, str(folder), str(seed), str(unit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()
            process.wait()


def a_house(folder: Path, seed: int, unit: int) -> tuple[House, MemoryStorage]:
    house = make_house(folder, random.Random(seed), 0)
    house.settle_in()
    racing = house.source / "racing"
    racing.mkdir()
    for number in range(RACING):
        (racing / f"r{number}").write_bytes(b"a" * unit * 3)
    return house, MemoryStorage(snapshot(house.location))


def check_report(
    house: House, result: BackupResult, found: Contents, expected: Contents, case: str
) -> None:
    """What stood still is exact; of the rest each file is as it was once, or has a name."""
    racing = house.below() + b"/racing"
    for path, facts in expected.items():
        if not path.startswith(racing) and path != house.below():
            assert found.get(path) == facts, f"{case}: {path!r} stood still"
    named = {problem.path for problem in result.problems}
    assert all(path.startswith(racing) for path in named), f"{case}: {named}"
    assert result.exit_status == (3 if named else 0), case


def check_states(
    house: House, storage: MemoryStorage, result: BackupResult, unit: int, case: str
) -> int:
    """Bytes that no state of a file had are only in those that are named; how many these are."""
    named = {problem.path for problem in result.problems}
    with house.reach(storage=storage) as repository:
        for number in range(RACING):
            path = house.below() + f"/racing/r{number}".encode()
            try:
                with repository.open_file(result.snapshot_id, path) as file:
                    data = file.read()
            except NotFoundError:
                continue  # it was away when its folder was listed
            whole = len(data) % unit == 0 and len(set(data)) <= 1
            assert whole or path in named, f"{case}: {path!r} is a mixture and not reported"
    return len(named)


@pytest.mark.parametrize("unit", [UNIT_BYTES, LARGE_UNIT_BYTES])
def test_a_folder_that_another_process_changes_all_the_time(
    tmp_path: Path, seed: int, trials: Trials, unit: int
) -> None:
    house, storage = a_house(tmp_path, seed, unit)
    expected = on_disk(house.source)
    options = BackupOptions(paths=(os.fsencode(house.source),), host="box")
    reported = 0
    with disturbed(house.source / "racing", seed, unit):
        for number in range(trials(12, 250)):
            case = f"seed {seed}, number {number}"
            with house.reach(storage=storage) as repository:
                result = backup(repository, options, quiet(house))
            with house.reach(storage=storage) as repository:
                found = contents(repository, result.snapshot_id, house.below())
            check_report(house, result, found, expected, case)
            reported += check_states(house, storage, result, unit, case)
    assert reported or unit == UNIT_BYTES  # small ones are read in one go
    last = backup_quietly(house, storage)
    assert last.exit_status == 0
    with house.reach(storage=storage) as repository:
        found = contents(repository, last.snapshot_id, house.below())
        assert found == on_disk(house.source)
        assert verify(repository, VerifyOptions(level=2), quiet(house)).exit_status == 0


def backup_quietly(house: House, storage: MemoryStorage) -> BackupResult:
    with house.reach(storage=storage) as repository:
        return backup(repository, house.what(), quiet(house))


def test_each_way_to_fail_is_told_by_name_and_the_next_run_makes_it_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment when a large file is opened it is gone, cut short, longer, or unreadable."""
    house, storage = a_house(tmp_path, 3, LARGE_UNIT_BYTES)
    racing = house.source / "racing"
    open_file = read.open_file
    ways: dict[str, Callable[[Path], object]] = {
        "r0": lambda path: path.unlink(),
        "r1": lambda path: os.truncate(path, 100),
        "r2": lambda path: path.write_bytes(b"z" * LARGE_UNIT_BYTES * 4),
    }

    def late(descriptor: int, name: bytes) -> object:
        way = ways.pop(name.decode(), None)
        if name == b"r3":
            raise PermissionError(13, "Permission denied")
        if name == b"r0" and way is not None:
            way(racing / "r0")
        opened = open_file(descriptor, name)
        if name != b"r0" and way is not None:
            way(racing / name.decode())
        return opened

    monkeypatch.setattr("kluis.operations.archiving.files.open_file", late)
    expected = on_disk(house.source)
    result = backup_quietly(house, storage)
    names = {problem.path.rpartition(b"/")[2] for problem in result.problems}
    assert names == {b"r0", b"r1", b"r2", b"r3"}
    assert result.exit_status == 3
    monkeypatch.undo()
    with house.reach(storage=storage) as repository:
        found = contents(repository, result.snapshot_id, house.below())
    for path, facts in expected.items():
        if facts[0] != "folder" and path.rpartition(b"/")[2] not in names:
            assert found[path] == facts
    again = backup_quietly(house, storage)
    assert again.exit_status == 0
    with house.reach(storage=storage) as repository:
        found = contents(repository, again.snapshot_id, house.below())
        assert found == on_disk(house.source)
