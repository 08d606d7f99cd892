"""`init` takes an empty folder, whatever an operating system put there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kluis.errors import AlreadyExistsError
from kluis.operations.verify import verify
from kluis.options import VerifyOptions
from tests.repositories import Place


@pytest.mark.parametrize("other", ["mine.txt", "photos/1.jpg", "packs/hello", "a name with spaces"])
def test_other_files_are_in_the_way_and_stay(tmp_path: Path, other: str) -> None:
    place = Place(tmp_path)
    path = place.location / other
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(AlreadyExistsError):
        place.make()
    assert [item for item in place.location.rglob("*") if item.is_file()] == [path]
    assert path.read_text() == "precious"


def test_what_an_operating_system_keeps_on_a_medium_is_never_foreign(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name in ("System Volume Information/WPSettings.dat", ".Trash-1000/files/a", ".DS_Store"):
        path = place.location / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (place.location / "lost+found").mkdir()
    place.make()
    with place.open() as repository:
        assert verify(repository, VerifyOptions(), place.context()).damages == ()


def test_a_foreign_file_that_comes_later_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.make()
    (place.location / "mine.txt").write_text("x")
    with place.open() as repository:
        [damage] = verify(repository, VerifyOptions(), place.context()).damages
    assert damage.object == "mine.txt"
