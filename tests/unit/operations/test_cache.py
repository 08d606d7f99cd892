from __future__ import annotations

import os

import pytest

from kluis.errors import KluisError, NoRepositoryError
from kluis.operations.cache import cache_clear
from kluis.options import CacheClearOptions
from kluis.results import CacheClearResult
from tests.repositories import DAY_NS, START_NS, Place


def cleared(place: Place, *, one: bool = True, forget_client: bool = False) -> CacheClearResult:
    location = str(place.location) if one else None
    options = CacheClearOptions(str(place.cache), location, forget_client)
    return cache_clear(options, place.context())


def files(place: Place) -> set[str]:
    return {path.name for path in place.cache.rglob("*") if path.is_file()}


def client(place: Place) -> bytes:
    [path] = place.cache.rglob("client")
    return path.read_bytes()


@pytest.mark.parametrize("one", [True, False])
def test_what_can_be_had_again_goes_and_who_we_are_stays(place: Place, one: bool) -> None:
    place.backup(START_NS)
    before = client(place)
    result = cleared(place, one=one)
    assert files(place) == {"client", "seen", "last-snapshot", "table-lock"}
    assert client(place) == before
    assert result.size > 0
    assert [os.fsdecode(folder).startswith(str(place.cache)) for folder in result.folders] == [True]


def test_the_next_backup_reads_again_and_stores_no_content_twice(place: Place) -> None:
    place.write("noise", os.urandom(300_000))
    place.backup(START_NS)
    cleared(place)
    result = place.backup(START_NS + DAY_NS)
    assert result.bytes_read >= 300_000
    assert result.bytes_added < 200_000
    assert place.backup(START_NS + 2 * DAY_NS).exit_status == 0


def test_a_client_can_be_forgotten(place: Place) -> None:
    place.backup(START_NS)
    before = client(place)
    cleared(place, one=False, forget_client=True)
    assert files(place) == {"table-lock"}
    place.backup(START_NS + DAY_NS)
    assert client(place) != before


def test_no_cache_is_an_empty_one(place: Place) -> None:
    assert cleared(place) == cleared(place, one=False) == CacheClearResult()
    assert not place.cache.exists()


def test_no_repository_is_said_and_nothing_made(place: Place) -> None:
    nowhere = place.folder / "nowhere"
    with pytest.raises(NoRepositoryError, match="nowhere"):
        cache_clear(CacheClearOptions(str(place.cache), str(nowhere)), place.context())
    assert not nowhere.exists()


def test_a_cache_in_use_is_left_alone(place: Place) -> None:
    place.backup()
    before = files(place)
    refused = pytest.raises(KluisError, match="not deleted")
    with place.open() as repository, repository.cache.lock_table(), refused:
        cleared(place)
    assert files(place) == before
