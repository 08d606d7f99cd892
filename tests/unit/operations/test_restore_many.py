"""Files that are restored many at a time are told of, read back and lost as if one by one."""

from __future__ import annotations

import os
import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.errors import DamageError
from kluis.events import FileDone
from kluis.format.tree import ReadAt
from kluis.operations.restore import restore
from kluis.operations.restoring import listings, windows
from kluis.operations.restoring.files import FileWriter
from kluis.operations.restoring.spans import Files
from kluis.options import RestoreOptions
from kluis.results import RestoreResult
from tests.integration.source_copy import portrait
from tests.repositories import Place, make_place
from tests.unit.operations.damaged import frames, spoil, without_parity

COUNT = 300


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Files of all lengths in a few folders, some of them with the same content."""
    made = make_place(tmp_path)
    source = random.Random(6)
    for number in range(COUNT):
        size = source.choice([0, 1, 700, 5_000, 40_000])
        content = source.randbytes(size) if number % 3 else b"same" * (size // 4)
        path = made.write(f"d{number % 4}/f{number}", content)
        path.chmod(source.choice([0o400, 0o644, 0o4755, 0o1600]))
        os.utime(path, ns=(0, source.randrange(2**62)))
    (made.source / "d1" / "link").symlink_to("f1")
    (made.source / "d2" / "\udcff\n").write_bytes(b"any bytes")
    (made.source / "d2" / "ä").write_bytes(b"not in ASCII")
    (made.source / "d3").chmod(0o2711)
    made.backup()
    return made


def restored(place: Place, target: Path, each_file: bool = False, **more: object) -> RestoreResult:
    options = RestoreOptions(path=place.path(), target=os.fsencode(target))
    options = replace(options, **more)  # type: ignore[arg-type]
    with place.open() as repository:
        return restore(repository, options, replace(place.context(), each_file=each_file))


def looks(folder: Path) -> dict[bytes, object]:
    return {**portrait(bytes(folder)), b"": ()}


def test_all_is_as_it_was(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []

    def note(self: FileWriter, folder: bytes, files: Files) -> None:
        planned.append(len(files.digests) // 32)
        add(self, folder, files)

    add = FileWriter.add_files
    monkeypatch.setattr(FileWriter, "add_files", note)
    result = restored(place, tmp_path / "out", privileged=True)
    assert (result.problems, result.damages) == ((), ())
    assert looks(tmp_path / "out") == looks(place.source)
    assert result.files_restored == result.files_total == COUNT + 2
    assert result.bytes_restored == result.bytes_total
    assert sum(planned) > COUNT * 0.9  # the others lie in two frames


def test_without_privilege_setuid_is_left_out_and_told(place: Place, tmp_path: Path) -> None:
    result = restored(place, tmp_path / "out")
    setuid = [path for path in place.source.rglob("*") if path.stat().st_mode & stat.S_ISUID]
    assert {problem.path for problem in result.problems} == {
        bytes(tmp_path / "out" / path.relative_to(place.source)) for path in setuid
    }
    modes = [path.stat().st_mode for path in (tmp_path / "out").rglob("f*")]
    assert not any(mode & stat.S_ISUID for mode in modes)


def test_each_file_is_told_of_and_read_back_if_that_is_asked_for(
    place: Place, tmp_path: Path
) -> None:
    result = restored(place, tmp_path / "out", each_file=True, verify=True)
    assert result.files_verified == COUNT + 2
    told = [event for event in place.told if isinstance(event, FileDone)]
    files = {bytes(p): p.stat().st_size for p in place.source.rglob("*") if not p.is_symlink()
             and p.is_file()}  # fmt: skip
    assert {event.path: event.size for event in told if event.path in files} == files
    assert len(told) == len(files) + 1


@pytest.mark.parametrize("bulk", [True, False])
def test_what_is_lost_is_the_same_many_at_a_time_or_one_by_one(
    place: Place, tmp_path: Path, bulk: bool
) -> None:
    without_parity(place)
    name, location = frames(place)[0]
    spoil(place, name, location.offset + location.stored_bytes // 2)
    target = tmp_path / "out"
    for number in range(0 if bulk else 4):  # in what was there before each entry is looked at
        (target / f"d{number}").mkdir(parents=True)
    whole = restored(place, target, privileged=True)
    [damage] = whole.damages
    lost = {os.fsdecode(path) for path in damage.files}
    assert 0 < len(lost) < COUNT
    assert damage.object == name
    for path in place.source.rglob("*"):
        there = target / path.relative_to(place.source)
        assert os.path.lexists(there) == (str(path) not in lost)
        if there.is_file() and not there.is_symlink():
            assert there.read_bytes() == path.read_bytes()


def test_a_large_folder_is_gone_through_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where names of a window end with those that the next begins with."""
    monkeypatch.setattr(windows, "WINDOW_RECORDS", 7)
    monkeypatch.setattr(listings, "KEPT_TREE_BYTES", 1000)
    made = make_place(tmp_path)
    for number in range(100):
        made.write(f"{number:03}", b"%d" % number)
        if number % 10 == 0:
            (made.source / f"{number:03}l").symlink_to("x")
            made.write(f"{number:03}d/inner", b"x" * number)
    made.backup()
    result = restored(made, tmp_path / "out")
    assert (result.files_restored, result.others_restored, result.dirs_restored) == (110, 10, 11)
    assert looks(tmp_path / "out") == looks(made.source)


def test_what_was_read_of_a_folder_before_the_damage_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The damage shows while the next window is read ahead of what was planned of the last."""
    made = make_place(tmp_path)
    for number in range(40):
        made.write(f"{number:03}", b"%d" % number)
    made.backup()
    planned = windows.planned

    def ends_early(read: ReadAt, size: int, rules: windows.Rules) -> object:
        for number, item in enumerate(planned(read, size, rules)):
            if number == 2:
                raise DamageError("a chunk is gone")
            yield item

    monkeypatch.setattr(windows, "WINDOW_RECORDS", 10)
    monkeypatch.setattr(listings, "planned", ends_early)
    result = restored(made, tmp_path / "out")
    assert len(os.listdir(tmp_path / "out")) == result.files_restored == 20
    [damage] = result.damages
    assert damage.what == "a chunk is gone"
