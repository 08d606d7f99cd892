"""On a file system that takes two names for one nothing is lost silently, nor given up."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.operations.restore import restore
from kluis.options import RestoreOptions
from kluis.results import RestoreResult
from kluis.source.batch import SmallBatch, SmallFailure
from kluis.source.folding import folded
from kluis.source.openfiles import Placed
from kluis.source.records import Record
from kluis.source.target import Target
from tests.repositories import Place, make_place

STICK_BYTES = 48 << 20


class FoldingTarget(Target):
    """What a file system does that keeps the case of names, and ignores it when it looks."""

    def may_fold(self, folder: bytes) -> bool:
        return True

    def is_alias(self, folder: bytes, name: bytes) -> bool:
        return self._real(folder, name) != name

    def look(self, folder: bytes, name: bytes) -> Record | None:
        return super().look(folder, self._real(folder, name))

    def make_folder(self, path: bytes, replace: bool) -> Placed:
        folder, _, name = path.rpartition(b"/")
        assert not path or self._real(folder, name) == name
        return super().make_folder(path, replace)

    def create_file(self, folder: bytes, name: bytes, replace: bool, attributes: int = 0) -> Placed:
        return super().create_file(folder, self._real(folder, name), replace, attributes)

    def write_small(
        self, folder: bytes, batch: SmallBatch, data: bytes | bytearray | memoryview, replace: bool
    ) -> list[SmallFailure]:
        batch.names[:] = [self._real(folder, name) for name in batch.names]
        return super().write_small(folder, batch, data, replace)

    def _real(self, folder: bytes, name: bytes) -> bytes:
        listed = os.listdir(os.path.join(self.path, folder))
        return next((found for found in listed if folded(found) == folded(name)), name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    made.write("readme", "small and second")
    made.write("README", "small")
    made.write("docs/one", "of the second folder")
    made.write("Docs/One", "of the first")
    made.write("big", os.urandom(1_500_000))
    made.write("Big", os.urandom(1_600_000))
    made.write("other", "nobody's twin")
    made.backup()
    return made


@pytest.fixture(params=["exfat through FUSE where it can be mounted", "in Python"])
def stick(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder whose file system folds: exfat for root, on a machine that has exfat-fuse."""
    medium = tmp_path / "stick"
    medium.mkdir()
    image = tmp_path / "image"
    if request.param != "in Python" and mounted(image, medium):
        yield medium
        subprocess.run(["umount", medium], check=True)
        return
    monkeypatch.setattr("kluis.operations.restore.Target", FoldingTarget)
    yield medium


def mounted(image: Path, medium: Path) -> bool:
    """Whether the folder is on an exfat of its own now."""
    image.touch()
    os.truncate(image, STICK_BYTES)
    make = ["mkfs.exfat", str(image)]
    mount = ["mount", "-t", "exfat-fuse", "-o", "loop", str(image), str(medium)]
    try:
        return os.geteuid() == 0 and all(
            subprocess.run(command, check=False, capture_output=True).returncode == 0
            for command in (make, mount)
        )
    except FileNotFoundError:
        return False


def restored(place: Place, target: Path, **options: object) -> RestoreResult:
    wanted = RestoreOptions(path=place.path(), target=bytes(target))
    wanted = replace(wanted, **options)  # type: ignore[arg-type]
    with place.open() as repository:
        return restore(repository, wanted, place.context())


def told(result: RestoreResult) -> dict[str, str]:
    """What the result says of each entry that another took the name of."""
    return {
        os.fsdecode(problem.path.rpartition(b"/")[2]): problem.reason
        for problem in result.problems
        if "takes its name for" in problem.reason
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("options", [{}, {"overwrite": "if-changed"}, {"delete": True}])
def test_the_second_of_two_names_is_reported_with_the_first(
    place: Place, stick: Path, options: dict[str, object]
) -> None:
    """The first time, and again over what is there by then."""
    source = contents(place.source)
    kept = {name: source[name] for name in ("README", "Big", "Docs/One", "other")}
    for _ in range(2):
        result = restored(place, stick / "out", **options)
        said = told(result)
        assert sorted(said) == ["big", "docs", "readme"]
        assert "README" in said["readme"]
        assert "--target" in said["readme"]
        assert "Docs" in said["docs"]
        assert result.exit_status == 3
        assert contents(stick / "out") == kept


def test_what_has_another_case_in_the_target_is_not_deleted(place: Place, stick: Path) -> None:
    (stick / "out").mkdir()
    (stick / "out/OTHER").write_text("nobody's twin")
    (stick / "out/foreign").write_text("not in the snapshot")
    result = restored(place, stick / "out", delete=True, include=(b"other", b"foreign"))
    assert result.deleted == 1
    assert list(contents(stick / "out").values()) == [b"nobody's twin"]


def test_the_second_can_be_had_by_itself(place: Place, stick: Path) -> None:
    result = restored(place, stick / "second", include=(b"/readme", b"/docs"))
    assert told(result) == {}
    assert contents(stick / "second") == {
        "readme": b"small and second",
        "docs/one": b"of the second folder",
    }


def test_names_in_two_unicode_forms_stay_two_where_they_are(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    for name in ("caf\u00e9", "cafe\u0301", "Caf\u00e9"):
        place.write(name, name)
    place.backup()
    for _ in range(2):
        assert restored(place, tmp_path / "out").problems == ()
        assert contents(tmp_path / "out") == contents(place.source)


def test_a_target_that_normalizes_names_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kluis.operations.restore.Target", FoldingTarget)
    monkeypatch.setattr(FoldingTarget, "may_fold", lambda *_: False)
    place = make_place(tmp_path)
    for name in ("caf\u00e9", "cafe\u0301"):
        place.write(name, name)
    place.backup()
    said = told(restored(place, tmp_path / "out"))
    assert list(said) == ["caf\u00e9"]
    assert "cafe\u0301" in said["caf\u00e9"]


def test_what_a_stick_cannot_hold_is_told_once_and_leaves_nothing(tmp_path: Path) -> None:
    """Permissions that are ignored, and a fifo that comes out as an empty file; else as it was."""
    place, medium = make_place(tmp_path), tmp_path / "stick"
    for number in range(5):
        place.write(f"{number}", "x").chmod(0o600 + number)
    place.write("large", os.urandom(200_000)).chmod(0o640)
    os.mkfifo(place.source / "pipe")
    place.backup()
    medium.mkdir()
    real = mounted(tmp_path / "image", medium)
    try:
        result = restored(place, medium / "out")
        problems = [(problem.operation, problem.path) for problem in result.problems]
        if real:
            wanted = {("mode", bytes(medium / "out")), ("create", bytes(medium / "out/pipe"))}
            assert sorted(problems) == sorted(wanted)
            assert any("keeps no permissions" in problem.reason for problem in result.problems)
            assert not (medium / "out/pipe").exists()
        else:
            assert problems == []
            assert stat.S_ISFIFO((medium / "out/pipe").stat().st_mode)
        assert contents(medium / "out") == contents(place.source)
    finally:
        if real:
            subprocess.run(["umount", medium], check=True)
