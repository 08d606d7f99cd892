"""A local storage when the system fails it: at each call, with each error, once or for good."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.errors import (
    DamageError,
    KluisError,
    MediumGoneError,
    StorageError,
    UnreadableError,
)
from kluis.storage.between import Unsynced
from kluis.storage.faulty import CHANGES, Fault, FaultyCalls, Killed, seeded_faults
from kluis.storage.local import LocalStorage

OLD, NEW = b"o" * 3000, b"n" * 5000
KINDS = (
    "folder", "mkdir", "create", "open", "write", "read", "fsync", "close", "rename",
    "rename_noreplace", "exchange", "unlink", "stat", "fstat", "entries",
)  # fmt: skip
ERRNOS = (
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENODEV,
    errno.ENOTCONN, errno.EMFILE,
)  # fmt: skip

Act = Callable[[LocalStorage], object]


def put(storage: LocalStorage) -> None:
    storage.put("packs/a/new", [NEW[:2000], NEW[2000:]])
    storage.barrier()
    assert Path(storage.path, "packs/a/new").read_bytes() == NEW


def create(storage: LocalStorage) -> None:
    storage.create("ledger/new", NEW)
    assert Path(storage.path, "ledger/new").read_bytes() == NEW


def replace(storage: LocalStorage) -> None:
    storage.replace("ledger/old", NEW)
    assert Path(storage.path, "ledger/old").read_bytes() == NEW


def replace_present(storage: LocalStorage) -> None:
    storage.replace("ledger/old", NEW, present=True)
    assert Path(storage.path, "ledger/old").read_bytes() == NEW


def read(storage: LocalStorage) -> None:
    assert storage.get("ledger/old") == OLD
    assert storage.ranges("ledger/old", [(0, 10), (2000, 5000)]) == [OLD[:10], OLD[2000:]]
    assert storage.size("ledger/old") == 3000
    assert storage.exists("ledger/old")


def look(storage: LocalStorage) -> None:
    assert sorted(storage.list("")) == [("ledger/old", 3000), ("store", 3000)]


def delete(storage: LocalStorage) -> None:
    storage.delete("ledger/old")
    storage.barrier()
    assert not Path(storage.path, "ledger/old").exists()


def sync(storage: LocalStorage) -> None:
    storage.sync("ledger/old")


ACTS: dict[str, Act] = {
    act.__name__: act for act in (put, create, replace, replace_present, read, look, delete, sync)
}


def filled(place: Path) -> Path:
    with LocalStorage.make(place, durable=False) as storage:
        storage.create("ledger/old", OLD)
        storage.create("store", OLD)
    return place


def failure(act: Act, storage: LocalStorage) -> KluisError | None:
    """The error that the act met, None if it succeeded."""
    try:
        act(storage)
    except KluisError as error:
        return error
    return None


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("act", ACTS)
def test_no_failed_call_is_reported_as_success(tmp_path: Path, act: str) -> None:
    """Each call of each kind once, then for good; the assertions in `act` are success."""
    tried = 0
    for number, kind in enumerate(KINDS):
        for index in range(30):
            fault = Fault(kind, index, ERRNOS[(number + index) % len(ERRNOS)], index % 2 == 1)
            calls = FaultyCalls([fault], seed=index, inner=Unsynced())
            place = filled(tmp_path / f"{kind}{index}")
            with LocalStorage(place, calls=FaultyCalls(inner=calls)) as storage:
                before = descriptors()
                failed = failure(ACTS[act], storage)
                if not calls.hit:
                    assert failed is None
                    break
                tried += 1
                assert failed is None or isinstance(failed.__cause__, OSError)
                assert failed is None or storage.location in str(failed)
                held = len(storage._folders._touched)
                assert descriptors() - before == held, "a descriptor leaks"
            assert (place / "store").read_bytes() == OLD
            there = place / "ledger/old"
            assert act == "delete" or there.read_bytes() in (OLD, NEW)
            for new in ("packs/a/new", "ledger/new"):
                assert not (place / new).exists() or (place / new).read_bytes() == NEW
    assert tried >= 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("act", ["put", "create", "replace"])
def test_a_full_medium_is_said_to_be_one_and_nothing_half_is_left(
    tmp_path: Path, act: str, number: int
) -> None:
    for kind in ("mkdir", "create", "write", "fsync"):
        for index in range(2):
            place = filled(tmp_path / f"{kind}{index}")
            calls = FaultyCalls([Fault(kind, index, number)], inner=Unsynced())
            with LocalStorage(place, calls=calls) as storage:
                failed = failure(ACTS[act], storage)
                assert (failed is None) == (not calls.hit)
                if failed is not None:
                    assert "space" in str(failed)
                    assert failed.exit_status == 13
                assert list(storage.leftovers("")) == []
            for path in place.rglob("*"):
                assert path.is_dir() or path.read_bytes() in (OLD, NEW)


def test_a_failed_fsync_of_a_file_is_not_tried_again(tmp_path: Path) -> None:
    calls = FaultyCalls([Fault("fsync", 0, errno.EIO)])
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        with pytest.raises(StorageError, match="cannot write packs/x"):
            storage.put("packs/x", [NEW])
        assert calls.count["fsync"] == 1
        assert not storage.exists("packs/x")


def test_a_failed_barrier_fails_for_ever(tmp_path: Path) -> None:
    calls = FaultyCalls([Fault("fsync", 2, errno.EIO)])
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        storage.put("packs/x", [NEW])
        with pytest.raises(StorageError, match=r"the folder packs in .* durable"):
            storage.barrier()
        made = calls.count["fsync"]
        for _ in range(2):
            with pytest.raises(StorageError, match=r"the folder packs in .* durable"):
                storage.barrier()
        assert calls.count["fsync"] == made
        with pytest.raises(StorageError):
            storage.create("ledger/1", NEW)


def test_each_folder_is_synced_once_in_a_barrier(tmp_path: Path) -> None:
    calls = FaultyCalls()
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        storage.make_folders(["packs/a", "index"])
        made = calls.count["fsync"]
        for number in range(5):
            storage.put(f"packs/a/{number}", [NEW])
        storage.put("index/1", [NEW])
        storage.barrier()
        assert calls.count["fsync"] - made == 6 + 2
        storage.barrier()
        assert calls.count["fsync"] - made == 6 + 2
        storage.create("index/2", NEW)
        assert calls.count["fsync"] - made == 6 + 2 + 3


def test_folders_that_are_trusted_cost_no_sync_of_those_above(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    for trusted, fsyncs in (((), 4), (("ledger",), 3)):
        calls = FaultyCalls()
        with LocalStorage(tmp_path / "a", calls=calls) as storage:
            storage.trust_folders(trusted)
            storage.create(f"ledger/{fsyncs}", NEW)
        assert calls.count["fsync"] == fsyncs


def test_a_storage_that_need_not_be_durable_makes_no_fsync(tmp_path: Path) -> None:
    calls = FaultyCalls()
    with LocalStorage.make(tmp_path / "a", durable=False, calls=calls) as storage:
        storage.put("a/b", [NEW])
        storage.barrier()
        storage.create("c", NEW)
        storage.replace("c", OLD)
        storage.sync("c")
    assert calls.count["fsync"] == 0


@pytest.mark.parametrize("act", ["put", "create", "replace", "replace_present", "delete"])
def test_a_kill_at_any_call_needs_no_manual_step(tmp_path: Path, act: str) -> None:
    for index in range(40):
        place = filled(tmp_path / str(index))
        calls = FaultyCalls([Fault("", index, kill=True)], seed=index, inner=Unsynced())
        before = descriptors()
        storage = LocalStorage(place, calls=calls)
        try:
            ACTS[act](storage)
        except Killed:
            assert calls.dead
        storage.close()
        assert descriptors() == before
        with LocalStorage(place, calls=Unsynced()) as after:
            assert after.get("store") == OLD
            if act != "delete":
                assert after.get("ledger/old") in (OLD, NEW)
            if act == "create":
                assert not after.exists("ledger/new") or after.get("ledger/new") == NEW
            for leftover, _ in after.leftovers(""):
                assert after.discard(leftover)
            after.delete("packs/a/new")
            after.delete("ledger/new")
            put(after)
            create(after)
        if not calls.dead:
            break
    assert 2 <= index < 40


def test_after_a_kill_no_call_does_anything(tmp_path: Path) -> None:
    calls = FaultyCalls([Fault("write", 0, kill=True)])
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        with pytest.raises(Killed):
            storage.put("x", [NEW])
        for call in (lambda: storage.put("y", [NEW]), lambda: storage.get("x"), storage.free_space):
            with pytest.raises(Killed):
                call()
    left = (tmp_path / "a" / "x").read_bytes()
    assert len(left) < len(NEW)
    assert NEW.startswith(left)


def test_a_bit_that_flips_on_the_way_is_stored_or_read(tmp_path: Path) -> None:
    with LocalStorage.make(tmp_path / "a", calls=FaultyCalls([Fault("write", 1, flip=True)])) as s:
        s.put("x", [NEW])
        s.put("y", [NEW])
        assert s.get("x") == NEW
        wrong = s.get("y")
    assert sum((a ^ b).bit_count() for a, b in zip(wrong, NEW, strict=True)) == 1
    with LocalStorage(tmp_path / "a", calls=FaultyCalls([Fault("read", 0, flip=True)])) as s:
        assert sum((a ^ b).bit_count() for a, b in zip(s.get("x"), NEW, strict=True)) == 1
        assert s.get("x") == NEW


@pytest.mark.parametrize(
    ("number", "expected", "word"),
    [
        (errno.EROFS, StorageError, "read-only"),
        (errno.EACCES, StorageError, "owner"),
        (errno.EPERM, StorageError, "forbids"),
        (errno.EIO, UnreadableError, "medium, its cable"),
        (errno.EMFILE, StorageError, "ulimit"),
        (errno.ENODEV, MediumGoneError, "connect it again"),
        (errno.ENXIO, MediumGoneError, "connect it again"),
        (errno.ENOTCONN, MediumGoneError, "connect it again"),
        (errno.ESHUTDOWN, MediumGoneError, "connect it again"),
        (errno.ESTALE, MediumGoneError, "connect it again"),
        (errno.ELOOP, DamageError, "link"),
    ],
)
def test_errors_are_told_apart_in_words(
    tmp_path: Path, number: int, expected: type[KluisError], word: str
) -> None:
    with LocalStorage(
        filled(tmp_path / "a"), calls=FaultyCalls([Fault("open", 0, number, lasting=True)])
    ) as storage:
        with pytest.raises(expected, match=word) as caught:
            storage.get("store")
        assert type(caught.value) is expected
        assert "store" in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_a_place_that_is_taken_away_or_changed_is_noticed(tmp_path: Path) -> None:
    with LocalStorage(filled(tmp_path / "a")) as storage:
        (tmp_path / "a").rename(tmp_path / "elsewhere")
        for call in (
            lambda: storage.get("missing"),
            lambda: list(storage.list("missing")),
        ):
            with pytest.raises(MediumGoneError, match="another lies in its place"):
                call()
        filled(tmp_path / "a")
        with pytest.raises(MediumGoneError):
            storage.get("missing")
        storage.put("packs/x", [NEW])
        assert not (tmp_path / "a" / "packs").exists()
    with LocalStorage(filled(tmp_path / "b")) as storage:
        for path in sorted((tmp_path / "b").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (tmp_path / "b").rmdir()
        for act in (put, create, replace, read):
            with pytest.raises(MediumGoneError):
                act(storage)


def test_a_folder_that_is_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    with LocalStorage.make(tmp_path / "a") as storage:
        storage.put("packs/a/1", [NEW])
        storage.barrier()
        storage.delete("packs/a/1")
        (tmp_path / "a/packs/a").rmdir()
        storage.put("packs/a/2", [NEW])
        storage.barrier()
        assert storage.get("packs/a/2") == NEW


def test_seeded_faults_are_the_same_for_the_same_seed() -> None:
    one = seeded_faults(3, 20, (errno.EIO, errno.ENOSPC), 50)
    assert one == seeded_faults(3, 20, (errno.EIO, errno.ENOSPC), 50)
    assert one != seeded_faults(4, 20, (errno.EIO, errno.ENOSPC), 50)


def test_changes_are_numbered_across_kinds(tmp_path: Path) -> None:
    calls = FaultyCalls()
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        put(storage)
    assert calls.count[""] == sum(calls.count[kind] for kind in CHANGES) > 5
