"""What was backed up is what is restored: content, metadata and links of trees of all shapes."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from kluis.operations.restore import restore
from kluis.options import RestoreOptions
from kluis.results import RestoreResult
from scripts.treecompare import compare
from tests import datasets
from tests.integration.source_copy import portrait
from tests.integration.test_source_round_trip import Made, flags_of, set_up, trees
from tests.repositories import Place, make_place
from tests.unit.source.unprivileged import as_nobody, shared_folder

Trials = Callable[[int, int], int]
SNAPSHOTS = 10
Tree = list[tuple[int, bytes, Made]]


def restored(place: Place, path: bytes, target: bytes, **options: object) -> RestoreResult:
    wanted = RestoreOptions(path=path, target=target, **options)  # type: ignore[arg-type]
    with place.open() as repository:
        return restore(repository, wanted, place.context())


def round_trip(place: Place, number: int, tree: Tree) -> None:
    """Backs a tree up, restores it into nothing, and once more over what is there."""
    source = bytes(place.source) + b"/%d" % number
    target = bytes(place.folder) + b"/restored %d" % number
    os.mkdir(source)
    set_up(source, tree)
    assert place.backup(paths=(source,)).problems == ()
    before = portrait(source)
    result = restored(place, source, target, privileged=True)
    assert (result.problems, result.damages) == ((), ())
    assert portrait(target) == before
    for relative, values in before.items():
        if stat.S_ISREG(int(str(values[0]))):
            assert flags_of(target, relative) == flags_of(source, relative)
    again = restored(place, source, target, privileged=True, verify=True)
    assert (again.exit_status, again.files_restored) == (0, 0)
    assert {**portrait(target), b"": ()} == {**before, b"": ()}
    for folder in (source, target):
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=True)
        shutil.rmtree(folder)


TREES_ARE_LARGE = [HealthCheck.data_too_large, HealthCheck.too_slow]


def try_trees(folder: Path, count: int) -> None:
    """Each tree a snapshot; a new repository now and then, as many snapshots slow an opening."""
    places = itertools.count()
    place = make_place(_new(folder / "repositories"))

    @given(trees)
    # Trees are large on purpose; Hypothesis would rather have small inputs and quick ones.
    @settings(max_examples=count, suppress_health_check=TREES_ARE_LARGE)
    def any_tree(tree: Tree) -> None:
        nonlocal place
        number = next(places)
        if number % SNAPSHOTS == 0:
            shutil.rmtree(place.folder)
            place = make_place(_new(place.folder))
        round_trip(place, number, tree)

    any_tree()


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_any_tree_comes_back_as_it_was(tmp_path: Path, trials: Trials) -> None:
    try_trees(tmp_path, trials(150, 2000))


def test_trees_of_a_user_without_rights_come_back_too(trials: Trials) -> None:
    for folder in shared_folder():
        as_nobody(partial(try_trees, folder, trials(50, 1000)))


def test_an_office_and_odd_entries_come_back_bit_by_bit(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    datasets.office(place.source / "office", seed=5, scale=0.1)
    datasets.odd_entries(place.source / "odd", privileged=os.geteuid() == 0)
    datasets.tiny_files(place.source / "mail", 1500, seed=6)
    place.backup()
    datasets.change_office(place.source / "office", seed=7)
    place.backup()
    target = tmp_path / "out"
    result = restored(place, place.path(), bytes(target), privileged=True, verify=True)
    found = compare(place.source, target)
    assert found.same, found.differences
    assert found.hard_links == 1
    assert found.xattrs > 3
    assert result.exit_status == 0
    assert result.files_verified == result.files_restored + result.files_unchanged - 2
    source, copy = place.source / "odd/holes", target / "odd/holes"
    assert copy.stat().st_blocks <= source.stat().st_blocks
    assert (target / "office/books/machine.img").stat().st_blocks * 512 < 2 << 20


def test_owners_go_by_name_unless_numbers_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who has another number here than where the backup was made."""
    from kluis.source import names

    place = make_place(tmp_path)
    place.write("file", "x")
    place.write("large", os.urandom(2_000_000))
    place.backup()
    owner = names.user_name(os.getuid())
    assert owner
    monkeypatch.setattr(names, "user_number", lambda name: 4321 if name == owner else None)
    for numeric in (False, True):
        target = tmp_path / f"out {numeric}"
        result = restored(place, place.path(), bytes(target), numeric_owner=numeric)
        assert result.exit_status == 0
        for name in ("file", "large", ""):
            assert (target / name).stat().st_uid == (os.getuid() if numeric else 4321)


def test_an_owner_that_cannot_be_set_is_named(tmp_path: Path) -> None:
    """By a user without rights, of files that root had."""
    for folder in shared_folder():
        place = make_place(folder)
        place.write("mine/file", "x")
        place.write("mine/large", os.urandom(2_000_000))
        place.backup()
        place.location.chmod(0o755)
        subprocess.run(["chmod", "-R", "a+rwX", folder], check=True)

        def try_it(place: Place = place) -> RestoreResult:
            return restored(place, place.path(), bytes(place.folder / "out"))

        result = as_nobody(try_it)
        assert result.exit_status == 3
        named = {problem.path.rpartition(b"/")[2] for problem in result.problems}
        assert named == {b"file", b"large", b"mine", b"out"}
        assert {problem.operation for problem in result.problems} == {"owner"}
        assert (folder / "out/mine/large").read_bytes() == (
            place.source / "mine/large"
        ).read_bytes()


def test_a_large_folder_is_read_in_windows(tmp_path: Path) -> None:
    """20,000 names: a tree that is neither kept nor decoded as a whole."""
    place = make_place(tmp_path)
    long = "n" * 60
    for number in range(20_000):
        os.mknod(place.source / f"{number:05} {long}", 0o100644)
    os.symlink("x", place.source / "zz")
    place.backup()
    result = restored(place, place.path(), bytes(tmp_path / "out"))
    assert (result.files_restored, result.others_restored, result.exit_status) == (20_000, 1, 0)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(place.source))
