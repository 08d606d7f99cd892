"""The guarantees of `kluis.storage.base`, the same for every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kluis.errors import (
    AlreadyExistsError,
    DamageError,
    FormatError,
    NotFoundError,
    StorageError,
)
from kluis.storage.base import MAX_OBJECT_BYTES, Storage
from tests.contract import storages

BAD_NAMES = (
    "", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "./a", ".a", "a.", "a./b",
    "A", "a b", "a_b", "a\0", "a\n", "\u00e9", "a/READMEs", "README/a", "Readme", "a.tmp", "lock",
    "a\\b", "c:", "x" * 237, "/".join(["abc"] * 300),
)  # fmt: skip
GOOD_NAMES = (
    "a", "README", "twins/README", "store", "packs/a/b", "a-b.c", "0", "-a", "ledger/00000001",
    "kluis-reader.py", "a/lock", "a..b", "x" * 236, "/".join(["abc"] * 20),
)  # fmt: skip


@pytest.fixture(params=storages.ALL)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    with storages.ALL[request.param](tmp_path / "place") as made:
        yield made


def names(storage: Storage, prefix: str = "") -> list[str]:
    return sorted(name for name, _ in storage.list(prefix))


def test_what_was_put_is_what_is_read(storage: Storage) -> None:
    storage.put("packs/a/one", [b"head", bytearray(b""), memoryview(b"-body")])
    storage.barrier()
    assert storage.get("packs/a/one") == b"head-body"
    assert storage.size("packs/a/one") == 9
    assert storage.exists("packs/a/one")
    assert list(storage.list("")) == [("packs/a/one", 9)]


@pytest.mark.parametrize("sizes", [(), (0,), (1,) * 3000, (70_000, 3, 70_000), (3, 1_100_000, 9)])
def test_parts_of_any_size_lie_back_to_back(storage: Storage, sizes: tuple[int, ...]) -> None:
    parts = [bytes([i % 251]) * size for i, size in enumerate(sizes)]
    storage.put("a", parts)
    assert storage.get("a") == b"".join(parts)


def test_a_view_of_wider_items_is_stored_as_its_bytes(storage: Storage) -> None:
    storage.put("a", [memoryview(bytes(range(16))).cast("I")])
    storage.create("b", memoryview(bytes(range(16))).cast("I"))
    assert storage.get("a") == storage.get("b") == bytes(range(16))


def test_a_name_is_put_once(storage: Storage) -> None:
    storage.put("a", [b"first"])
    with pytest.raises(AlreadyExistsError, match="a exists already"):
        storage.put("a", [b"second"])
    with pytest.raises(AlreadyExistsError):
        storage.create("a", b"third")
    assert storage.get("a") == b"first"


def test_create_makes_an_object_once(storage: Storage) -> None:
    storage.create("ledger/1", b"first")
    with pytest.raises(AlreadyExistsError, match="ledger/1"):
        storage.create("ledger/1", b"second")
    with pytest.raises(AlreadyExistsError):
        storage.put("ledger/1", [b"third"])
    assert storage.get("ledger/1") == b"first"
    assert names(storage) == ["ledger/1"]
    assert list(storage.leftovers("")) == []


def test_one_of_many_threads_creates_each_name(storage: Storage) -> None:
    wanted = [f"ledger/{number}" for number in range(12)]

    def claim(thread: int) -> list[str]:
        won = []
        for name in wanted:
            try:
                storage.create(name, b"%d" % thread)
            except AlreadyExistsError:
                continue
            won.append(name)
        return won

    with ThreadPoolExecutor(8) as pool:
        winners = list(pool.map(claim, range(8)))
    assert sorted(name for won in winners for name in won) == sorted(wanted)
    for thread, won in enumerate(winners):
        assert all(storage.get(name) == b"%d" % thread for name in won)
    assert list(storage.leftovers("")) == []


def test_threads_put_beside_one_another_and_a_barrier(storage: Storage) -> None:
    def put(number: int) -> None:
        storage.put(f"packs/{number % 5}/{number}", [b"%d" % number, bytes(number)])
        if number % 10 == 0:
            storage.barrier()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(80)))
    storage.barrier()
    assert sorted(storage.list("packs")) == sorted(
        (f"packs/{n % 5}/{n}", len(str(n)) + n) for n in range(80)
    )


def test_replace_takes_the_place_of_what_is_there_or_not(storage: Storage) -> None:
    storage.replace("a/b", b"new")
    assert storage.get("a/b") == b"new"
    storage.replace("a/b", b"newer and longer")
    assert storage.get("a/b") == b"newer and longer"
    assert list(storage.leftovers("")) == []


def test_replace_of_what_must_be_there_creates_nothing(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match="packs/a/b"):
        storage.replace("packs/a/b", b"new", present=True)
    assert not storage.exists("packs/a/b")
    storage.put("packs/a/b", [b"old"])
    storage.replace("packs/a/b", b"new", present=True)
    assert storage.get("packs/a/b") == b"new"
    assert names(storage) == ["packs/a/b"]
    assert list(storage.leftovers("")) == []


def test_a_range_is_short_at_the_end_and_empty_beyond(storage: Storage) -> None:
    storage.put("a", [bytes(range(100))])
    assert storage.read("a", 10, 5) == bytes(range(10, 15))
    assert storage.read("a", 95, 50) == bytes(range(95, 100))
    assert storage.read("a", 100, 5) == storage.read("a", 5000, 5) == b""
    assert storage.read("a", 7, 0) == b""
    asked = [(90, 20), (0, 3), (0, 3), (200, 1)]
    assert storage.ranges("a", asked) == [bytes(range(90, 100)), b"\0\1\2", b"\0\1\2", b""]
    assert storage.ranges("a", []) == []
    assert storage.read("a", 0, MAX_OBJECT_BYTES) == bytes(range(100))


@pytest.mark.parametrize("wrong", [(-1, 5), (0, -1), (2**31, 1), (0, 2**63)])
def test_a_range_that_no_object_holds_is_refused(storage: Storage, wrong: tuple[int, int]) -> None:
    storage.put("a", [b"abc"])
    with pytest.raises(FormatError):
        storage.ranges("a", [(0, 1), wrong])


def test_get_refuses_more_than_its_limit(storage: Storage) -> None:
    storage.put("a", [b"12345"])
    assert storage.get("a", 5) == b"12345"
    with pytest.raises(DamageError, match=r"a in .* has 5 bytes"):
        storage.get("a", 4)


@pytest.mark.parametrize("name", ["a", "no/such/folder/a"])
def test_what_is_not_there_is_not_found(storage: Storage, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.get(name),
        lambda: storage.read(name, 0, 1),
        lambda: storage.size(name),
        lambda: storage.sync(name),
        lambda: storage.replace(name, b"", present=True),
    ]
    for call in calls:
        with pytest.raises(NotFoundError, match=f"{name} is not there"):
            call()
    assert not storage.exists(name)
    storage.delete(name)
    assert not storage.discard(f"{name}.x.tmp")
    assert names(storage) == []
    assert names(storage, "no/such") == []


def test_a_deleted_name_can_be_used_again(storage: Storage) -> None:
    storage.put("a/b", [b"1"])
    storage.delete("a/b")
    assert not storage.exists("a/b")
    storage.delete("a/b")
    storage.create("a/b", b"2")
    assert storage.get("a/b") == b"2"


def test_list_is_of_whole_folders(storage: Storage) -> None:
    for name in ("store", "packs/a/x", "packs/b/y", "packs-old/z", "packs/w"):
        storage.put(name, [name.encode()])
    assert names(storage, "packs") == ["packs/a/x", "packs/b/y", "packs/w"]
    assert names(storage, "packs/") == names(storage, "packs")
    assert names(storage, "packs/a") == ["packs/a/x"]
    assert names(storage, "pac") == []
    assert names(storage) == ["packs-old/z", "packs/a/x", "packs/b/y", "packs/w", "store"]
    assert all(size == len(name) for name, size in storage.list(""))
    assert list(storage.strays("")) == []
    assert sorted(storage.names("")) == names(storage)
    assert sorted(storage.names("packs/a/")) == ["packs/a/x"]
    assert list(storage.names("pac")) == []


def test_a_folder_is_no_object_and_a_file_no_folder(storage: Storage) -> None:
    storage.put("a/b", [b"1"])
    for call in (storage.get, storage.size):
        with pytest.raises(DamageError):
            call("a")
        with pytest.raises(DamageError):
            call("a/b/c")
    with pytest.raises(AlreadyExistsError):
        storage.put("a", [b"2"])
    with pytest.raises(AlreadyExistsError):
        storage.create("a", b"2")
    with pytest.raises(StorageError):
        storage.delete("a")
    with pytest.raises(StorageError):
        storage.replace("a", b"2")
    for store in (storage.create, storage.replace):
        with pytest.raises(DamageError):
            store("a/b/c", b"2")
    with pytest.raises(DamageError):
        storage.put("a/b/c", [b"2"])
    assert storage.get("a/b") == b"1"
    assert list(storage.leftovers("")) == []


def test_bad_names_are_refused_by_every_method(storage: Storage) -> None:
    for name in BAD_NAMES:
        for call in every_method(storage, name):
            with pytest.raises(FormatError):
                call()
    assert list(storage.list("")) == []


def every_method(storage: Storage, name: str) -> list[Callable[[], object]]:
    """The methods that take an object's name; a leftover's may be read, not written."""
    calls: list[Callable[[], object]] = [
        lambda: storage.put(name, [b"x"]),
        lambda: storage.create(name, b"x"),
        lambda: storage.replace(name, b"x"),
        lambda: storage.delete(name),
    ]
    if not name.endswith(".tmp"):
        calls += [
            lambda: storage.get(name),
            lambda: storage.ranges(name, [(0, 1)]),
            lambda: storage.size(name),
            lambda: storage.exists(name),
            lambda: storage.sync(name),
            lambda: storage.discard(name),
        ]
    return calls


def test_good_names_work_in_every_method(storage: Storage) -> None:
    for name in GOOD_NAMES:
        storage.create(name, b"x")
        storage.sync(name)
        storage.replace(name, b"xy", present=True)
        assert list(storage.list("")) == [(name, 2)]
        storage.delete(name)
        storage.put(name, [b"z"])
        storage.barrier()
        assert storage.get(name) == b"z"
        assert list(storage.strays("")) == []
        storage.delete(name)


def test_bad_folders_are_refused(storage: Storage) -> None:
    for prefix in ("..", "/", "a//b", "a/../b", "A", "/etc", "README"):
        for call in (storage.list, storage.leftovers, storage.strays):
            with pytest.raises(FormatError):
                list(call(prefix))


def test_folders_can_be_made_and_trusted(storage: Storage) -> None:
    storage.make_folders(["ledger", "twins/ledger", "packs"])
    storage.make_folders(["ledger", "twins/ledger"])
    storage.trust_folders(["ledger", "twins/ledger", "index"])
    assert names(storage) == []
    storage.put("index/1", [b"made although it was trusted to be there"])
    storage.create("twins/ledger/1", b"x")
    storage.barrier()
    assert names(storage) == ["index/1", "twins/ledger/1"]


def test_free_space_is_known_or_said_not_to_be(storage: Storage) -> None:
    free = storage.free_space()
    assert free is None or free > 0


def test_the_place_has_a_name_and_maybe_a_folder(storage: Storage) -> None:
    assert storage.location
    folder = storage.identity()
    assert (folder is None) == (storage.location == "memory")
