from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.errors import KluisError
from kluis.events import DamageFound, Warning_
from kluis.format import tree
from kluis.format.tree import Extent
from kluis.operations.forget import forget
from kluis.operations.ls import ls
from kluis.operations.prune import prune
from kluis.operations.repair import repair
from kluis.operations.restore import restore
from kluis.operations.snapshots import snapshots
from kluis.operations.verify import verify
from kluis.options import (
    Credentials,
    ForgetOptions,
    LsOptions,
    PruneOptions,
    RepairOptions,
    RestoreOptions,
    SnapshotsOptions,
    VerifyOptions,
)
from kluis.repository.access import open_repository
from kluis.results import RestoreResult
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from tests.integration.source_copy import portrait
from tests.repositories import PASSPHRASE, Place
from tests.unit.operations.damaged import (
    check_the_rest,
    frames,
    lost,
    place_of_frames,
    restored,
    spoil,
    without_parity,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of_frames(tmp_path)


def test_each_damaged_frame_costs_just_the_files_that_need_it(place: Place, tmp_path: Path) -> None:
    without_parity(place)
    costs = []
    for number, (name, location) in enumerate(frames(place)):
        before = (place.location / name).read_bytes()
        spoil(place, name, location.offset + location.stored_bytes // 2)
        target = tmp_path / f"out {number}"
        result = restored(place, target)
        missing = lost(result)
        assert result.exit_status == 4
        assert missing
        assert {damage.object for damage in result.damages} == {name}
        assert all(damage.next_command == "kluis repair" for damage in result.damages)
        check_the_rest(place, target, missing)
        assert result.files_restored == 12 - len(missing)
        told = [event.damage for event in place.told if isinstance(event, DamageFound)]
        assert told[-len(result.damages) :] == list(result.damages)
        (place.location / name).write_bytes(before)
        costs.append(missing)
    assert len(costs) > 8
    twins = {place.path("large/1"), place.path("large/twin of 1")}
    copies = {place.path("small/3"), place.path("copy of small 3")}
    for pair in (twins, copies):
        assert any(pair & cost for cost in costs)
        assert all(pair <= cost for cost in costs if pair & cost)


def test_a_pack_that_parity_brings_back_costs_nothing(place: Place, tmp_path: Path) -> None:
    name, location = frames(place)[0]
    spoil(place, name, location.offset + 5)
    result = restored(place, tmp_path / "out")
    assert (result.exit_status, result.damages) == (0, ())
    assert portrait(bytes(tmp_path / "out")) == portrait(bytes(place.source))
    warnings = [event for event in place.told if isinstance(event, Warning_)]
    assert [warning.code for warning in warnings] == ["rebuilt"]
    assert name in warnings[0].message
    assert "kluis repair" in warnings[0].message
    (place.location / name).unlink()
    assert restored(place, tmp_path / "again").exit_status == 0


def test_whoever_lists_from_a_rebuilt_pack_says_so(place: Place) -> None:
    for name, location in frames(place, trees=True):
        spoil(place, name, location.offset + 5)
    with place.open() as repository:
        assert list(ls(repository, LsOptions(), place.context()).entries)
    told = [event for event in place.told if isinstance(event, Warning_)]
    assert {event.code for event in told} == {"rebuilt"}


def test_a_missing_pack_without_parity_costs_its_files(place: Place, tmp_path: Path) -> None:
    place.write("filling", os.urandom(18_000_000))
    place.backup()
    without_parity(place)
    with_trees = {name for name, _ in frames(place, trees=True)}
    name = next(name for name, _ in frames(place) if name not in with_trees)
    (place.location / name).unlink()
    result = restored(place, tmp_path / "out")
    assert result.exit_status == 4
    assert {damage.object for damage in result.damages} == {name}
    check_the_rest(place, tmp_path / "out", lost(result))


def test_a_tree_that_is_lost_is_named_as_a_folder(place: Place, tmp_path: Path) -> None:
    without_parity(place)
    for name, location in frames(place, trees=True):
        spoil(place, name, location.offset + location.stored_bytes // 2)
    with place.open() as repository:
        options = RestoreOptions(target=bytes(tmp_path / "out"))
        result = restore(repository, options, place.context())
    assert result.exit_status == 4
    assert result.damages[0].means == "what lies in this folder could not be restored"
    assert lost(result) == {b"/"}


def test_what_is_lost_is_noted_and_ends_with_its_snapshot(place: Place) -> None:
    """Verify, repair, backup, forget: each names the next, and the last leaves no damage."""
    for path in [*(place.location / "packs").rglob("*"), *(place.location / "parity").iterdir()]:
        if path.is_file():
            path.unlink()
    said = []
    for act in (None, "repair", "backup", "forget"):
        with place.open() as repository:
            if act == "repair":
                repair(repository, RepairOptions(), place.context())
            if act == "forget":
                [group] = snapshots(repository, SnapshotsOptions(), place.context()).groups
                [old] = [item.id for item in group.snapshots if item.incomplete]
                options = ForgetOptions(ids=(old,))
                forget(repository, options, place.context())
                prune(repository, PruneOptions(now=True), place.context())
        if act == "backup":
            place.backup(force=True)
        with place.open() as repository:
            damages = verify(repository, VerifyOptions(), place.context()).damages
        said.append({damage.next_command.partition(",")[0] for damage in damages})
    incomplete = "kluis forget the snapshots that are marked incomplete"
    assert said[0] == {"kluis repair"}
    assert incomplete in said[1] & said[2]
    assert said[3] == set()


def test_what_was_there_is_not_given_up_for_what_is_lost(place: Place, tmp_path: Path) -> None:
    without_parity(place)
    name, location = frames(place)[2]
    spoil(place, name, location.offset + location.stored_bytes // 2)
    missing = lost(restored(place, tmp_path / "first"))
    target = tmp_path / "out"
    for path in missing:
        mine = target / Path(os.fsdecode(path)).relative_to(place.source)
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("an older state")
    result = restored(place, target)
    assert lost(result) == missing
    assert all("what was there before" in damage.means for damage in result.damages)
    for path in missing:
        mine = target / Path(os.fsdecode(path)).relative_to(place.source)
        assert mine.read_text() == "an older state"


def test_a_file_that_is_there_and_right_needs_nothing(place: Place, tmp_path: Path) -> None:
    """Not a byte of content is read from the repository for what is right already."""
    target = tmp_path / "out"
    restored(place, target)
    without_parity(place)
    for name, location in frames(place):
        spoil(place, name, location.offset + location.stored_bytes // 2)
    result = restored(place, target)
    assert (result.exit_status, result.files_unchanged) == (0, 12)
    large = (target / "large/0").read_bytes()
    (target / "large/0").write_bytes(large[:1_000_000] + b"?" + large[1_000_001:])
    result = restored(place, target)
    assert lost(result) == {place.path("large/0")}
    assert (target / "large/0").read_bytes()[:1_000_001] == large[:1_000_000] + b"?"


@pytest.mark.parametrize("shift", [41_000, 1])
def test_an_extent_that_leads_to_other_bytes_is_found(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    """A writer that is wrong about where it put a file: at another's chunks, or between two."""
    honest = tree.pack_extent

    def wrong(extent: Extent) -> bytes:
        offset = extent.offset + (shift if extent.length == 41_000 else 0)
        return honest(extent._replace(offset=offset))

    for name in ("x", "y", "z"):
        place.write(f"docs/{name}", os.urandom(41_000))
    monkeypatch.setattr(tree, "pack_extent", wrong)
    place.backup()
    monkeypatch.undo()
    target = tmp_path / "out"
    result = restored(place, target)
    assert result.exit_status == 4
    assert lost(result) == {place.path(f"docs/{name}") for name in ("x", "y", "z")}
    assert list((target / "docs").iterdir()) == []
    check_the_rest(place, target, lost(result))


def restored_with(place: Place, target: Path, fault: Fault) -> tuple[RestoreResult | None, bool]:
    """The result, None if the restore gave up with an error; and whether the fault was met."""
    calls = FaultyCalls()
    options = RestoreOptions(path=place.path(), target=bytes(target))
    storage = LocalStorage(place.location, calls=calls)
    with open_repository(
        storage, Credentials(PASSPHRASE), str(place.cache), place.clock
    ) as repository:
        calls.faults = [replace(fault, index=fault.index + calls.count["read"])]
        try:
            result = restore(repository, options, place.context())
        except KluisError as error:
            assert error.exit_status != 0
            return None, bool(calls.hit)
    return result, bool(calls.hit)


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV])
def test_a_medium_that_fails_anywhere_gives_no_wrong_file(
    place: Place, tmp_path: Path, number: int, lasting: bool
) -> None:
    """At each read in turn: with exit 0 all is right, else what is there is, or is named."""
    index, ends = 0, set()
    while True:
        fault = Fault("read", index, number, lasting)
        result, hit = restored_with(place, tmp_path / "out", fault)
        if not hit:
            break
        missing = lost(result) if result is not None else set()
        if result is not None and result.exit_status == 0:
            assert portrait(bytes(tmp_path / "out")) == portrait(bytes(place.source))
        elif result is not None:
            assert missing
            if place.path() not in missing:
                check_the_rest(place, tmp_path / "out", missing)
        assert_no_part(place, tmp_path / "out")
        ends.add(None if result is None else result.exit_status)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        index += 2
    assert not lasting or ends & {None, 4}


def test_a_bit_that_flips_on_the_way_from_the_medium_is_noticed(
    place: Place, tmp_path: Path
) -> None:
    index = 0
    while True:
        result, hit = restored_with(place, tmp_path / "out", Fault("read", index, flip=True))
        if not hit:
            break
        assert_no_part(place, tmp_path / "out")
        if result is not None and result.exit_status == 0:
            assert portrait(bytes(tmp_path / "out")) == portrait(bytes(place.source))
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        index += 2


def assert_no_part(place: Place, target: Path) -> None:
    """Each file that is there has all its bytes."""
    for path in target.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (place.source / path.relative_to(target)).read_bytes()
