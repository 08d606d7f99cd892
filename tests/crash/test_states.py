"""A storage's guarantees under power cuts, and that each fsync in it is needed for them."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from kluis.errors import AlreadyExistsError, NotFoundError
from kluis.storage.between import Between, Unsynced
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from kluis.storage.traced import Step, TracedCalls
from tests.crash.states import (
    MODELS,
    Model,
    State,
    World,
    enumerated,
    lay_out,
    sampled,
    snapshot,
)

OLD, NEW, OTHER = b"o" * 1500, b"n" * 1700, b"x" * 1900
NO_RENAME = Fault("rename_noreplace", 0, errno=errno.EINVAL, lasting=True)
NO_LINK = Fault("link", 0, errno=errno.EPERM, lasting=True)
LADDER: dict[str, list[Fault]] = {
    "refusing rename": [],
    "link": [NO_RENAME],
    "lock": [NO_RENAME, NO_LINK],
}

Act = Callable[[LocalStorage, TracedCalls], None]


class WithoutFsync(Between):
    """Leaves the fsync of one number out, and says that it was done."""

    def __init__(self, inner: TracedCalls, number: int) -> None:
        super().__init__(inner)
        self._number = number

    def fsync(self, fd: int) -> None:
        self.count["fsync"] += 1
        if self.count["fsync"] - 1 != self._number:
            self.inner.fsync(fd)


def trace(
    place: Path, act: Act, faults: Iterable[Fault] = (), without: int = -1
) -> tuple[list[Step], dict[str, bytes], int]:
    """What `act` does to the folder, what was there before, and how many fsyncs it asks for."""
    place.mkdir(exist_ok=True)
    before = snapshot(place)
    traced = TracedCalls(FaultyCalls(faults, inner=Unsynced()))
    calls = WithoutFsync(traced, without)
    with LocalStorage(place, calls=calls) as storage:
        act(storage, traced)
    return traced.steps, before, calls.count["fsync"]


def put(storage: LocalStorage, traced: TracedCalls) -> None:
    storage.put("packs/a", [NEW])
    storage.barrier()
    traced.mark("durable")


def put_several(storage: LocalStorage, traced: TracedCalls) -> None:
    storage.put("packs/a/1", [NEW])
    storage.put("index/1", [OTHER])
    storage.barrier()
    traced.mark("durable")


def create(storage: LocalStorage, traced: TracedCalls) -> None:
    storage.create("ledger/1", NEW)
    traced.mark("durable")


def replace(storage: LocalStorage, traced: TracedCalls) -> None:
    storage.replace("ledger/1", NEW)
    traced.mark("durable")


def replace_present(storage: LocalStorage, traced: TracedCalls) -> None:
    storage.replace("ledger/1", NEW, present=True)
    traced.mark("durable")


def is_put(state: State) -> bool:
    return "durable" not in state.marks or state.files.get("packs/a") == NEW


def are_put(state: State) -> bool:
    expected = {"packs/a/1": NEW, "index/1": OTHER}
    return "durable" not in state.marks or expected.items() <= state.files.items()


def is_created(state: State) -> bool:
    """All or nothing, on FAT also empty; all once it was said to be durable."""
    there = state.files.get("ledger/1")
    unfinished = there is None or (there == b"" and state.model == "fat")
    return there == NEW or (unfinished and "durable" not in state.marks)


def is_replaced(state: State) -> bool:
    there = state.files.get("ledger/1")
    return there == NEW or (there == OLD and "durable" not in state.marks)


@pytest.mark.parametrize("model", MODELS)
def test_what_was_put_before_a_barrier_survives(tmp_path: Path, model: Model) -> None:
    steps, before, _ = trace(tmp_path / "a", put)
    assert all(is_put(state) for state in enumerated(steps, before, model))
    steps, before, _ = trace(tmp_path / "b", put_several)
    assert all(are_put(state) for state in sampled(steps, before, model, 1, 2000))


@pytest.mark.parametrize("ladder", LADDER)
@pytest.mark.parametrize("model", MODELS)
def test_create_is_all_or_nothing(tmp_path: Path, model: Model, ladder: str) -> None:
    steps, before, _ = trace(tmp_path / "a", create, LADDER[ladder])
    assert all(is_created(state) for state in enumerated(steps, before, model))


@pytest.mark.parametrize("model", ["posix", "ext4"])
@pytest.mark.parametrize("act", [replace, replace_present])
def test_replace_leaves_the_old_or_the_new(tmp_path: Path, model: Model, act: Act) -> None:
    lay_out({"ledger/1": OLD}, tmp_path / "a")
    steps, before, _ = trace(tmp_path / "a", act)
    assert before == {"ledger/1": OLD}
    assert all(is_replaced(state) for state in enumerated(steps, before, model))


def test_replace_is_durable_on_fat_once_it_returns(tmp_path: Path) -> None:
    lay_out({"ledger/1": OLD}, tmp_path / "a")
    steps, before, _ = trace(tmp_path / "a", replace)
    for state in enumerated(steps, before, "fat"):
        assert "durable" not in state.marks or state.files["ledger/1"] == NEW


@pytest.mark.parametrize(
    ("act", "holds", "ladder"),
    [(put, is_put, ""), (put_several, are_put, ""), *((create, is_created, way) for way in LADDER)],
)
def test_no_fsync_can_be_left_out(
    tmp_path: Path, act: Act, holds: Callable[[State], bool], ladder: str
) -> None:
    faults = LADDER.get(ladder, [])
    *_, number = trace(tmp_path / "all", act, faults)
    assert number >= 3
    for without in range(number):
        steps, before, _ = trace(tmp_path / f"without{without}", act, faults, without)
        assert not all(
            holds(state) for model in MODELS for state in sampled(steps, before, model, 7, 1500)
        ), f"nothing is lost without fsync {without}"


def test_what_another_process_put_is_durable_after_sync(tmp_path: Path) -> None:
    def complete(storage: LocalStorage, traced: TracedCalls) -> None:
        with LocalStorage(storage.path, durable=False, calls=traced) as other:
            other.put("packs/a", [NEW])
        storage.sync("packs/a")
        traced.mark("durable")

    for model in MODELS:
        steps, before, _ = trace(tmp_path / model, complete)
        assert all(is_put(state) for state in enumerated(steps, before, model))


def test_a_folder_that_another_process_made_is_durable_too(tmp_path: Path) -> None:
    def into_a_new_folder(storage: LocalStorage, traced: TracedCalls) -> None:
        with LocalStorage(storage.path, durable=False, calls=traced) as other:
            other.put("packs/other", [OTHER])
        put(storage, traced)

    for model in MODELS:
        steps, before, _ = trace(tmp_path / model, into_a_new_folder)
        assert all(is_put(state) for state in sampled(steps, before, model, 3, 1500))


def test_a_deletion_is_durable_after_a_barrier(tmp_path: Path) -> None:
    def delete(storage: LocalStorage, traced: TracedCalls) -> None:
        storage.delete("packs/a")
        storage.barrier()
        traced.mark("durable")

    for model in MODELS:
        lay_out({"packs/a": OLD, "packs/b": OTHER}, tmp_path / model)
        steps, before, _ = trace(tmp_path / model, delete)
        for state in enumerated(steps, before, model):
            assert state.files["packs/b"] == OTHER
            assert "durable" not in state.marks or "packs/a" not in state.files


def test_the_models_know_what_they_are_there_for(tmp_path: Path) -> None:
    """One example of each kind of loss, so that no model has become too kind."""
    steps, before, _ = trace(tmp_path / "a", create)
    posix = list(enumerated(steps, before, "posix"))
    fat = list(enumerated(steps, before, "fat"))
    unnamed = [[d for n, d in state.files.items() if n.endswith(".tmp")] for state in posix]
    assert any(data == [bytes(len(NEW))] for data in unnamed)
    assert any(data == [b""] for data in unnamed)
    assert any(data and data[0][:512] == bytes(512) and data[0][-1:] == b"n" for data in unnamed)
    assert any(len(state.files) == 2 for state in posix)  # both names of a rename
    assert any(state.shared for state in fat)
    lay_out({"packs/a": OLD}, tmp_path / "b")

    def reuse(storage: LocalStorage, _: TracedCalls) -> None:
        storage.delete("packs/a")
        storage.put("packs/b", [NEW])

    steps, before, _ = trace(tmp_path / "b", reuse)
    back = [state.files.get("packs/a") for state in enumerated(steps, before, "fat")]
    assert {b"", OLD, OLD[:750], NEW[:1500], None} <= set(back)


def test_ext4_keeps_the_order_of_names(tmp_path: Path) -> None:
    def two(storage: LocalStorage, _: TracedCalls) -> None:
        storage.put("a", [NEW])
        storage.put("b", [NEW])
        storage.delete("a")

    steps, before, _ = trace(tmp_path / "a", two)
    left = {frozenset(state.files) for state in enumerated(steps, before, "ext4")}
    assert left == {frozenset(), frozenset("a"), frozenset("ab"), frozenset("b")}
    left = {frozenset(state.files) for state in enumerated(steps, before, "ext4") if state.cut > 6}
    assert frozenset() not in left


class Newest:
    """The medium lost nothing."""

    tears = 5

    def pick(self, count: int) -> int:
        return count - 1


@pytest.mark.parametrize("ladder", LADDER)
def test_the_trace_and_the_models_tell_all_that_was_done(
    tmp_path: Path, ladder: str, seed: int, trials: Callable[[int, int], int]
) -> None:
    names = ["a", "b", "packs/a/c", "packs/a/d", "packs/e"]
    for number in range(trials(8, 500)):
        chance = random.Random(seed + number)
        place = tmp_path / str(number)
        lay_out({"a": OLD, "packs/e": OTHER}, place)
        before = snapshot(place)
        traced = TracedCalls(FaultyCalls(LADDER[ladder], inner=Unsynced()))
        with LocalStorage(place, calls=traced) as storage:
            acts: list[Callable[[str], object]] = [
                lambda name: storage.put(name, [NEW]),
                lambda name: storage.create(name, OTHER),
                lambda name: storage.replace(name, OLD),
                lambda name: storage.replace(name, NEW * 2, present=True),
                storage.delete,
                storage.sync,
                lambda _: storage.barrier(),
            ]
            for _ in range(30):
                with suppress(AlreadyExistsError, NotFoundError):
                    chance.choice(acts)(chance.choice(names))
        world = World(before)
        for step in traced.steps:
            world.take(step)
        there = snapshot(place)
        there.pop("lock", None)
        assert len(traced.steps) > 20
        for model in MODELS:
            assert world.cut(model, Newest()).files == there


def test_the_same_seed_gives_the_same_states(tmp_path: Path) -> None:
    steps, before, _ = trace(tmp_path / "a", put_several)
    for model in MODELS:
        first = list(sampled(steps, before, model, 5, 100))
        assert first == list(sampled(steps, before, model, 5, 100))
        assert first != list(sampled(steps, before, model, 6, 100))


def test_a_state_can_be_laid_out_and_opened(tmp_path: Path) -> None:
    steps, before, _ = trace(tmp_path / "a", create)
    for number, state in enumerate(sampled(steps, before, "fat", 2, 20)):
        lay_out(state.files, tmp_path / f"state{number}")
        assert snapshot(tmp_path / f"state{number}") == state.files
        with LocalStorage(tmp_path / f"state{number}") as storage:
            if "ledger/1" not in state.files:
                storage.create("ledger/1", NEW)
            assert storage.get("ledger/1") in (NEW, b"")
