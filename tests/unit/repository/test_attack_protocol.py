"""Attacks that once worked: interleavings, damage, and a thief with an agent's key."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from kluis.errors import DamageError, KluisError, NoSpaceError
from kluis.format import crypt, domain, names
from kluis.format.ledger import AGENT, Checkpoint, Ended, SnapshotMark
from kluis.format.segment import FrameGroup, PackPlace, ParitySet, Replaced
from kluis.operations.backup import backup
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.operations.repair import repair
from kluis.operations.verify import verify
from kluis.options import (
    BackupOptions,
    Credentials,
    ForgetOptions,
    PruneOptions,
    RepairOptions,
    VerifyOptions,
)
from kluis.repository import commit, merger
from kluis.repository.access import Repository, open_repository
from kluis.repository.create import RESERVE_BYTES
from kluis.repository.index import load_index
from kluis.repository.ledger import LedgerMovedError
from kluis.repository.merger import checkpoint
from kluis.repository.reserve import take_back
from kluis.repository.run import begin
from kluis.repository.uploader import Uploader
from kluis.storage.calls import Calls
from kluis.storage.local import LocalStorage
from tests.repositories import DAY_NS, HOUR_NS, PASSPHRASE, START_NS, Place, make_place, small_tree
from tests.unit.repository.test_roles import granted, opened


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    small_tree(made)
    return made


def packs(place: Place) -> list[Path]:
    return [path for path in (place.location / "packs").rglob("*") if path.is_file()]


def run_prune(place: Place, cache: str = "cache", now: bool = False) -> None:
    with place.open(cache=cache) as repository:
        prune(repository, PruneOptions(now=now), place.context())


def damages(place: Place, level: Literal[0, 1, 2] = 0) -> list[str]:
    with place.open(cache="verifier") as repository:
        result = verify(repository, VerifyOptions(level=level), place.context())
    return [f"{item.object} {item.what}" for item in result.damages]


def counts(place: Place, identity: str) -> bool:
    with place.open(cache="reader") as repository:
        return names.from_base32(identity, 16) in repository.ledger.state.live


def in_the_middle(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Does `what` once, just before a backup appends to the ledger."""
    done: list[bool] = []

    def hook(repository: Repository, mark: SnapshotMark, ended: tuple[bytes, ...]) -> None:
        if not done:
            done.append(True)
            what()
        commit.record_made(repository, mark, ended)

    monkeypatch.setattr("kluis.operations.backup.record_made", hook)


def test_a_backup_that_a_checkpoint_overtakes_counts_in_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in range(66):
        place.write("f.txt", f"{hour}\n")
        place.backup(START_NS + hour * HOUR_NS)
    in_the_middle(monkeypatch, lambda: run_prune(place, "pruner"))
    place.write("w.txt", "only here")
    with place.open(cache="writer") as repository:
        options = BackupOptions(paths=(os.fsencode(place.source),), host="w")
        made = backup(repository, options, place.context())
    assert counts(place, made.snapshot_id)
    assert damages(place) == []


def test_a_record_just_before_a_checkpoint_that_does_not_hold_it_has_lost(place: Place) -> None:
    place.backup()
    with place.open(cache="sleeper") as sleeper, place.open(cache="other") as other:
        signer = other.session.signer
        other.ledger.append((Ended((b"\7" * 16,)),), signer, place.clock)
        other.ledger.append((merger.checkpoint(other, [], set()),), signer, place.clock)
        merger.delete_old_records(other)
        with pytest.raises(LedgerMovedError):
            sleeper.ledger.append((Ended((b"\5" * 16,)),), signer, place.clock)


def test_nothing_is_collected_while_a_ledger_record_is_missing(place: Place) -> None:
    for hour in range(4):
        place.write("big.bin", os.urandom(300_000))
        place.backup(START_NS + hour * HOUR_NS)
    for folder in ("ledger", "twins/ledger"):
        (place.location / folder / "00000003").write_bytes(b"damaged")
    before = sorted(packs(place))
    for day in (1, 3):
        place.clock.time_ns = START_NS + day * DAY_NS
        with pytest.raises(DamageError):
            run_prune(place, "fresh", now=True)
    assert sorted(packs(place)) == before


def test_who_skips_records_that_he_cannot_read_is_told_that_they_are_gone(place: Place) -> None:
    for hour in range(4):
        place.write("f", f"{hour}")
        place.backup(START_NS + hour * HOUR_NS)
    for folder in ("ledger", "twins/ledger"):
        (place.location / folder / "00000003").write_bytes(b"damaged")
    try:
        with place.open(cache="fresh") as repository:
            options = BackupOptions(paths=(os.fsencode(place.source),), host="w")
            backup(repository, options, place.context())
    except KluisError:
        pass  # refusing is right too
    with place.open() as repository:
        assert repository.regressions


