"""Verify finds what is wrong, names it, goes on to the end, and says what can be repaired."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from kluis.errors import CancelledError, UnreadableError
from kluis.events import Cancel, Context, Damage, Progress
from kluis.format import crypt, pack
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.operations.repair import repair
from kluis.operations.verify import verify
from kluis.options import (
    Credentials,
    ForgetOptions,
    Limit,
    PruneOptions,
    RepairOptions,
    VerifyOptions,
)
from kluis.repository import packer
from kluis.repository.access import open_repository
from kluis.repository.index import Index, load_index
from kluis.repository.keys import Session
from kluis.repository.state import LedgerState
from kluis.repository.workers import WORKERS
from kluis.results import VerifyResult
from kluis.storage.base import Storage
from kluis.storage.calls import Calls
from kluis.storage.local import LocalStorage
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import Request, TracedStorage
from tests.crash.states import snapshot
from tests.repositories import DAY_NS, PASSPHRASE, START_NS, Place, make_place, small_tree

Files = Mapping[str, bytes]
Level = Literal[0, 1, 2]
LEVELS: tuple[Level, ...] = (0, 1, 2)
COUNTER = itertools.count()
UNHARMED = ("reserve", "lock")


@dataclass
class Store:
    """A small repository as files in memory; each look begins with the same ones."""

    place: Place
    files: Files
    refuse: Callable[[Request], None] = lambda _: None
    told: list[object] = field(default_factory=list)

    def verify(self, files: Files, level: Level) -> VerifyResult:
        storage = TracedStorage(MemoryStorage(dict(files)), self.refuse)
        cache = str(self.place.folder / f"cache{next(COUNTER)}")  # one that remembers no look
        opened = open_repository(storage, Credentials(PASSPHRASE), cache, self.place.clock)
        with opened as repository:
            context = Context(self.told.append, surroundings=self.place.clock)
            return verify(repository, VerifyOptions(level=level), context)

    def of(self, folder: str) -> list[str]:
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two snapshots, packs of data and of trees, parity."""
    place = make_place(tmp_path_factory.mktemp("store"))
    small_tree(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "PACK_TARGET_BYTES", 80_000)
        place.backup(START_NS)
        place.write("docs/photo", os.urandom(300_000))
        place.backup(START_NS + DAY_NS)
    return Store(place, snapshot(place.location))


def objects(files: Files) -> list[str]:
    return sorted(name for name in files if name not in UNHARMED and files[name])


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 16,)) + data[middle + 1 :]


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "flip": flip,
    "cut": lambda data: data[:-1],
    "halve": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "append": lambda data: data + b"\0",
}


def found(result: VerifyResult) -> set[str]:
    assert result.regressions == ()
    assert result.exit_status == (4 if result.damages else 0)
    # A segment is named, and so are the snapshots whose frames it alone lists.
    return {item.object for item in result.damages if not item.object.startswith("index of ")}


def spoilt(store: Store) -> Iterator[tuple[str, str, Files, int]]:
    """(object, harm, the files with it, least level that has to find it)."""
    large = ("packs/", "parity/")
    for name in objects(store.files):
        for how, harm in HARMS.items():
            if how == "empty" and name == max(store.of("twins/ledger")):
                continue  # a power cut leaves that on FAT
            level = 1 if how == "flip" and name.startswith(large) else 0
            yield name, how, {**store.files, name: harm(store.files[name])}, level


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_found_in_a_healthy_store(store: Store, level: Level) -> None:
    result = store.verify(store.files, level)
    assert found(result) == set()
    assert bool(result.bytes_read) == (level > 0)
    assert bool(result.frames and result.files) == (level == 2)


@pytest.mark.parametrize("level", LEVELS)
def test_each_object_that_is_changed_is_named_and_nothing_else(store: Store, level: Level) -> None:
    for name, how, files, least in spoilt(store):
        expected = {name} if level >= least else set()
        assert found(store.verify(files, level)) == expected, f"{how} of {name}"


@pytest.mark.parametrize("level", LEVELS)
def test_each_object_that_is_deleted_is_named(store: Store, level: Level) -> None:
    newest = max(store.of("twins/ledger"))
    for name in objects(store.files):
        files = {other: data for other, data in store.files.items() if other != name}
        # What an interrupted command leaves is no damage.
        assert found(store.verify(files, level)) == (set() if name == newest else {name})


@pytest.mark.parametrize("folder", ["packs", "parity", "index", "snapshots", "ledger", "domains"])
def test_two_objects_in_one_anothers_place_are_both_named(store: Store, folder: str) -> None:
    names = store.of(folder)[:2] if folder != "domains" else [*store.of("domains"), "twins/store"]
    first, second = names[0], names[1]
    files = {**store.files, first: store.files[second], second: store.files[first]}
    assert {first, second} <= found(store.verify(files, 1))


def test_all_packs_damaged_at_once_are_all_named(store: Store) -> None:
    files = {
        name: flip(data) if name.startswith("packs/") else data
        for name, data in store.files.items()
    }
    for level in LEVELS[1:]:
        assert set(store.of("packs")) <= found(store.verify(files, level))


