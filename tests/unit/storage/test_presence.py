"""A medium that is gone is told from one that is bad in places, whatever a cache still has."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kluis.errors import MediumGoneError, NotFoundError, StorageError, UnreadableError
from kluis.storage.base import Storage
from kluis.storage.between import Between
from kluis.storage.local import LocalStorage
from kluis.storage.presence import FAILING, REFUSED

LARGE = bytes(range(256)) * 1024
PACKS = [f"packs/{n % 2}/{n}" for n in range(40)]


class Medium(Between):
    """A medium of which some objects give no bytes, or which is gone, below a cache of the kernel.

    `below`: there is another cache under that one, which has all that was read before.
    """

    def __init__(self, *, direct: bool = True, below: bool = False, number: int = errno.EIO):
        super().__init__()
        self.gone = False
        self.hidden = False
        self.bad: set[str] = set()
        self.probed = 0
        self._direct = direct
        self._below = below
        self._number = number
        self._open: dict[int, str] = {}
        self._cached: set[str] = set()
        self._had: set[str] = set()

    def open(self, name: str, at: int) -> int:
        if self.hidden:
            raise FileNotFoundError(errno.ENOENT, "")
        descriptor = super().open(name, at)
        self._open[descriptor] = name
        return descriptor

    def read(self, fd: int, length: int, offset: int) -> bytes:
        name = self._open[fd]
        answers = name in self._cached or (self._below and name in self._had)
        if name in self.bad or (self.gone and not answers):
            raise OSError(self._number, os.strerror(self._number))
        self._cached.add(name)
        self._had.add(name)
        return super().read(fd, length, offset)

    def uncache(self, fd: int) -> None:
        self.probed += 1
        self._cached.discard(self._open[fd])

    def entries(self, fd: int, sizes: bool = True) -> list[tuple[str, int, int]]:
        self._listable()
        return super().entries(fd, sizes)

    def names(self, fd: int) -> list[tuple[str, bool]]:
        self._listable()
        return super().names(fd)

    def peek(self, fd: int) -> None:
        self._listable()
        super().peek(fd)

    def is_direct(self, fd: int) -> bool:
        return self._direct

    def _listable(self) -> None:
        if self.hidden:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def stored(place: Path, calls: Medium, packs: list[str] = PACKS) -> LocalStorage:
    with LocalStorage.make(place, durable=False) as storage:
        storage.create("store", b"small")
        for name in packs:
            storage.put(name, [LARGE])
    return LocalStorage(place, calls=calls)


@pytest.mark.parametrize("number", sorted(REFUSED))
def test_a_medium_that_is_gone_answers_from_the_cache_alone(tmp_path: Path, number: int) -> None:
    calls = Medium(number=number)
    with stored(tmp_path / "a", calls) as storage:
        for name in PACKS[:5]:
            storage.get(name)
        calls.gone = True
        assert storage.get(PACKS[0]) == LARGE  # from the cache
        for name in PACKS[10:12]:
            with pytest.raises(MediumGoneError, match="nothing in the repository is judged"):
                storage.get(name)


def test_a_medium_that_is_gone_from_the_first_read_on_is_noticed(tmp_path: Path) -> None:
    calls = Medium()
    calls.gone = True
    with stored(tmp_path / "a", calls) as storage, pytest.raises(MediumGoneError):
        storage.get("store")


def test_a_driver_with_a_cache_of_its_own_hides_nothing(tmp_path: Path) -> None:
    calls = Medium(direct=False, below=True)
    with stored(tmp_path / "a", calls) as storage:
        storage.get("store")
        for name in PACKS[:20]:
            storage.get(name)
        calls.gone = True
        with pytest.raises(MediumGoneError):
            storage.read(PACKS[30], 0, 100)


@pytest.mark.parametrize("direct", [True, False])
def test_bad_places_are_bad_places_however_many(tmp_path: Path, direct: bool) -> None:
    """As long as anything can be read the medium is there, and that costs little to know."""
    calls = Medium(direct=direct, below=not direct)
    with stored(tmp_path / "a", calls) as storage:
        storage.get(PACKS[0])
        # Where a cache lies below, each place answers once: with more bad ones chance would decide.
        end = 20 if direct else FAILING - 1
        calls.bad = {name.rpartition("/")[2] for name in PACKS[1:end]}
        for name in PACKS[1:end]:
            with pytest.raises(UnreadableError, match=name):
                storage.get(name)
        assert storage.get(PACKS[30]) == LARGE
        if direct:
            assert calls.probed == 19


def test_a_disk_of_which_all_but_one_object_is_bad_is_there(tmp_path: Path) -> None:
    calls = Medium()
    with stored(tmp_path / "a", calls) as storage:
        storage.get(PACKS[7])
        calls.bad = {"store", *(name.rpartition("/")[2] for name in PACKS)} - {"7"}
        for name in set(PACKS) - {PACKS[7]}:
            with pytest.raises(UnreadableError):
                storage.get(name)
        calls.bad.add("7")
        with pytest.raises(MediumGoneError):
            storage.get(PACKS[0])


def test_too_few_objects_say_nothing(tmp_path: Path) -> None:
    calls = Medium()
    calls.gone = True
    with stored(tmp_path / "a", calls, PACKS[:2]) as storage, pytest.raises(UnreadableError):
        storage.get(PACKS[0])


def test_a_medium_that_works_is_never_asked(tmp_path: Path) -> None:
    calls = Medium(direct=False)
    with stored(tmp_path / "a", calls) as storage:
        for name in PACKS:
            storage.get(name)
        with pytest.raises(NotFoundError):
            storage.get("packs/0/none")
    assert calls.probed == 0


class Unplugged(Medium):
    """A device that the system has taken from its list."""

    def block_device(self, fd: int) -> str | None:
        return "there"

    def is_device(self, path: str) -> bool:
        return not self.gone


def test_a_device_that_the_system_does_not_list_any_more_is_gone(tmp_path: Path) -> None:
    calls = Unplugged(below=True)
    with stored(tmp_path / "a", calls, PACKS[:2]) as storage:
        storage.get(PACKS[0])
        calls.gone = True
        with pytest.raises(MediumGoneError):
            storage.get(PACKS[1])


def test_what_is_missing_from_a_folder_that_cannot_be_listed_is_not_missing(
    tmp_path: Path,
) -> None:
    """Drivers outside of the kernel say "no such file" where they cannot read the folder."""
    calls = Medium(direct=False)
    with stored(tmp_path / "a", calls) as storage:
        calls.hidden = True
        for name in ("store", "packs/0/0", "packs/9/9"):
            with pytest.raises(StorageError, match="folder of") as caught:
                storage.get(name)
            assert type(caught.value) is StorageError


def exists(storage: Storage) -> bool:
    return storage.exists("packs/9/9")


def test_on_a_driver_outside_of_the_kernel_what_is_missing_is_missing(tmp_path: Path) -> None:
    with stored(tmp_path / "a", Medium(direct=False)) as storage:
        assert not exists(storage)
        storage.trust_folders(["packs/9"])
        storage.put("packs/9/9", [LARGE])
        assert exists(storage)


def test_a_folder_above_that_cannot_be_listed_says_nothing_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def failing(path: str) -> object:
        if path != str(tmp_path):
            return scandir(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(NotFoundError):
        LocalStorage(tmp_path / "a" / "b")
    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(StorageError, match="list the folder above"):
        LocalStorage(tmp_path / "a" / "b")
