"""A house as it stands at some moment, to be set up again for each trial."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kluis.format.names import FOLDERS
from kluis.operations.keys import key_passwd
from kluis.operations.repair import repair
from kluis.options import KeyPasswdOptions, RepairOptions
from kluis.storage.between import Unsynced
from tests.contents import Contents
from tests.crash.states import snapshot
from tests.promises.aftermath import Promised
from tests.promises.house import House, change, make_house, quiet
from tests.repositories import KDF_MEMORY_BYTES

SCENE_LARGE_BYTES = 300_000


@dataclass
class Scene:
    """What lay where: the repository's files and one client's cache."""

    house: House
    files: dict[str, bytes]
    cache: dict[str, bytes]
    acknowledged: dict[str, Contents]
    passphrase: bytes = field(repr=False)

    def set_up(self) -> House:
        """The house as it was."""
        house = self.house
        fill_folder(house.location, self.files)
        for folder in FOLDERS:  # as init made them, durable, also those that are still empty
            (house.location / folder).mkdir(parents=True, exist_ok=True)
        self.set_up_cache()
        house.acknowledged = dict(self.acknowledged)
        house.passphrase = self.passphrase
        house.calls = Unsynced()
        return house

    def set_up_cache(self) -> None:
        """The client's cache as it was."""
        fill_folder(self.house.folder / "cache", self.cache)

    def promised(self, case: str) -> Promised:
        """What has to be there, for a message that begins with this."""
        return Promised(dict(self.acknowledged), case)


def fill_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes the folder hold exactly these files."""
    shutil.rmtree(folder, ignore_errors=True)
    write_files(folder, files)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Puts these files into the folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def scene(house: House) -> Scene:
    """The house as it is."""
    return Scene(
        house,
        snapshot(house.location),
        snapshot(house.folder / "cache"),
        dict(house.acknowledged),
        house.passphrase,
    )


def lived_in(folder: Path, seed: int, large_bytes: int = SCENE_LARGE_BYTES) -> Scene:
    """A repository with four snapshots, one of them forgotten, whose source has changed since."""
    chance = random.Random(seed)
    house = make_house(folder, chance, large_bytes)
    house.settle_in()
    for _ in range(4):
        house.store()
        change(house, chance)
    house.forget([next(iter(house.acknowledged))])
    return scene(house)


def do_backup(house: House) -> None:
    """One more snapshot."""
    house.store()


def do_forget(house: House) -> None:
    """The two oldest go."""
    house.forget(list(house.acknowledged)[:2])


def do_prune(house: House) -> None:
    """Moves, dooms and deletes."""
    house.prune()


def do_repair(house: House) -> None:
    """Heals what is there to heal."""
    with house.reach() as repository:
        result = repair(repository, RepairOptions(), quiet(house))
    assert result.exit_status == 0, [damage.what for damage in result.unhealed]


def do_passwd(house: House) -> None:
    """Another passphrase."""
    with house.reach() as repository:
        key_passwd(repository, KeyPasswdOptions(b"another", KDF_MEMORY_BYTES), quiet(house))
    house.passphrase = b"another"


VERBS: dict[str, Callable[[House], None]] = {
    "backup": do_backup,
    "forget": do_forget,
    "prune": do_prune,
    "passwd": do_passwd,
    "repair": do_repair,
}


def with_damage(intact: Scene) -> Scene:
    """The same with a pack lost, another one flipped, and damaged small objects."""
    files = dict(intact.files)
    packs = sorted((name for name in files if name.startswith("packs/")), key=lambda n: files[n])
    del files[packs[0]]
    segments = sorted(name for name in files if name.startswith("index/"))
    del files[segments[0]]
    for name in (packs[-1], "store", "keyring/00000001", "ledger/00000002"):
        data = bytearray(files[name])
        data[len(data) // 2] ^= 4
        files[name] = bytes(data)
    return Scene(intact.house, files, intact.cache, dict(intact.acknowledged), intact.passphrase)