def test_prune_keeps_a_used_pack_that_is_too_short_until_parity_has_healed_it(place: Place) -> None:
    made = place.backup()
    (pack,) = packs(place)
    whole = pack.read_bytes()
    pack.write_bytes(whole[: -(64 << 10)])
    with pytest.raises(DamageError):
        run_prune(place)
    with place.open() as repository:
        assert not repair(repository, RepairOptions(), place.context()).unhealed
    assert pack.read_bytes() == whole
    assert counts(place, made.snapshot_id)


def test_a_pack_that_is_being_written_survives_a_prune_or_is_stored_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.backup()
    original = LocalStorage._fill
    done: list[bool] = []

    def fill(self: LocalStorage, fd: int, last: str, at: int, *rest: object) -> None:
        if len(last) == 52 and len(rest) == 1 and self._durable and not done:
            done.append(True)
            run_prune(place, "pruner")
        original(self, fd, last, at, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalStorage, "_fill", fill)
    place.write("b.bin", os.urandom(400_000))
    with place.open(cache="writer") as repository:
        options = BackupOptions(paths=(os.fsencode(place.source),), host="w")
        backup(repository, options, place.context())
    assert done
    assert damages(place, 1) == []


def test_a_checkpoint_that_an_agent_signed_counts_for_nothing(place: Place) -> None:
    for hour in range(3):
        place.write("big.bin", os.urandom(100_000))
        place.backup(START_NS + hour * HOUR_NS)
    session = granted(place, AGENT, domain.META | domain.DEDUP)
    with opened(place, session, "thief") as repository:
        ledger, state = repository.ledger, repository.ledger.state
        point = replace(merger.checkpoint(repository, [], set()), live=(), forgotten=())
        for event in (point, Ended((b"\1" * 16,))):
            assert isinstance(event, Checkpoint | Ended)
            n = state.head + 1
            data = ledger._seal(n, (event,), session.signer, place.clock)
            repository.storage.create(names.ledger(n), data)
            repository.storage.create(names.twin(names.ledger(n)), data)
            state.head, state.head_digest = n, crypt.digest(data)
    with place.open(cache="fresh") as repository:
        assert len(repository.ledger.state.live) == 3


@pytest.mark.parametrize("attack", ["hide", "hijack"])
def test_a_segment_of_an_agent_says_nothing_about_other_runs(place: Place, attack: str) -> None:
    made = place.backup()
    session = granted(place, AGENT, domain.META | domain.DEDUP)
    (pack,) = packs(place)
    with opened(place, session, "thief") as repository:
        index = load_index(repository.storage, repository.session, repository.ledger.state)
        first = min(names.base32(run) for run, _ in index.segments)
        while True:
            run = begin(
                session,
                repository.store.store,
                session.home(),
                repository.ledger.state,
                place.clock,
            )
            if names.base32(run.id) < first:
                break
        with ThreadPoolExecutor(1) as pool:
            uploader = Uploader(repository.storage, run, b"\1" * 16, place.clock, pool)
            if attack == "hide":
                uploader.stands_for = tuple(
                    Replaced(other, k, item.digest) for (other, k), item in index.segments.items()
                )
                uploader.write_segment(())
            else:
                victim, fake = index.packs[0], os.urandom(1 << 19)
                digest = crypt.digest(fake)
                repository.storage.put(names.pack(run.shelf(), digest), [fake])
                there = PackPlace(
                    run.shelf(), digest, len(fake), victim.frames_offset, victim.groups
                )
                empty: tuple[FrameGroup, ...] = ()
                uploader.write_segment(
                    (
                        ParitySet(run.id, 0, None, 0, (there,)),
                        ParitySet(run.id, 1, None, 0, (replace(victim, groups=empty),)),
                    )
                )
    run_prune(place, "owner", now=True)
    assert pack.exists()
    with place.open(cache="owner") as repository:
        stored = repository.open_file(made.snapshot_id, place.path("letter.txt"))
        assert stored.read() == (place.source / "letter.txt").read_bytes()


