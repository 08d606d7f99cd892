"""A backup that is stopped leaves nothing half done, and the next one goes on from there."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kluis.errors import CancelledError
from kluis.events import Cancel, Context, Event, Stage
from kluis.format import pack, parity
from kluis.operations.backup import backup
from kluis.options import BackupOptions
from kluis.repository.index import load_index
from kluis.results import BackupResult
from tests.repositories import Place
from tests.unit.operations.stored import files_of, source_files, stored

KIB = 1 << 10
MIB = 1 << 20


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of 256 KiB and segments of two, so that a few MiB are many."""
    monkeypatch.setattr(pack, "PACK_TARGET_BYTES", 256 * KIB)
    monkeypatch.setattr(parity, "SET_PACKS", 2)


@dataclass
class Stop(Cancel):
    """Does what it is told to once so many segments are there."""

    place: Place
    segments: int
    action: Callable[[], None]

    def __post_init__(self) -> None:
        super().__init__()

    def check(self) -> None:
        if len(list((self.place.location / "index").iterdir())) >= self.segments:
            self.action()
        super().check()


def run(place: Place, cancel: Cancel, cache: str = "cache", **options: object) -> BackupResult:
    wanted = BackupOptions(paths=(place.path(),), host="box")
    with place.open(cache=cache) as repository:
        context = Context(place.told.append, cancel, place.clock)
        return backup(repository, replace(wanted, **options), context)  # type: ignore[arg-type]


def in_child(function: Callable[[], object]) -> int:
    """The wait status of a process that ran the function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's threads
        child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:  # noqa: BLE001 - the status says it
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def listed_bytes(place: Place) -> int:
    """What the frames hold that segments list."""
    with place.open() as repository:
        index = load_index(repository.storage, repository.session, repository.ledger.state)
        return sum(sum(frames.plain) for frames in index.runs.values())


def noise(place: Place) -> None:
    for number in range(8):
        place.write(f"noise/{number}", os.urandom(700 * KIB))


@pytest.mark.parametrize("lost", ["nothing", "cache"])
def test_what_a_durable_segment_lists_is_not_stored_again(
    place: Place, small_segments: None, lost: str
) -> None:
    noise(place)
    status = in_child(lambda: run(place, Stop(place, 3, kill)))
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not list((place.location / "snapshots").iterdir())
    stored_before = listed_bytes(place)
    # Three segments of two packs: each was closed as a frame of at most 192 KiB did not fit.
    assert stored_before > 6 * (256 - 192) * KIB
    with place.open() as repository:
        [killed] = repository.cache.open_runs()
    cache = "cache" if lost == "nothing" else "another"
    result = run(place, Cancel(), cache)
    total = sum(map(len, source_files(place).values()))
    assert result.bytes_added_plain < total - stored_before + 20 * KIB
    assert files_of(place) == source_files(place)
    with place.open() as repository:
        state = repository.ledger.state
        assert (killed in state.ended) is (lost == "nothing")
        assert len(state.counting()) == 1
        assert repository.cache.open_runs() == ([] if lost == "nothing" else [killed])


def test_a_segment_that_the_cache_did_not_come_to_learn_is_read(
    place: Place, small_segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the barrier and the cache's own file."""
    noise(place)
    monkeypatch.setattr("kluis.repository.dedup.DedupCache.learn", lambda *_: kill())
    status = in_child(lambda: run(place, Cancel()))
    assert os.WTERMSIG(status) == signal.SIGKILL
    monkeypatch.undo()
    stored_before = listed_bytes(place)
    assert stored_before > 100 * KIB
    total = sum(map(len, source_files(place).values()))
    assert place.backup().bytes_added_plain < total - stored_before + 20 * KIB
    assert files_of(place) == source_files(place)


def test_cancelled_means_no_snapshot_and_what_was_stored_is_found_again(
    place: Place, small_segments: None
) -> None:
    noise(place)
    stop = Stop(place, 2, lambda: stop.set())
    with pytest.raises(CancelledError):
        run(place, stop)
    assert not list((place.location / "snapshots").iterdir())
    stored_before = listed_bytes(place)
    with place.open() as repository:
        [stopped] = repository.cache.open_runs()
    total = sum(map(len, source_files(place).values()))
    assert place.backup().bytes_added_plain < total - stored_before + 20 * KIB
    assert files_of(place) == source_files(place)
    with place.open() as repository:
        assert stopped in repository.ledger.state.ended


def test_cancelled_at_the_last_moment_means_no_snapshot(place: Place) -> None:
    cancel = Cancel()

    def at_the_end(event: Event) -> None:
        if event == Stage("finishing"):
            cancel.set()

    wanted = BackupOptions(paths=(place.path(),))
    with place.open() as repository, pytest.raises(CancelledError):
        backup(repository, wanted, Context(at_the_end, cancel, place.clock))
    with place.open() as repository:
        assert repository.ledger.state.counting() == {}
    assert place.backup().exit_status == 0


def test_content_that_comes_again_in_a_later_segment_is_stored_once(
    place: Place, small_segments: None
) -> None:
    block = os.urandom(MIB)
    for name in "abcd":
        place.write(name, block)
        place.write(name + " between", os.urandom(MIB))
    result = place.backup()
    assert result.bytes_added_plain < 5 * MIB + 200 * KIB
    assert len(list((place.location / "index").iterdir())) > 5
    assert files_of(place) == source_files(place)


# Two at once.


def at_once(*functions: Callable[[], object]) -> None:
    """Runs the functions in threads that wait for each other to begin; raises what one raises."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def body(function: Callable[[], object]) -> None:
        try:
            barrier.wait()
            function()
        except BaseException as failure:  # noqa: BLE001 - it is raised below
            failures.append(failure)

    threads = [threading.Thread(target=body, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("caches", [("cache", "cache"), ("cache", "another")])
@pytest.mark.parametrize("same", [True, False])
def test_two_backups_at_once_are_both_whole(
    place: Place, small_segments: None, caches: tuple[str, str], same: bool
) -> None:
    noise(place)
    paths = [(place.path(),), (place.path(),) if same else (place.path("noise"),)]
    results: list[BackupResult] = []

    def one(number: int) -> None:
        results.append(run(place, Cancel(), caches[number], paths=paths[number]))

    for _ in range(2):
        at_once(lambda: one(0), lambda: one(1))
        place.write("noise/3", os.urandom(700 * KIB))
        place.write("more", os.urandom(10 * KIB))
        place.write("empty", "")
    place.backup()
    with place.open() as repository:
        ids = {result.snapshot_id for result in results}
        assert len(ids) == 4
        assert len(repository.ledger.state.counting()) == 5
        for result in results:
            files = stored(repository, result.snapshot_id).files()
            assert sum(map(len, files.values())) == result.bytes_total
        assert repository.cache.open_runs() == []
    assert files_of(place) == source_files(place)


def test_two_processes_of_one_client_never_mix_up_their_runs(
    place: Place, small_segments: None
) -> None:
    """The second one has a dedup cache of its own, also after one was killed with it."""
    noise(place)
    with place.open() as repository, repository.cache.lock_table():
        status = in_child(lambda: run(place, Stop(place, 2, kill)))
        assert os.WTERMSIG(status) == signal.SIGKILL
        place.write("noise/0", os.urandom(700 * KIB))
        run(place, Cancel())
    place.backup()
    assert files_of(place) == source_files(place)
    left = {path.name for path in Path(place.cache).rglob("spare-*")}
    assert left == {"spare-0", "spare-0.lock"}
