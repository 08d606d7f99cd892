"""Trial files go, whatever happens, and nothing of others goes with them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kluis.errors import MediumGoneError, NoSpaceError, NotFoundError, StorageError
from kluis.format import names
from kluis.storage.trial import TrialFolder, held_back_bytes
from kluis.surroundings import Machine
from tests.small_disk import small_disk


def trial(place: Path) -> TrialFolder:
    return TrialFolder(os.fsencode(place), Machine())


def filled(folder: TrialFolder) -> None:
    folder.create_small(1, b"abc")
    folder.make_files(b"tree", [])
    folder.make_files(b"tree/deeper", [memoryview(b"x" * 100_000), memoryview(b"")])


def test_what_is_written_is_read_and_then_gone(tmp_path: Path) -> None:
    with trial(tmp_path) as folder, folder.large() as file:
        filled(folder)
        file.write(b"a" * 10_000)
        file.write(memoryview(b"b" * 10))
        file.sync()
        file.drop()
        assert file.read(100, 9_995) == b"aaaaabbbbbbbbbb"
        folder.sync_small(1)
        folder.sync()
        assert folder.read_small(1, 10) == b"abc"
        inner = Path(os.fsdecode(folder.path))
        assert inner.parent == tmp_path
        assert (inner / "tree/deeper/small-0").stat().st_size == 100_000
        assert folder.space().free > 0
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_an_error_too(tmp_path: Path) -> None:
    def fail() -> None:
        with trial(tmp_path) as folder:
            filled(folder)
            folder.read_small(7, 10)

    with pytest.raises(NotFoundError):
        fail()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from kluis.storage.trial import TrialFolder
from kluis.surroundings import Machine
folder = TrialFolder(os.fsencode(sys.argv[1]), Machine())
folder.create_small(1, b"abc")
folder.make_files(b"tree", [memoryview(b"x")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_one_left_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("kluis-bench-")
    with trial(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [Path(os.fsdecode(folder.path))] != [left]
    assert list(tmp_path.iterdir()) == []


def test_a_living_one_and_what_only_looks_alike_stay(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    place = tmp_path / "place"
    place.mkdir()
    (place / "kluis-bench-results").mkdir()
    (place / "kluis-bench-0123456789abcdef").symlink_to(elsewhere)
    (place / "kluis-bench-00000000000000ff").touch()
    living = place / "kluis-bench-1111111111111111"
    living.mkdir()
    before = sorted(place.iterdir())
    lock = os.open(living, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with trial(place), trial(place):
        assert len(list(place.iterdir())) == len(before) + 2
    os.close(lock)
    assert sorted(place.iterdir()) == before
    assert (elsewhere / "precious").exists()
    with trial(place):
        pass
    assert living not in place.iterdir()


def test_in_a_repository_it_looks_like_what_verify_passes_over(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "store").touch()
    with trial(tmp_path) as folder:
        assert names.is_of_system(os.path.basename(os.fsdecode(folder.path)))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_in_it_leads_nothing_away(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    place = tmp_path / "place"
    place.mkdir()
    with trial(place) as folder:
        os.symlink(precious, os.path.join(os.fsdecode(folder.path), "link"))
    assert list(place.iterdir()) == []
    assert (precious / "file").exists()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_place_that_is_no_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match=name):
        trial(tmp_path / name)


def test_a_read_only_place_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        disk.protect()
        with pytest.raises(StorageError, match="cannot write"):
            trial(disk.folder)
        disk.free()
        assert list(disk.folder.iterdir()) == []


def write_too_much(place: Path) -> None:
    with trial(place) as folder, folder.large() as file:
        for _ in range(64):
            file.write(bytes(1 << 16))


def test_a_full_disk_is_said_and_nothing_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        if not disk.mounted:
            disk.protect()
        with pytest.raises((NoSpaceError, StorageError)):
            write_too_much(disk.folder)
        disk.free()
        assert list(disk.folder.iterdir()) == []


def test_a_medium_that_is_not_there_any_more_is_gone(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with trial(place) as folder:
        place.rename(tmp_path / "unplugged")
        place.mkdir()
        with pytest.raises(MediumGoneError) as caught:
            folder.read_small(1, 10)
        assert caught.value.exit_status == 75
    assert list((tmp_path / "unplugged").iterdir()) == []


def test_a_file_in_memory_is_not_said_to_come_from_a_device(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        if disk.mounted:
            with trial(disk.folder) as folder, folder.large() as file:
                file.write(bytes(1 << 16))
                file.sync()
                assert folder.system() == "tmpfs"
                assert not file.drop()
    assert held_back_bytes() >= 0
