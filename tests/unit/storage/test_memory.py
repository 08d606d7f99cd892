"""What a storage in memory can do besides: be full, and lose its power."""

from __future__ import annotations

import random

import pytest

from kluis.errors import NoSpaceError
from kluis.storage.memory import MemoryStorage


def cuts(storage: MemoryStorage, number: int = 300) -> list[dict[str, bytes]]:
    return [storage.after_power_cut(random.Random(seed)).files() for seed in range(number)]


def test_what_is_durable_survives_every_power_cut() -> None:
    storage = MemoryStorage()
    storage.put("a", [b"1" * 900])
    storage.barrier()
    storage.create("b", b"2")
    storage.replace("c", b"3")
    storage.put("d", [b"4"])
    storage.sync("d")
    assert all(files == storage.files() for files in cuts(storage))


def test_what_is_not_may_be_lost_torn_or_come_back() -> None:
    storage = MemoryStorage()
    storage.put("old", [b"o" * 900])
    storage.barrier()
    storage.delete("old")
    storage.put("new", [b"n" * 900])
    states = cuts(storage)
    assert {files.get("old") for files in states} == {None, b"o" * 900}
    new = {files.get("new") for files in states}
    assert {None, b"n" * 900} < new
    assert any(data is not None and 0 < len(data) < 900 for data in new)
    assert any(data is not None and data[:512] == bytes(512) for data in new)
    assert cuts(storage) == states
    assert storage.files() == {"new": b"n" * 900}


def test_full_is_full_until_something_is_deleted() -> None:
    storage = MemoryStorage(capacity=100)
    storage.put("a", [bytes(60)])
    assert storage.free_space() == 40
    for store in (storage.create, storage.replace):
        with pytest.raises(NoSpaceError, match="b in memory"):
            store("b", bytes(41))
    with pytest.raises(NoSpaceError):
        storage.put("b", [bytes(41)])
    storage.replace("a", bytes(100))
    storage.delete("a")
    storage.create("b", bytes(100))
    assert storage.free_space() == 0


def test_given_files_may_be_leftovers_and_strays() -> None:
    storage = MemoryStorage({"a": b"1", "lock": b"", "b.x.tmp": b"22", "System/Volume": b""})
    assert list(storage.list("")) == [("a", 1)]
    assert list(storage.leftovers("")) == [("b.x.tmp", 2)]
    assert list(storage.strays("")) == ["System/Volume"]
    assert storage.get("b.x.tmp") == b"22"
    assert storage.discard("b.x.tmp")
    assert not storage.discard("b.x.tmp")
