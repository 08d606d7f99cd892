"""What a client keeps of a store saves it work and never misleads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from kluis.errors import DamageError
from kluis.format import crypt, names
from kluis.format.ledger import Lost
from kluis.operations.forget import forget
from kluis.operations.hold import hold
from kluis.operations.ls import ls
from kluis.operations.snapshots import snapshots
from kluis.operations.verify import verify
from kluis.options import ForgetOptions, HoldOptions, LsOptions, SnapshotsOptions, VerifyOptions
from kluis.repository import catalog, kept
from kluis.repository.ledger import Ledger
from kluis.repository.snapshots import load_all, resolve
from kluis.repository.state import LedgerState
from tests.repositories import Place, days_of_snapshots, make_place

DAYS = 5


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A client that keeps what it reads, however little that is."""
    monkeypatch.setattr(kept, "KEPT_FROM_RECORDS", 1)
    monkeypatch.setattr(catalog, "KEPT_FROM_RECORDS", 1)
    made = make_place(tmp_path)
    days_of_snapshots(made, DAYS)
    return made


def listed(place: Place, cache: str = "cache") -> Any:
    with place.open(cache=cache) as repository:
        return snapshots(repository, SnapshotsOptions(), place.context())


def state(place: Place, cache: str = "cache") -> LedgerState:
    with place.open(cache=cache) as repository:
        return repository.ledger.state


def files_of(place: Place, name: str) -> list[Path]:
    """Both copies of objects whose names begin so."""
    return [path for path in place.location.rglob(f"{name}*") if path.is_file()]


def count(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> list[str]:
    """Notes each call."""
    calls: list[str] = []
    done = getattr(where, name)

    def noted(*given: Any) -> Any:
        calls.append(name)
        return done(*given)

    monkeypatch.setattr(where, name, noted)
    return calls


def test_a_second_list_is_the_same_and_opens_no_snapshot_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = listed(place)
    opened = count(monkeypatch, catalog, "load")
    assert listed(place) == first == listed(place, "another")
    assert len(opened) == DAYS  # those of the other client


def test_a_second_opening_reads_one_record_and_knows_as_much(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = state(place)
    read = count(monkeypatch, Ledger, "_load")
    assert state(place) == whole
    assert len(read) == 1
    assert state(place, "another") == whole


def test_all_that_a_ledger_can_say_is_kept(place: Place) -> None:
    [first, second, *_] = [info.id for info in listed(place).groups[0].snapshots]
    with place.open() as repository:
        hold(repository, HoldOptions(ids=(first,), reason="audit"), place.context())
        forget(repository, ForgetOptions(ids=(second,)), place.context())
        verify(repository, VerifyOptions(level=1), place.context())
    assert state(place) == state(place) == state(place, "another")
    assert state(place).held
    assert state(place).forgotten
    assert state(place).verified
    assert listed(place) == listed(place) == listed(place, "another")


def test_a_snapshot_that_lost_frames_is_listed_so_though_it_was_kept(place: Place) -> None:
    before = listed(place).groups[0].snapshots
    with place.open() as repository:
        [newest] = load_all(repository)[0][-1:]
        lost = (Lost(newest.facts.uses),)
        repository.ledger.append(lost, repository.session.signer, place.clock)
    after = listed(place).groups[0].snapshots
    assert not any(info.incomplete for info in before)
    assert after[-1].incomplete
    assert listed(place).groups[0].snapshots == after


def test_what_came_since_is_read_on(place: Place) -> None:
    before = listed(place)
    new = place.backup().snapshot_id
    found = [info.id for info in listed(place).groups[0].snapshots]
    assert found == [*(info.id for info in before.groups[0].snapshots), new]


def test_a_snapshot_whose_file_is_gone_is_not_listed_from_memory(place: Place) -> None:
    [first, *rest] = listed(place).groups[0].snapshots
    for path in files_of(place, f"{first.id}-"):
        if "snapshots" in path.parts:
            path.unlink()
    result = listed(place)
    assert [info.id for info in result.groups[0].snapshots] == [info.id for info in rest]
    assert [first.id in damage.object for damage in result.damages] == [True]


@pytest.mark.parametrize("gone", [False, True])
def test_verify_finds_what_is_damaged_though_a_list_does_not_look(place: Place, gone: bool) -> None:
    first = listed(place).groups[0].snapshots[0]
    for path in files_of(place, f"{first.id}-"):
        if "snapshots" in path.parts:
            if gone:
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:-1] + b"?")
    with place.open() as repository:
        result = verify(repository, VerifyOptions(), place.context())
    assert any(first.id in damage.object for damage in result.damages)


@pytest.mark.parametrize("copies", [1, 2])
def test_verify_finds_a_damaged_record_that_is_not_read_any_more(place: Place, copies: int) -> None:
    listed(place)
    name = names.ledger(3)
    for path in [place.location / name, place.location / names.twin(name)][:copies]:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with place.open() as repository:
        result = verify(repository, VerifyOptions(), place.context())
    assert any(name in damage.object for damage in result.damages)


def test_a_missing_record_is_told_of_as_without_a_memory(place: Place) -> None:
    listed(place)
    name = names.ledger(3)
    for path in (place.location / name, place.location / names.twin(name)):
        path.unlink()
    with place.open() as repository:
        assert "missing" in " ".join(repository.regressions)
        assert repository.ledger.gap is not None


def test_a_store_that_went_back_or_is_another_branch_is_told_of(place: Place) -> None:
    older = place.folder / "older"
    shutil.copytree(place.location, older)
    place.backup()
    listed(place)
    shutil.rmtree(place.location)
    shutil.copytree(older, place.location)
    with place.open() as repository:
        assert "rolled back" in repository.regressions[0]
        assert len(repository.ledger.state.live) == DAYS
    with place.open(cache="another") as repository:  # goes on from there
        hold(repository, HoldOptions(ids=("latest",)), place.context())
    with place.open() as repository:
        assert "forked" in repository.regressions[0]


def test_what_is_kept_is_sealed_and_believed_only_as_it_was_kept(place: Place) -> None:
    first = listed(place)
    folder = next(place.cache.rglob("seen")).parent
    for name in (kept.LEDGER, catalog.KEPT):
        data = (folder / name).read_bytes()
        for clear in (b"box", place.path(), b"diary"):
            assert clear not in data
    ledger, cards = (folder / kept.LEDGER).read_bytes(), (folder / catalog.KEPT).read_bytes()
    (folder / kept.LEDGER).write_bytes(cards)  # whole, but not what it is there for
    (folder / catalog.KEPT).write_bytes(ledger)
    assert listed(place) == first
    for name in (kept.LEDGER, catalog.KEPT):
        body = (folder / name).read_bytes()[crypt.DIGEST_BYTES : -1] + b"?"
        (folder / name).write_bytes(crypt.digest(body) + body)
    assert listed(place) == first


def test_latest_is_one_that_can_be_read_though_a_newer_one_was_kept(place: Place) -> None:
    [*_, before, newest] = listed(place).groups[0].snapshots
    for path in files_of(place, f"{newest.id}-"):
        if "snapshots" in path.parts:
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    with place.open() as repository:
        assert ls(repository, LsOptions(), place.context()).snapshot.id == before.id
        with pytest.raises(DamageError, match=newest.id):
            resolve(repository, newest.id)
