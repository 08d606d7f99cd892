"""P7, P8: repair is exact up to the parity budget; beyond it no more is lost than has to be."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.format import pack, tree
from kluis.format.names import from_base32
from kluis.format.tree import Extent
from kluis.operations.repair import repair
from kluis.operations.restore import restore
from kluis.operations.verify import verify
from kluis.options import RepairOptions, RestoreOptions, VerifyOptions
from kluis.repository.index import load_index
from kluis.repository.snapshots import load
from kluis.repository.trees import content_of, open_trees, root_content
from kluis.results import RepairResult
from kluis.storage.memory import MemoryStorage
from tests.contents import Contents, all_contents, on_disk, salvage
from tests.promises.aftermath import Promised, check_aftermath, check_whole
from tests.promises.budget import Protected, harm_set, harm_small, protected_sets
from tests.promises.damages import Files
from tests.promises.house import change, make_house, quiet
from tests.promises.scenes import Scene, scene

Trials = Callable[[int, int], int]

PACK_BYTES = 150_000  # so that a set has several members


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Sets of one, of two and of many packs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "PACK_TARGET_BYTES", PACK_BYTES)
        chance = random.Random(19)
        house = make_house(tmp_path_factory.mktemp("house"), chance, 700_000)
        house.settle_in()
        house.store()
        for _ in range(2):
            change(house, chance)
            house.write("more", chance.randbytes(200_000))
            house.store()
        return scene(house)


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "PACK_TARGET_BYTES", PACK_BYTES)


def mended(here: Scene, storage: MemoryStorage) -> RepairResult:
    with here.house.reach("cache", storage) as repository:
        return repair(repository, RepairOptions(), quiet(here.house))


def test_the_scene_has_sets_with_several_members(intact: Scene) -> None:
    intact.set_up()
    sizes = [len(one.members) for one in protected_sets(intact)]
    assert sizes[0] >= 4
    assert len(sizes) >= 3


def test_all_that_parity_and_twins_cover_comes_back_exactly(
    intact: Scene, seed: int, trials: Trials
) -> None:
    intact.set_up()
    sets = protected_sets(intact)
    for number in range(trials(80, 5000)):
        chance = random.Random(f"{seed} {number}")
        intact.set_up_cache()
        files = dict(intact.files)
        told = [harm_set(files, one, chance) for one in sets]
        told += harm_small(files, chance)
        case = f"seed {seed}, number {number}: {told}"
        storage = MemoryStorage(files)
        result = mended(intact, storage)
        assert result.exit_status == 0, f"{case}: {result.unhealed}"
        if number % 3 == 0:
            check_aftermath(intact.house, storage, "cache", intact.promised(case))
        else:
            with intact.house.reach("cache", storage) as repository:
                check_whole(intact.house, repository, intact.promised(case))


def test_a_repaired_repository_is_protected_as_before(intact: Scene, seed: int) -> None:
    """What was healed once is healed again: shards were made anew where they had to be."""
    intact.set_up()
    chance = random.Random(seed)
    storage = MemoryStorage(intact.files)
    for turn in range(6):
        now = Scene(intact.house, storage.files(), {}, intact.acknowledged, intact.passphrase)
        one = chance.choice(protected_sets(now))
        files = dict(storage.files())
        del files[chance.choice(one.members)]
        storage = MemoryStorage(files)
        result = mended(intact, storage)
        assert result.exit_status == 0, f"turn {turn}, seed {seed}: {result.unhealed}"
    check_aftermath(intact.house, storage, "cache", intact.promised(f"seed {seed}"))


def needed_by(here: Scene, lost: set[str]) -> dict[str, set[bytes]]:
    """By snapshot, the paths that cannot be had without these packs, worked out from the trees."""
    found: dict[str, set[bytes]] = {}
    with here.house.reach("cache", MemoryStorage(here.files)) as repository:
        index = load_index(repository.storage, repository.session, repository.ledger.state)
        trees = open_trees(repository, repository.session.home().id, index)

        def gone(extents: tuple[Extent, ...]) -> bool:
            return any(
                all(index.pack_name(place.pack) in lost for place in index.locate(run, n))
                for run, n in {(extent.run, extent.n) for extent in extents}
                if run != tree.HOLE_RUN
            )

        for snapshot in here.acknowledged:
            root = load(repository, repository.ledger.require(from_base32(snapshot, 16)), 0).root
            assert root is not None
            paths = found[snapshot] = set()
            pending = [(b"", root_content(root))]
            while pending:
                folder, content = pending.pop()
                if gone(content.extents):
                    paths.add(folder + b"/")  # and nobody knows what was in it
                    continue
                for entry in trees.tree(content).entries:
                    path = folder + b"/" + entry.name
                    if entry.kind == tree.DIRECTORY:
                        pending.append((path, content_of(entry)))
                    elif entry.kind == tree.FILE and gone(entry.extents):
                        paths.add(path)
    return found


def beyond(sets: list[Protected], chance: random.Random, files: Files) -> set[str]:
    """Takes more of one set than its shard can give back; returns the packs that are lost."""
    one = chance.choice(sets)
    if len(one.members) > 1 and chance.random() < 0.6:
        lost = set(chance.sample(one.members, 2))
    else:
        lost = {chance.choice(one.members)}
        del files[one.shard]
    for name in lost:
        del files[name]
    return lost


def test_beyond_the_budget_only_what_needs_the_lost_packs_is_lost(
    intact: Scene, seed: int, trials: Trials
) -> None:
    house = intact.set_up()
    sets = protected_sets(intact)
    for number in range(trials(24, 2000)):
        chance = random.Random(f"{seed} beyond {number}")
        intact.set_up_cache()
        files = dict(intact.files)
        lost = beyond(sets, chance, files)
        told = harm_small(files, chance)
        case = f"seed {seed}, number {number}: {len(lost)} packs, {told}"
        expected = needed_by(intact, lost)
        storage = MemoryStorage(files)
        result = mended(intact, storage)
        assert result.exit_status == 4, case
        named = {path for damage in result.unhealed for path in damage.files}
        for snapshot, paths in expected.items():
            check_salvage(intact, storage, snapshot, paths, case)
        assert named == set().union(*expected.values()), case
        check_new_backup_heals(intact, storage, case)
    assert house.acknowledged == intact.acknowledged


def check_salvage(
    here: Scene, storage: MemoryStorage, snapshot: str, paths: set[bytes], case: str
) -> None:
    """Exactly these paths of a snapshot are lost, all others are right."""
    with here.house.reach("cache", storage) as repository:
        found, lost = salvage(repository, snapshot, here.house.below())
    paths = {path.rstrip(b"/") for path in paths}
    top = {path for path in paths if path.startswith(here.house.below())}
    if paths - top:  # a folder on the way: nothing below it can be reached
        assert not found, case
        return
    assert lost.keys() == top, f"{case}: {snapshot}"
    for path, facts in found.items():
        assert here.acknowledged[snapshot][path] == facts, f"{case}: {path!r}"
    folders = tuple(path + b"/" for path in top)
    unreachable = {path for path in here.acknowledged[snapshot] if path.startswith(folders)}
    missing = here.acknowledged[snapshot].keys() - found.keys() - unreachable - top
    assert not missing, f"{case}: {missing}"


def check_new_backup_heals(here: Scene, storage: MemoryStorage, case: str) -> None:
    """A new backup is whole; once the old snapshots are gone, so is the repository."""
    house = here.house
    house.acknowledged = {}
    identity = house.store(storage=storage).snapshot_id
    with house.reach("cache", storage) as repository:
        found = all_contents(repository, [identity], house.below())[identity]
        assert found == on_disk(house.source), case
        damages = verify(repository, VerifyOptions(), quiet(house)).damages
        assert damages, f"{case}: what was lost is not told any more"
    house.forget(list(here.acknowledged), storage=storage)
    house.prune(storage=storage)
    with house.reach("cache", storage) as repository:
        check_whole(house, repository, Promised({}, case))
    house.acknowledged = dict(here.acknowledged)


def test_restore_goes_on_and_names_exactly_what_is_lost(
    intact: Scene, seed: int, trials: Trials, tmp_path: Path
) -> None:
    house = intact.set_up()
    sets = protected_sets(intact)
    snapshot = list(intact.acknowledged)[-1]
    expected_all = intact.acknowledged[snapshot]
    for number in range(trials(6, 200)):
        chance = random.Random(f"{seed} restore {number}")
        files = dict(intact.files)
        lost = beyond(sets, chance, files)
        paths = needed_by(intact, lost)[snapshot]
        case = f"seed {seed}, number {number}"
        target = tmp_path / str(number)
        options = RestoreOptions(snapshot=snapshot, target=os.fsencode(target))
        with house.reach("fresh", MemoryStorage(files)) as repository:
            result = restore(repository, options, quiet(house))
        named = {path for damage in result.damages for path in damage.files}
        assert named == paths, case
        assert result.exit_status == (4 if paths else 0), case
        placed = target / str(house.source).lstrip("/")
        check_restored(expected_all, placed, house.below(), paths)


def check_restored(expected: Contents, placed: Path, below: bytes, lost: set[bytes]) -> None:
    """All but what is lost lies there, bit by bit."""
    there = {
        below + path[len(os.fsencode(placed)) :]: facts
        for path, facts in (on_disk(placed) if placed.exists() else {}).items()
    }
    folders = tuple(path.rstrip(b"/") + b"/" for path in lost)
    for path, facts in expected.items():
        if path in lost or path.startswith(folders) or below.startswith(folders):
            continue
        assert there.get(path) == facts, path