class BadSector(Calls):
    """A file of which no byte can be read."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name, self._bad = name, -1

    def open(self, name: str, at: int) -> int:
        fd = super().open(name, at)
        if os.readlink(f"/proc/self/fd/{fd}").endswith(self._name):
            self._bad = fd
        return fd

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if fd == self._bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(fd, length, offset)

    def close(self, fd: int) -> None:
        self._bad = -1 if fd == self._bad else self._bad
        super().close(fd)


@pytest.mark.parametrize("kind", ["store", "keyring", "domains", "ledger", "snapshots", "packs"])
def test_one_file_that_cannot_be_read_is_never_fatal(place: Place, kind: str) -> None:
    made = place.backup()
    top = place.location / kind
    file = top if top.is_file() else max(path for path in top.rglob("*") if path.is_file())
    storage = LocalStorage(place.location, calls=BadSector(str(file.relative_to(place.folder))))
    with open_repository(
        storage, Credentials(PASSPHRASE), str(place.cache), place.clock
    ) as repository:
        stored = repository.open_file(made.snapshot_id, place.path("docs/report.odt"))
        assert stored.read() == (place.source / "docs/report.odt").read_bytes()
        found = verify(repository, VerifyOptions(level=1), place.context())
        assert [item.object for item in found.damages] == [str(file.relative_to(place.location))]


def test_forget_works_on_a_full_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for hour in range(2):
        place.write("f", f"{hour}")
        ids.append(place.backup(START_NS + hour * HOUR_NS).snapshot_id)
    original = LocalStorage.create

    def create(self: LocalStorage, name: str, data: bytes) -> None:
        if self._durable and (place.location / "reserve").exists():
            raise NoSpaceError("no space left on the medium")
        original(self, name, data)

    monkeypatch.setattr(LocalStorage, "create", create)
    with place.open() as repository:
        assert forget(repository, ForgetOptions(ids=(ids[0],)), place.context()).forgotten


@pytest.mark.parametrize("merged", [False, True], ids=["records", "checkpoint"])
def test_a_clock_that_is_behind_does_not_end_the_time_to_take_back(
    place: Place, merged: bool
) -> None:
    ids = [place.backup(START_NS + day * DAY_NS).snapshot_id for day in range(2)]
    now, place.clock.time_ns = place.clock.time_ns, 0
    with place.open() as repository:
        forget(repository, ForgetOptions(ids=(ids[0],)), place.context())
    if merged:
        with place.open() as repository:
            place.clock.time_ns = now
            event = checkpoint(repository, [], set())
            signer = repository.session.signer
            repository.ledger.append((event,), signer, repository.surroundings)
    for waited, waiting in ((0, True), (6 * DAY_NS, True), (8 * DAY_NS, False)):
        place.clock.time_ns = now + waited
        with place.open() as repository:
            options = PruneOptions(delay_seconds=7 * 24 * 3600)
            plan = prune(repository, options, place.context()).plan
        assert (ids[0] in plan.snapshots_waiting) is waiting


def test_a_clock_that_was_ahead_keeps_nothing_for_ever(place: Place) -> None:
    ids = [place.backup(START_NS + day * DAY_NS).snapshot_id for day in range(2)]
    now, place.clock.time_ns = place.clock.time_ns, START_NS + 36_500 * DAY_NS
    with place.open() as repository:
        verify(repository, VerifyOptions(level=1), place.context())
        place.clock.time_ns = now
        forget(repository, ForgetOptions(ids=(ids[0],)), place.context())
        place.clock.time_ns = now + 8 * DAY_NS
        options = PruneOptions(delay_seconds=7 * 24 * 3600)
        assert prune(repository, options, place.context()).plan.snapshots_doomed == (ids[0],)


def test_the_reserve_comes_back_on_a_small_medium(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.backup()
    for free, size in ((100 << 10, None), (1 << 20, 512 << 10), (1 << 30, RESERVE_BYTES)):
        with place.open() as repository:
            (place.location / "reserve").unlink(missing_ok=True)
            monkeypatch.setattr(LocalStorage, "free_space", lambda _, free=free: free)
            take_back(repository)
        reserve = place.location / "reserve"
        assert (reserve.stat().st_size if reserve.exists() else None) == size


def test_repair_gives_the_newest_record_its_twin(place: Place) -> None:
    """Without it one damaged byte more would take an acknowledged snapshot away."""
    place.backup()
    twins = sorted((place.location / "twins/ledger").iterdir(), key=lambda path: len(path.name))
    newest = max(twins, key=lambda path: path.name)
    content = newest.read_bytes()
    newest.unlink()
    for dry_run in (True, False):
        with place.open() as repository:
            result = repair(repository, RepairOptions(dry_run=dry_run), place.context())
        assert [item.object for item in result.healed] == [f"twins/ledger/{newest.name}"]
        assert newest.exists() is not dry_run
    assert newest.read_bytes() == content
