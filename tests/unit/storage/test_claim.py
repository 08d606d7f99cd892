"""Who is first, on each kind of medium; and what FAT needs besides."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kluis.errors import AlreadyExistsError, BusyError, NoSpaceError, NotFoundError, StorageError
from kluis.storage import claim
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from kluis.surroundings import Machine

OLD, NEW = b"o" * 3000, b"n" * 5000


def filled(place: Path) -> Path:
    with LocalStorage.make(place, durable=False) as storage:
        storage.create("ledger/old", OLD)
        storage.create("store", OLD)
    return place


def test_a_reply_that_was_lost_does_not_lose_the_race(tmp_path: Path) -> None:
    """NFS may say that a link exists because it was made by the call itself."""
    faults = [
        Fault("rename_noreplace", 0, errno.EINVAL, lasting=True),
        Fault("link", 0, errno.EEXIST, after=True),
    ]
    with LocalStorage.make(tmp_path / "a", calls=FaultyCalls(faults)) as storage:
        storage.create("ledger/1", NEW)
        with pytest.raises(AlreadyExistsError):
            storage.create("ledger/1", OLD)
        assert storage.get("ledger/1") == NEW
        assert list(storage.leftovers("")) == []


@pytest.mark.parametrize("kind", ["create", "rename_noreplace"])
def test_a_temporary_file_that_is_taken_or_removed_is_made_again(tmp_path: Path, kind: str) -> None:
    class Meddling(FaultyCalls):
        """Once, another process is quicker."""

        def create(self, name: str, at: int) -> int:
            if kind == "create" and not self.count["create"]:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL, dir_fd=at))
            return super().create(name, at)

        def rename_noreplace(self, old: str, new: str, at: int) -> None:
            if kind == "rename_noreplace" and not self.count["rename_noreplace"]:
                os.unlink(old, dir_fd=at)
            super().rename_noreplace(old, new, at)

    with LocalStorage.make(tmp_path / "a", calls=Meddling()) as storage:
        storage.create("ledger/1", NEW)
        assert storage.get("ledger/1") == NEW
        assert len(list(storage.leftovers(""))) == (kind == "create")


def test_a_temporary_name_that_is_always_taken_is_an_error(tmp_path: Path) -> None:
    faults = [Fault("create", 0, errno.EEXIST, lasting=True)]
    storage = LocalStorage.make(tmp_path / "a", calls=FaultyCalls(faults))
    with storage, pytest.raises(StorageError, match="another process"):
        storage.create("ledger/1", NEW)


def unsound(storage: LocalStorage) -> LocalStorage:
    """The storage as on a medium that cannot exchange names: FAT, exFAT, FUSE drivers."""
    storage._claim.sound = False
    return storage


def test_on_fat_a_leftover_whose_object_exists_stays(tmp_path: Path) -> None:
    with unsound(LocalStorage(filled(tmp_path / "a"))) as storage:
        (tmp_path / "a/ledger/old.abcdefghijklm.tmp").write_bytes(OLD)
        (tmp_path / "a/ledger/new.abcdefghijklm.tmp").write_bytes(NEW)
        assert not storage.discard("ledger/old.abcdefghijklm.tmp")
        assert storage.discard("ledger/new.abcdefghijklm.tmp")
        assert [name for name, _ in storage.leftovers("")] == ["ledger/old.abcdefghijklm.tmp"]


def test_without_exchange_what_must_be_there_is_looked_at_under_the_lock(tmp_path: Path) -> None:
    calls = FaultyCalls()
    with unsound(LocalStorage(filled(tmp_path / "a"), calls=calls)) as storage:
        storage.replace("ledger/old", NEW, present=True)
        assert storage.get("ledger/old") == NEW
        assert calls.count["lock"] == 1
        storage.delete("ledger/old")
        assert calls.count["lock"] == 2
        with pytest.raises(NotFoundError):
            storage.replace("ledger/old", NEW, present=True)
        assert calls.count["exchange"] == 0
        assert list(storage.leftovers("")) == []


def test_a_deletion_goes_on_where_there_is_no_room_for_the_lock(tmp_path: Path) -> None:
    calls = FaultyCalls([Fault("open_lock", 0, errno.ENOSPC, lasting=True)])
    with unsound(LocalStorage(filled(tmp_path / "a"), calls=calls)) as storage:
        storage.delete("ledger/old")
        assert not storage.exists("ledger/old")
        with pytest.raises(NoSpaceError):
            storage.replace("store", NEW, present=True)
        assert storage.get("store") == OLD


def test_a_lock_that_is_held_for_long_is_busy(tmp_path: Path) -> None:
    class Patient(Machine):
        """Its clock runs by sleeping only."""

        slept = 0.0

        def monotonic(self) -> float:
            return self.slept

        def sleep(self, seconds: float) -> None:
            self.slept += seconds

    patient = Patient()
    place = filled(tmp_path / "a")
    with (
        LocalStorage(place) as holder,
        unsound(LocalStorage(place, surroundings=patient)) as storage,
        holder._claim.locked(),
    ):
        with pytest.raises(BusyError, match="held the lock"):
            storage.delete("store")
        assert patient.slept == pytest.approx(claim.LOCK_WAIT_SECONDS, rel=0.01)
    with unsound(LocalStorage(place)) as storage:
        storage.delete("store")


def test_the_file_system_is_known_by_its_device(tmp_path: Path) -> None:
    assert claim.file_system(os.stat("/proc").st_dev) == "proc"
    assert claim.file_system(os.makedev(4095, 77)) == ""