@pytest.mark.parametrize("level", [1, 2])
def test_an_object_that_the_medium_does_not_give_is_named_and_all_others_are_read(
    store: Store, level: Level
) -> None:
    whole = store.verify(store.files, level).bytes_read
    for name in store.of("packs") + store.of("parity"):

        def refuse(request: Request, name: str = name) -> None:
            if request.name == name and request.method in ("get", "ranges", "read"):
                raise UnreadableError(f"cannot read {name}: the medium may be failing")

        harmed = Store(store.place, store.files, refuse)
        result = harmed.verify(store.files, level)
        assert found(result) == {name}
        assert "the medium may be failing" in result.damages[0].what
        assert result.bytes_read == whole - len(store.files[name])


class Failing(Calls):
    """A medium on which some files cannot be read, ever."""

    def __init__(self, folder: Path, bad: set[str]) -> None:
        self.bad = {(folder / name).stat().st_ino for name in bad}

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if self.fstat(fd).st_ino in self.bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(fd, length, offset)


@pytest.mark.parametrize("level", LEVELS)
def test_a_lasting_read_error_is_damage_of_just_that_object(store: Store, level: Level) -> None:
    folder = store.place.location
    for name in store.of("packs") + store.of("parity") + store.of("index"):
        storage = LocalStorage(folder, calls=Failing(folder, {name}))
        cache = str(store.place.folder / f"cache{next(COUNTER)}")
        opened = open_repository(storage, Credentials(PASSPHRASE), cache, store.place.clock)
        with opened as repository:
            result = verify(repository, VerifyOptions(level=level), store.place.context())
        assert found(result) == ({name} if level or name.startswith("index/") else set())
        for item in result.damages[:1]:
            assert "the medium, its cable or its driver may be failing" in item.what


def damage(result: VerifyResult, name: str) -> Damage:
    return next(item for item in result.damages if item.object == name)


def test_what_a_repair_brings_back_is_not_called_lost(store: Store) -> None:
    photo = os.fsdecode(store.place.path("docs/photo"))
    large = max(store.of("packs"), key=lambda name: len(store.files[name]))
    without = {name: data for name, data in store.files.items() if name != large}
    trials: tuple[tuple[Files, Level], ...] = (
        ({**store.files, large: flip(store.files[large])}, 1),
        (without, 0),
    )
    for files, level in trials:
        told = damage(store.verify(files, level), large)
        assert told.files == ()
        assert "can be repaired" in told.means
        assert photo in told.means
        assert "lost" not in told.means
        assert told.next_command == "kluis repair"
        with_repair = MemoryStorage(files)
        cache = str(store.place.folder / "fresh")
        opened = open_repository(with_repair, Credentials(PASSPHRASE), cache, store.place.clock)
        with opened as repository:
            assert repair(repository, RepairOptions(), store.place.context()).exit_status == 0


def test_what_nothing_brings_back_is_lost_and_named(store: Store) -> None:
    large = max(store.of("packs"), key=lambda name: len(store.files[name]))
    gone = {large, *store.of("parity")}
    files = {name: data for name, data in store.files.items() if name not in gone}
    told = damage(store.verify(files, 0), large)
    assert store.place.path("docs/photo") in told.files
    assert store.place.path("letter.txt") not in told.files
    assert "lost: nothing in this store brings it back" in told.means
    assert told.next_command.startswith("kluis repair, then kluis backup")


def test_a_pack_and_its_shard_damaged_in_other_blocks_can_be_repaired(store: Store) -> None:
    """At level 1 the blocks are tried, not guessed at."""
    large = max(store.of("packs"), key=lambda name: len(store.files[name]))
    for shard in store.of("parity"):
        early = bytes((store.files[large][0] ^ 1,)) + store.files[large][1:]
        late = store.files[shard][:-1] + bytes((store.files[shard][-1] ^ 1,))
        told = damage(store.verify({**store.files, large: early, shard: late}, 1), large)
        assert told.files == ()
        assert told.next_command == "kluis repair"


