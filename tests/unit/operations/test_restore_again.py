"""A restore into a target that is there: whose folder it is, and what is left as it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kluis._native import scatter
from kluis.errors import CancelledError
from kluis.events import Cancel, Context
from kluis.operations.restore import restore
from kluis.options import RestoreOptions
from kluis.source.metadata import FLAG_IMMUTABLE
from tests.integration.source_copy import portrait
from tests.repositories import Place
from tests.unit.source.unprivileged import is_root


class Late(Cancel):
    """Stops the restore as soon as its target is there."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target

    def check(self) -> None:
        if self.target.exists():
            self.set()
        super().check()


def wanted(place: Place, target: Path) -> RestoreOptions:
    return RestoreOptions(path=place.path(), target=bytes(target))


def interrupted(place: Place, target: Path) -> None:
    context = Context(place.told.append, Late(target), place.clock)
    with place.open() as repository, pytest.raises(CancelledError):
        restore(repository, wanted(place, target), context)


def again(place: Place, target: Path) -> int:
    with place.open() as repository:
        return restore(repository, wanted(place, target), place.context()).exit_status


def mode_and_time(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return stat.S_IMODE(status.st_mode), status.st_mtime_ns


@pytest.fixture
def place(place: Place) -> Place:
    os.setxattr(place.source, "user.of", b"the source")
    place.source.chmod(0o2751)
    os.utime(place.source, ns=(5, 1_234_567_890_123_456_789))
    place.backup()
    return place


def test_a_target_that_an_interrupted_restore_made_gets_its_metadata_by_the_next(
    place: Place, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "out"
    interrupted(place, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o1700  # nobody else sees what is in it
    interrupted(place, target)
    assert again(place, target) == 0
    assert portrait(bytes(target)) == portrait(bytes(place.source))
    assert mode_and_time(target) == mode_and_time(place.source)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777, 0o1770])
def test_a_target_that_somebody_made_stays_as_it_is(
    place: Place, tmp_path: Path, mode: int
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    target.chmod(mode)
    interrupted(place, target)
    assert again(place, target) == 0
    assert mode_and_time(target)[0] == mode
    assert not os.listxattr(target)


def test_a_target_that_was_finished_is_the_users_from_then_on(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert again(place, target) == 0
    target.chmod(0o711)
    assert again(place, target) == 0
    assert mode_and_time(target)[0] == 0o711


def test_the_target_of_a_whole_snapshot_has_the_mode_of_any_new_folder(
    place: Place, tmp_path: Path
) -> None:
    """It stands for `/`, and so gets no metadata at the end."""
    with place.open() as repository:
        restore(repository, RestoreOptions(target=bytes(tmp_path / "out")), place.context())
    (tmp_path / "any").mkdir()
    assert mode_and_time(tmp_path / "out")[0] == mode_and_time(tmp_path / "any")[0]


def test_what_may_not_be_changed_and_is_right_is_no_problem(place: Place, tmp_path: Path) -> None:
    if not is_root():
        return
    target = tmp_path / "out"
    assert again(place, target) == 0
    fixed = [os.open(path, os.O_RDONLY) for path in target.rglob("*") if not path.is_symlink()]
    place_fixed = [
        os.open(path, os.O_RDONLY) for path in place.source.rglob("*") if not path.is_symlink()
    ]
    try:
        for descriptor in fixed + place_fixed:
            scatter.set_flags(descriptor, scatter.get_flags(descriptor) | FLAG_IMMUTABLE)
        place.backup()
        for _ in range(2):
            assert again(place, target) == 0
            assert all(scatter.get_flags(descriptor) & FLAG_IMMUTABLE for descriptor in fixed)
    finally:
        for descriptor in fixed + place_fixed:
            scatter.set_flags(descriptor, scatter.get_flags(descriptor) & ~FLAG_IMMUTABLE)
            os.close(descriptor)
