"""P11: the storage host cannot swap, rename, reorder or splice what it keeps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from kluis.errors import KluisError
from kluis.operations.verify import verify
from kluis.options import VerifyOptions
from kluis.storage.memory import MemoryStorage
from tests.contents import all_contents, live
from tests.promises.damages import KINDS, Files, all_kinds, of_kind
from tests.promises.house import quiet
from tests.promises.scenes import Scene, lived_in

Trials = Callable[[int, int], int]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return lived_in(tmp_path_factory.mktemp("ours"), 23, 30_000)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Another repository, with the same passphrase."""
    return lived_in(tmp_path_factory.mktemp("theirs"), 24, 30_000)


def check_not_believed(here: Scene, files: Files, case: str, *, found: bool) -> None:
    """Nothing that was not stored here is read; and if `found`, verify reports it.

    A snapshot may come back while the record that forgot it is missing.
    """
    house = here.house
    made = {name[len("snapshots/") :][:26] for name in of_kind(here.files, "snapshot")}
    try:
        with house.reach("fresh", MemoryStorage(files)) as repository:
            there = live(repository)
            assert set(there) <= made, f"{case}: a snapshot that was not made"
            result = verify(repository, VerifyOptions(level=1), quiet(house))
            assert result.exit_status == 4 or not found, f"{case}: verify is content"
            known = [snapshot for snapshot in there if snapshot in here.acknowledged]
            read = all_contents(repository, known, house.below())
    except KluisError:
        return
    for snapshot, contents in read.items():
        assert contents == here.acknowledged[snapshot], f"{case}: other bytes and no error"


def pairs(here: Scene, other: Scene) -> Iterator[tuple[str, str, bytes]]:
    """Each file, and each other one whose bytes could be put there."""
    for name in all_kinds(here.files):
        for files, whose in ((here.files, "ours"), (other.files, "theirs")):
            for source in all_kinds(files):
                if files[source] != here.files[name]:
                    yield name, f"{source} ({whose})", files[source]


def test_no_object_takes_the_place_of_another(
    ours: Scene, theirs: Scene, seed: int, trials: Trials
) -> None:
    """All pairs, across kinds, snapshots and repositories; in the slice a part of them."""
    ours.set_up()
    everything = list(pairs(ours, theirs))
    assert len(everything) > 2000
    chosen = random.Random(seed).sample(everything, trials(400, len(everything)))
    for name, source, data in chosen:
        case = f"{source} in the place of {name} (seed {seed})"
        check_not_believed(ours, {**ours.files, name: data}, case, found=True)


@pytest.mark.parametrize("kind", KINDS)
def test_two_objects_of_a_kind_cannot_change_places(ours: Scene, kind: str) -> None:
    """Their twins go with them, so that no copy contradicts."""
    ours.set_up()
    names = [name for name in of_kind(ours.files, kind) if not name.startswith("twins/")]
    for one in names:
        for two in names:
            if one < two and ours.files[one] != ours.files[two]:
                files = {**ours.files, one: ours.files[two], two: ours.files[one]}
                for a, b in ((one, two), (two, one)):
                    if f"twins/{a}" in files:
                        files[f"twins/{a}"] = ours.files[b]
                check_not_believed(ours, files, f"{one} and {two} have changed places", found=True)


def test_nothing_of_another_repository_is_believed_beside_ours(ours: Scene, theirs: Scene) -> None:
    ours.set_up()
    for name in all_kinds(theirs.files):
        if name not in ours.files:
            files = {**ours.files, name: theirs.files[name]}
            check_not_believed(ours, files, f"{name} of another repository", found=False)
    newest = max(name for name in theirs.files if name.startswith("ledger/"))
    for offset in (1, 2, 5):
        number = f"ledger/{int(newest.rpartition('/')[2]) + offset:08d}"
        data = theirs.files[newest]
        files = {**ours.files, number: data, f"twins/{number}": data}
        check_not_believed(ours, files, f"{newest} of another one as {number}", found=True)
    everything = {**theirs.files, **ours.files}
    check_not_believed(ours, everything, "two repositories in one folder", found=False)


@pytest.mark.parametrize("kind", ["pack", "shard", "segment", "snapshot", "ledger record"])
def test_a_copy_under_another_name_of_its_kind_is_not_believed(ours: Scene, kind: str) -> None:
    ours.set_up()
    for name in of_kind(ours.files, kind):
        head, _, last = name.rpartition("/")
        number = last[-8:]
        other = f"{last[:-8]}{int(number) + 7:08d}" if number.isdigit() else last[::-1]
        files = {**ours.files, f"{head}/{other}": ours.files[name]}
        check_not_believed(ours, files, f"{name} also as {other}", found=False)


def test_every_order_of_records_but_the_right_one_is_refused(ours: Scene, seed: int) -> None:
    ours.set_up()
    names = sorted(name for name in ours.files if name.startswith("ledger/"))
    chance = random.Random(seed)
    for _ in range(40):
        order = chance.sample(names, len(names))
        if order == names:
            continue
        files = dict(ours.files)
        for place, source in zip(names, order, strict=True):
            files[place] = ours.files[source]
            files[f"twins/{place}"] = ours.files[f"twins/{source}"]
        check_not_believed(ours, files, f"records in the order {order}", found=True)
