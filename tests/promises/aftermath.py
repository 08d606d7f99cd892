"""What has to hold whatever has happened: all that was acknowledged is there, and work goes on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from kluis.errors import KluisError
from kluis.operations.backup import backup
from kluis.operations.verify import verify
from kluis.options import VerifyOptions
from kluis.repository.access import Repository
from kluis.storage.base import Storage
from kluis.storage.memory import MemoryStorage
from tests.contents import Contents, all_contents, live, on_disk
from tests.promises.house import House, quiet


@dataclass(frozen=True)
class Promised:
    """What was acknowledged, and from which case (for the message)."""

    snapshots: Mapping[str, Contents]
    case: str


class Chains(MemoryStorage):
    """A FAT medium after a power cut: pairs of names lead to one chain of clusters.

    Whoever removes one of the names frees the clusters of the other.
    """

    def __init__(self, files: Mapping[str, bytes], pairs: tuple[tuple[str, str], ...]) -> None:
        super().__init__(files)
        self.pairs = pairs

    def delete(self, name: str) -> None:
        super().delete(name)
        self._free(name)

    def discard(self, leftover: str) -> bool:
        done = super().discard(leftover)
        self._free(leftover)
        return done

    def replace(
        self, name: str, data: bytes | bytearray | memoryview, *, present: bool = False
    ) -> None:
        super().replace(name, data, present=present)
        self._free(name)

    def _free(self, name: str) -> None:
        for pair in self.pairs:
            other = pair[1 - pair.index(name)] if name in pair else ""
            if other in self._files:
                self._files[other] = bytes(len(self._files[other]))


def check_aftermath(house: House, storage: Storage, cache: str, promised: Promised) -> None:
    """All that was acknowledged is exact, verify finds nothing, the next backup works.

    By a number in the case verify comes before the backup or not. The storage stays usable.
    """
    first = random.Random(promised.case).random()
    try:
        if first < 0.5:
            with house.reach(cache, storage) as repository:
                check_whole(house, repository, promised)
        with house.reach(cache, storage) as repository:
            check_promised(house, repository, promised)
            result = backup(repository, house.what(), quiet(house))
            assert not result.problems, promised.case
        after = Promised({**promised.snapshots, result.snapshot_id: on_disk(house.source)}, "")
        with house.reach(cache, storage) as repository:
            check_promised(house, repository, Promised(after.snapshots, promised.case))
            check_whole(house, repository, promised)
    except KluisError as error:
        raise AssertionError(f"{promised.case}: {type(error).__name__}: {error}") from error


def check_whole(house: House, repository: Repository, promised: Promised) -> None:
    """Verify reads everything and finds nothing, also nothing that went back."""
    result = verify(repository, VerifyOptions(level=2), quiet(house))
    found = [f"{damage.object}: {damage.what}" for damage in result.damages]
    assert not found, f"{promised.case}: {found}"
    assert not result.regressions, f"{promised.case}: {result.regressions}"


def check_promised(house: House, repository: Repository, promised: Promised) -> None:
    """Each acknowledged snapshot is there, bit by bit."""
    there = set(live(repository))
    missing = [snapshot for snapshot in promised.snapshots if snapshot not in there]
    assert not missing, f"{promised.case}: not there any more: {missing}"
    read = all_contents(repository, promised.snapshots, house.below())
    for snapshot, expected in promised.snapshots.items():
        found = read[snapshot]
        wrong = [path for path in {*found, *expected} if found.get(path) != expected.get(path)]
        assert not wrong, f"{promised.case}: {snapshot} has other bytes in {sorted(wrong)[:5]}"
