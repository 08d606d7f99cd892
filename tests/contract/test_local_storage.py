"""What holds for a local storage besides: between processes, and beside foreign things."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kluis.errors import DamageError, NotFoundError
from kluis.storage.local import LocalStorage
from tests.contract import storages

WRITERS = 3
CLAIM = """
import errno, sys
from kluis.errors import AlreadyExistsError
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage

faults = [Fault(kind, 0, errno=errno.EPERM if kind == "link" else errno.EINVAL, lasting=True)
          for kind in sys.argv[3:]]
storage = LocalStorage(sys.argv[1], calls=FaultyCalls(faults))
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    try:
        storage.create(f"ledger/{number}", sys.argv[2].encode())
    except AlreadyExistsError:
        continue
    print(number)
"""


@pytest.fixture(params=storages.LOCALS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalStorage]:
    with storages.LOCALS[request.param](tmp_path / "place") as made:
        assert isinstance(made, LocalStorage)
        yield made


@pytest.mark.parametrize("absent", [(), ("rename_noreplace",), ("rename_noreplace", "link")])
def test_one_of_many_processes_creates_each_name(tmp_path: Path, absent: tuple[str, ...]) -> None:
    place = tmp_path / "place"
    storage = LocalStorage.make(place)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(place), str(number), *absent],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate()[0].split() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert sorted(int(n) for won in outputs for n in won) == list(range(60))
    for writer, won in enumerate(outputs):
        assert all(storage.get(f"ledger/{n}") == str(writer).encode() for n in won)
    assert list(storage.leftovers("")) == []


def test_files_and_folders_are_for_their_owner_alone(storage: LocalStorage) -> None:
    storage.create("a/b", b"x")
    storage.put("a/c", [b"x"])
    modes = {path.name: path.stat().st_mode & 0o7777 for path in Path(storage.path).rglob("*")}
    assert {name: mode for name, mode in modes.items() if name != "lock"} == {
        "a": 0o700,
        "b": 0o600,
        "c": 0o600,
    }
    assert modes.get("lock", 0o600) == 0o600


def test_no_link_is_followed(storage: LocalStorage, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    place = Path(storage.path)
    (place / "packs").symlink_to(outside)
    (place / "store").symlink_to(outside / "file")
    (place / "new").symlink_to(outside / "new")
    with pytest.raises(DamageError):
        storage.get("packs/file")
    with pytest.raises(DamageError):
        storage.get("store")
    with pytest.raises(DamageError):
        storage.put("packs/new", [b"x"])
    with pytest.raises(DamageError):
        storage.delete("packs/file")
    storage.replace("new", b"in place of the link")
    storage.delete("store")
    assert sorted(storage.strays("")) == ["packs"]
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == b"secret"


def test_what_is_no_plain_file_is_damage_and_keeps_nobody_waiting(storage: LocalStorage) -> None:
    place = Path(storage.path)
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(place / "socket"))
    for name in ("fifo", "socket"):
        for call in (storage.get, storage.size):
            with pytest.raises(DamageError, match=f"{name} in .* is no plain file"):
                call(name)
    assert sorted(storage.strays("")) == ["fifo", "socket"]


def test_the_folder_and_the_time_of_an_object_are_those_of_the_system(
    storage: LocalStorage,
) -> None:
    place = Path(storage.path)
    assert storage.identity() == (place.stat().st_dev, place.stat().st_ino)
    storage.put("packs/a", [b"x"])
    os.utime(place / "packs" / "a", ns=(1, 123_456_789_000))
    assert storage.modified_ns("packs/a") == 123_456_789_000
    with pytest.raises(NotFoundError, match="packs/b"):
        storage.modified_ns("packs/b")


def test_foreign_names_are_strays(storage: LocalStorage) -> None:
    place = Path(storage.path)
    storage.put("packs/a", [b"x"])
    (place / "System Volume Information").mkdir()
    (place / "System Volume Information" / "inside").write_bytes(b"")
    (place / "packs" / "UPPER").write_bytes(b"")
    (place / os.fsdecode(b"\xff\xfe")).write_bytes(b"")
    assert sorted(storage.strays("")) == [
        "System Volume Information",
        "packs/UPPER",
        os.fsdecode(b"\xff\xfe"),
    ]
    (place / "packs" / "b").symlink_to("a")
    os.mkfifo(place / "packs" / "c")
    assert list(storage.strays("packs")) == ["packs/UPPER", "packs/b", "packs/c"]
    assert list(storage.list("")) == [("packs/a", 1)]
    assert list(storage.names("")) == ["packs/a"]


def test_leftovers_are_told_apart_and_can_be_read_and_removed(storage: LocalStorage) -> None:
    place = Path(storage.path)
    storage.create("ledger/1", b"whole")
    (place / "ledger" / "2.abcdefghijklm.tmp").write_bytes(b"torn")
    assert list(storage.leftovers("ledger")) == [("ledger/2.abcdefghijklm.tmp", 4)]
    assert list(storage.list("")) == [("ledger/1", 5)]
    assert storage.get("ledger/2.abcdefghijklm.tmp") == b"torn"
    assert storage.discard("ledger/2.abcdefghijklm.tmp")
    assert not storage.discard("ledger/2.abcdefghijklm.tmp")
    assert list(storage.leftovers("")) == []


def test_a_missing_folder_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no folder .*nowhere"):
        LocalStorage(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotFoundError, match="a folder is needed there"):
            LocalStorage(place)
        with pytest.raises(NotFoundError, match="a folder is needed there"):
            LocalStorage.make(place)


def test_make_makes_the_folders_above_too(tmp_path: Path) -> None:
    with LocalStorage.make(tmp_path / "a" / "b" / "c") as storage:
        storage.create("x", b"1")
    with LocalStorage.make(tmp_path / "a" / "b" / "c") as storage:
        assert storage.get("x") == b"1"


def test_the_path_may_lead_through_a_link_and_hold_any_bytes(tmp_path: Path) -> None:
    real = tmp_path / os.fsdecode(b"caf\xe9")
    LocalStorage.make(real).create("x", b"1")
    (tmp_path / "link").symlink_to(real)
    assert LocalStorage(tmp_path / "link").get("x") == b"1"
    assert LocalStorage(real).location == str(tmp_path / r"caf\xe9")
