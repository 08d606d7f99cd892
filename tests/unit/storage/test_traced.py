"""What a trace holds, and what a local storage asks of the system."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kluis.errors import StorageError
from kluis.storage.base import Buffer
from kluis.storage.between import Between
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import GATHERED_WRITE_BYTES, LocalStorage
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import Request, Step, TracedCalls, TracedStorage


def plain(steps: list[Step]) -> list[tuple[str, ...]]:
    """The steps, with the random part of temporary names left out."""
    return [
        tuple(
            part.split(".")[0] + ".tmp" if part.endswith(".tmp") else part
            for part in (step.kind, step.path, step.other)
            if part
        )
        for step in steps
    ]


def test_a_put_and_a_barrier_as_steps(tmp_path: Path) -> None:
    calls = TracedCalls()
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        storage.put("packs/x", [b"12", b"34"])
        storage.barrier()
        calls.mark("done")
    assert plain(calls.steps) == [
        ("mkdir", "packs"),
        ("create", "packs/x"),
        ("write", "packs/x"),
        ("fsync", "packs/x"),
        ("fsync-folder",),
        ("fsync-folder", "packs"),
        ("mark", "done"),
    ]
    assert b"".join(step.data for step in calls.steps) == b"1234"


def test_a_file_is_synced_under_its_temporary_name_and_again_under_its_own(tmp_path: Path) -> None:
    calls = TracedCalls()
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        storage.create("x", b"1")
        storage.replace("x", b"2")
        storage.replace("x", b"3", present=True)
        storage.sync("x")
        storage.delete("x")
    written = [("create", "x.tmp"), ("write", "x.tmp"), ("fsync", "x.tmp")]
    assert plain(calls.steps) == [
        *written, ("rename", "x.tmp", "x"), ("fsync", "x"), ("fsync-folder",),
        *written, ("rename", "x.tmp", "x"), ("fsync", "x"), ("fsync-folder",),
        *written, ("exchange", "x.tmp", "x"), ("unlink", "x.tmp"), ("fsync", "x"),
        ("fsync-folder",),
        ("fsync", "x"), ("fsync-folder",),
        ("unlink", "x"),
    ]  # fmt: skip


def test_without_a_refusing_rename_it_is_a_link(tmp_path: Path) -> None:
    calls = TracedCalls(FaultyCalls([Fault("rename_noreplace", 0, errno.EINVAL, lasting=True)]))
    with LocalStorage.make(tmp_path / "a", calls=calls) as storage:
        storage.create("x", b"1")
    assert plain(calls.steps)[3:] == [
        ("link", "x.tmp", "x"), ("unlink", "x.tmp"), ("fsync", "x"), ("fsync-folder",),
    ]  # fmt: skip


def test_what_fails_is_not_in_the_trace(tmp_path: Path) -> None:
    calls = TracedCalls(FaultyCalls([Fault("write", 0, errno.EIO)]))
    with LocalStorage.make(tmp_path / "a", calls=calls) as s, pytest.raises(StorageError):
        s.put("x", [b"1"])
    assert plain(calls.steps) == [("create", "x"), ("unlink", "x")]


class Written(Between):
    """Keeps what each write was given."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.owners: list[object] = []

    def write(self, fd: int, data: Buffer) -> int:
        view = memoryview(data)
        self.sizes.append(len(view))
        self.owners.append(view.obj)
        return super().write(fd, data)


def test_a_large_part_is_written_at_once_and_without_a_copy(tmp_path: Path) -> None:
    calls = Written()
    pack = bytes(16 << 20)
    with LocalStorage.make(tmp_path / "a", durable=False, calls=calls) as storage:
        storage.put("x", [b"head", pack, memoryview(pack)[: 1 << 20], b"tail"])
    assert calls.sizes == [4, 16 << 20, 1 << 20, 4]
    assert calls.owners[1] is pack
    assert calls.owners[2] is pack


def test_small_parts_are_written_together(tmp_path: Path) -> None:
    calls = Written()
    with LocalStorage.make(tmp_path / "a", durable=False, calls=calls) as storage:
        storage.put("x", [bytes(1000)] * 3000)
    assert len(calls.sizes) == 3
    assert max(calls.sizes) < GATHERED_WRITE_BYTES + 1000


def test_requests_are_recorded_and_can_be_made_to_fail() -> None:
    def before(request: Request) -> None:
        if request == Request("put", "b"):
            raise StorageError("as asked")

    storage = TracedStorage(MemoryStorage(), before)
    storage.put("a", [b"1"])
    with pytest.raises(StorageError, match="as asked"):
        storage.put("b", [b"1"])
    storage.barrier()
    assert [name for name, _ in storage.list("")] == ["a"]
    assert storage.requests == [
        Request("put", "a"),
        Request("put", "b"),
        Request("barrier"),
        Request("list", ""),
    ]
