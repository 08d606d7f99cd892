"""A medium that refuses to give the bytes of some packs: restore, dump and ls go on."""

from __future__ import annotations

import errno
import io
import os
import shutil
from pathlib import Path

import pytest

from kluis.errors import DamageError, MediumGoneError
from kluis.events import DamageFound, Warning_
from kluis.format.ledger import PackName
from kluis.format.names import pack as pack_name
from kluis.format.names import parse_pack
from kluis.operations.dump import dump
from kluis.operations.ls import ls
from kluis.operations.restore import restore
from kluis.operations.verify import verify
from kluis.options import Credentials, DumpOptions, LsOptions, RestoreOptions, VerifyOptions
from kluis.repository.access import Repository, open_repository
from kluis.repository.files import open_file
from kluis.repository.rebuild import rebuild_pack
from kluis.storage.between import Between
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.local import LocalStorage
from tests.integration.source_copy import portrait
from tests.repositories import PASSPHRASE, Place
from tests.unit.operations.damaged import (
    check_the_rest,
    frames,
    index_of,
    lost,
    place_of_frames,
    spoil,
    without_parity,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of_frames(tmp_path)


class Refusing(Between):
    """A medium that gives no byte of some files, again and again, and has them all the same."""

    def __init__(self, refused: set[str], number: int) -> None:
        super().__init__()
        self._refused = refused
        self._number = number
        self._open: dict[int, str] = {}

    def open(self, name: str, at: int) -> int:
        descriptor = super().open(name, at)
        self._open[descriptor] = name
        return descriptor

    def read(self, fd: int, length: int, offset: int) -> bytes:
        if self._open.get(fd) in self._refused:
            raise OSError(self._number, os.strerror(self._number))
        return super().read(fd, length, offset)


def refusing(place: Place, packs: set[str], number: int) -> Repository:
    calls = Refusing({name.rpartition("/")[2] for name in packs}, number)
    storage = LocalStorage(place.location, calls=calls)
    return open_repository(storage, Credentials(PASSPHRASE), str(place.cache), place.clock)


@pytest.mark.parametrize("number", [errno.EIO, errno.EREMOTEIO, errno.EACCES])
@pytest.mark.parametrize("trees", [False, True])
def test_a_pack_that_the_medium_refuses_is_as_good_as_damaged(
    place: Place, tmp_path: Path, number: int, trees: bool
) -> None:
    """Restore, dump, ls and a file opened by itself go on, with what parity gives."""
    pack = next(name for name, _ in frames(place, trees))
    sink = io.BytesIO()
    with refusing(place, {pack}, number) as repository:
        options = RestoreOptions(path=place.path(), target=bytes(tmp_path / "out"))
        result = restore(repository, options, place.context())
        dumped = dump(repository, DumpOptions(sink, path=place.path()), place.context())
        listed = ls(repository, LsOptions(path=place.path(), recursive=True), place.context())
        assert len(list(listed.entries)) == 15
        with open_file(repository, "latest", place.path("large/0")) as file:
            assert file.read() == (place.source / "large/0").read_bytes()
    assert (result.problems, result.damages) == ((), ())
    assert portrait(bytes(tmp_path / "out")) == portrait(bytes(place.source))
    warnings = [event for event in place.told if isinstance(event, Warning_)]
    assert {warning.code for warning in warnings} == {"rebuilt"}
    assert len(warnings) == 2 + trees  # by restore and dump, and by ls where folders lie in it
    assert all(pack in warning.message for warning in warnings)
    assert (dumped.damages, dumped.files) == ((), 12)


def test_what_parity_cannot_give_back_is_named_and_the_rest_restored(
    place: Place, tmp_path: Path
) -> None:
    place.write("filling", os.urandom(18_000_000))
    place.backup()
    with_trees = {name for name, _ in frames(place, trees=True)}
    packs = {name for name, _ in frames(place)} - with_trees
    assert packs
    without_parity(place)
    with refusing(place, packs, errno.EREMOTEIO) as repository:
        options = RestoreOptions(path=place.path(), target=bytes(tmp_path / "out"))
        result = restore(repository, options, place.context())
    assert result.exit_status == 4
    assert {damage.object for damage in result.damages} <= packs
    check_the_rest(place, tmp_path / "out", lost(result))


def test_a_medium_that_is_gone_damages_nothing(place: Place, tmp_path: Path) -> None:
    pack = frames(place)[0][0]
    options = RestoreOptions(path=place.path(), target=bytes(tmp_path / "out"))
    with refusing(place, {pack}, errno.ENODEV) as repository, pytest.raises(MediumGoneError):
        restore(repository, options, place.context())
    assert not [event for event in place.told if isinstance(event, DamageFound | Warning_)]


@pytest.mark.parametrize("action", ["restore", "verify"])
def test_a_medium_that_gives_nothing_from_some_read_on_damages_nothing(
    place: Place, tmp_path: Path, action: str
) -> None:
    """Wherever it is pulled out, with the error that a bad place gives."""

    def act(calls: FaultyCalls) -> None:
        storage = LocalStorage(place.location, calls=calls)
        keys, cache = Credentials(PASSPHRASE), str(tmp_path / "cache")
        with open_repository(storage, keys, cache, place.clock) as repository:
            if action == "restore":
                options = RestoreOptions(path=place.path(), target=bytes(tmp_path / "out"))
                result = restore(repository, options, place.context())
                assert result.exit_status == 0
            else:
                assert verify(repository, VerifyOptions(level=2), place.context()).exit_status == 0
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.rmtree(tmp_path / "cache")

    act(healthy := FaultyCalls())
    reads = healthy.count["read"]
    assert reads > 15
    for first in range(reads):
        with pytest.raises(MediumGoneError, match="nothing in the repository is judged"):
            act(FaultyCalls([Fault("read", first, errno.EIO, lasting=True)]))
    assert not [event for event in place.told if isinstance(event, DamageFound | Warning_)]


def test_folders_on_the_way_that_are_lost_end_it_with_the_next_step(
    place: Place, tmp_path: Path
) -> None:
    without_parity(place)
    for segment in (place.location / "index").iterdir():
        spoil(place, f"index/{segment.name}", 300)
    options = RestoreOptions(path=place.path(), target=bytes(tmp_path / "out"))
    with place.open() as repository:
        for action in (
            lambda: restore(repository, options, place.context()),
            lambda: dump(repository, DumpOptions(io.BytesIO(), path=place.path()), place.context()),
        ):
            with pytest.raises(DamageError, match=r"nothing was \w+: .*index/.*kluis repair"):
                action()
    assert not (tmp_path / "out").exists()


def test_one_bad_sector_in_each_of_two_packs_costs_nothing(place: Place, tmp_path: Path) -> None:
    """Parity works block by block also where the medium gives an error instead of bytes."""
    place.write("filling", os.urandom(18_000_000))
    place.backup()
    index = index_of(place)
    parity_set = next(
        parity_set for parity_set in index.set_of_pack.values() if len(parity_set.packs) > 1
    )
    names = [pack_name(member.shelf, member.digest) for member in parity_set.packs]
    sectors = {name.rpartition("/")[2]: k * 300_000 for k, name in enumerate(names[:2], 1)}
    storage = LocalStorage(place.location, calls=BadSectors(sectors))
    for name in names[:2]:
        wanted = (place.location / name).read_bytes()
        shelf, digest = parse_pack(name)
        assert rebuild_pack(storage, parity_set, PackName(shelf, digest)) == wanted


class BadSectors(Refusing):
    """Reads fail that touch one byte of each of some files."""

    def __init__(self, sectors: dict[str, int]) -> None:
        super().__init__(set(), errno.EIO)
        self._sectors = sectors

    def read(self, fd: int, length: int, offset: int) -> bytes:
        bad = self._sectors.get(self._open.get(fd, ""), -1)
        if offset <= bad < offset + length:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(fd, length, offset)