def test_the_same_folder_at_two_paths_is_named_at_both(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    for folder in ("one", "two"):
        path = place.write(f"{folder}/letter", b"x" * 5000)
        os.utime(path, ns=(START_NS, START_NS))
        os.utime(path.parent, ns=(START_NS, START_NS))
    place.backup()
    files = snapshot(place.location)
    gone = [name for name in files if name.startswith(("packs/", "parity/"))]
    left = {name: data for name, data in files.items() if name not in gone}
    result = Store(place, left).verify(left, 0)
    lost = {path for item in result.damages for path in item.files}
    assert lost == {b"/"}  # the trees are gone with all else
    data = [name for name in gone if name.startswith("packs/")]
    for name in data:
        result = Store(place, files).verify(
            {k: v for k, v in files.items() if k != name and not k.startswith("parity/")}, 0
        )
        lost = {path for item in result.damages for path in item.files}
        assert lost in ({b"/"}, {place.path("one/letter"), place.path("two/letter")})


def test_wrong_frames_in_a_pack_with_the_right_name_are_found_by_level_2_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of memory that failed while the pack was made: neither name nor parity can tell."""
    place = make_place(tmp_path)
    small_tree(place)
    sealed = crypt.seal_large

    def wrong(key: bytes, algorithm: int, nonce: bytes, plain: Any, context: bytes) -> bytearray:
        is_frame = context.startswith(b"kluis frame")
        return sealed(key, algorithm, nonce, flip(bytes(plain)) if is_frame else plain, context)

    with monkeypatch.context() as failing:
        failing.setattr(crypt, "seal_large", wrong)
        failing.setattr(packer, "_compare_again", lambda *_: None)
        place.backup()
    files = snapshot(place.location)
    store = Store(place, files)
    assert found(store.verify(files, 1)) == set()
    result = store.verify(files, 2)
    assert result.exit_status == 4
    packs = {name for name in files if name.startswith("packs/")}
    assert packs <= found(result)
    assert all("kluis did not store there" in damage(result, name).what for name in packs)


def test_a_segment_that_has_a_frame_elsewhere_is_found(store: Store) -> None:
    """Its packs are whole, and what they hold is as it was: restore would not find it."""

    def shifted(storage: Storage, session: Session, state: LedgerState) -> Index:
        index = load_index(storage, session, state)
        index.packs = [
            replace(place, frames_offset=place.frames_offset + 1) for place in index.packs
        ]
        return index

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kluis.operations.verify.load_index", shifted)
        result = store.verify(store.files, 2)
    assert set(store.of("packs")) <= found(result)


def test_packs_larger_than_one_thread_takes_are_read_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "PACK_TARGET_BYTES", 200_000)
    place = make_place(tmp_path)
    for number in range(12):
        place.write(f"photo{number}", os.urandom(150_000))
    place.backup()
    files = snapshot(place.location)
    packs = [name for name in files if name.startswith("packs/")]
    assert len(packs) > 2 * WORKERS
    bad = packs[:: WORKERS + 1]
    store = Store(place, files)
    result = store.verify({n: flip(d) if n in bad else d for n, d in files.items()}, 2)
    assert found(result) == set(bad)
    read = sum(len(files[name]) for name in files if name.startswith(("packs/", "parity/")))
    assert result.bytes_read == read
    progress = [event.bytes_done for event in store.told if isinstance(event, Progress)]
    assert progress == sorted(progress)
    assert progress[-1] == read


def test_a_wish_to_stop_is_heard(store: Store) -> None:
    cancel = Cancel()

    def stop(event: object) -> None:
        if isinstance(event, Progress):
            cancel.set()

    storage = MemoryStorage(dict(store.files))
    cache = str(store.place.folder / "fresh")
    opened = open_repository(storage, Credentials(PASSPHRASE), cache, store.place.clock)
    context = Context(stop, cancel, store.place.clock)
    with opened as repository, pytest.raises(CancelledError):
        verify(repository, VerifyOptions(level=2), context)


@pytest.mark.parametrize("level", LEVELS)
def test_a_prune_in_between_is_no_damage(tmp_path: Path, level: Level) -> None:
    place = make_place(tmp_path)
    small_tree(place)
    ids = []
    for day in range(3):
        place.write("changing.bin", os.urandom(200_000))
        ids.append(place.backup(START_NS + day * DAY_NS).snapshot_id)
    storage = MemoryStorage(snapshot(place.location))
    cache = str(place.folder / "other")
    seen: list[Request] = []

    def meddle(request: Request) -> None:
        """Another client forgets and prunes just before the packs are looked at."""
        if request.method == "list" and request.name.startswith("packs") and not seen:
            seen.append(request)
            with open_repository(storage, Credentials(PASSPHRASE), cache, place.clock) as other:
                forget(other, ForgetOptions(ids=tuple(ids[:-1])), place.context())
                options = PruneOptions(max_unused=Limit(size=0), delay_seconds=0)
                assert prune(other, options, place.context()).plan.packs_removed

    traced = TracedStorage(storage, meddle)
    fresh = str(place.folder / "fresh")
    with open_repository(traced, Credentials(PASSPHRASE), fresh, place.clock) as repository:
        result = verify(repository, VerifyOptions(level=level), place.context())
    assert seen
    assert result.damages == ()
    assert result.snapshots == 1


def test_a_date_in_the_future_is_no_date(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    place.write("f", os.urandom(1000))
    place.backup()
    now, dates = place.clock.time_ns, []
    for clock in (now + 36_500 * DAY_NS, now):
        place.clock.time_ns = clock
        with place.open() as repository:
            verify(repository, VerifyOptions(level=1), place.context())
        place.clock.time_ns = now
        with place.open() as repository:
            seen = verify(repository, VerifyOptions(), place.context())
            dates.append((seen.oldest_read_ns, seen.bytes_never_read > 0))
    assert dates == [(None, True), (now, False)]
