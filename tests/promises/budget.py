"""What parity and twins can make good, and damages that stay within it or go beyond."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from kluis.format.names import numbered, pack
from kluis.format.parity import BLOCK_BYTES
from kluis.format.segment import ParitySet
from kluis.repository.index import load_index
from kluis.storage.memory import MemoryStorage
from tests.promises.damages import KINDS, Files, of_kind
from tests.promises.scenes import Scene

WITH_TWINS = ("store", "keyring", "domain", "ledger record", "snapshot", "document")


@dataclass(frozen=True)
class Protected:
    """A parity set that is still needed: its shard and its members by name."""

    shard: str
    shard_data_at: int
    members: tuple[str, ...]


def protected_sets(here: Scene) -> list[Protected]:
    """Every set with a shard, the largest first."""
    with here.house.reach("cache", MemoryStorage(here.files)) as repository:
        state = repository.ledger.state
        index = load_index(repository.storage, repository.session, state)
    sets = {id(item): item for item in index.set_of_pack.values() if item.parity_digest}
    found = [_protected(here.files, item) for item in sets.values()]
    alive = [item for item in found if all(name in here.files for name in item.members)]
    return sorted(alive, key=lambda item: (-len(item.members), item.shard_data_at))


def _protected(files: Mapping[str, bytes], item: ParitySet) -> Protected:
    members = tuple(pack(place.shelf, place.digest) for place in item.packs)
    shard = numbered("parity", item.parity_run, item.parity_k)
    longest = max(place.size for place in item.packs)
    return Protected(shard, item.parity_bytes - longest, members)


def spoil_block(files: Files, name: str, at: int, chance: random.Random) -> None:
    """Some bytes of the 64 KiB from there on are others."""
    data = bytearray(files[name])
    end = min(len(data), at + BLOCK_BYTES)
    place = chance.randrange(at, end)
    for spot in range(place, min(end, place + chance.choice((1, 100, BLOCK_BYTES)))):
        data[spot] ^= chance.randrange(1, 256)
    files[name] = bytes(data)


def harm_set(files: Files, one: Protected, chance: random.Random) -> str:
    """As much damage to a set as its shard can make good; says what."""
    way = chance.choice(("nothing", "lost", "shard", "columns", "columns", "short"))
    if way == "lost":
        del files[chance.choice(one.members)]
    elif way == "shard":
        del files[one.shard]
    elif way == "short":
        name = chance.choice(one.members)
        files[name] = files[name][: chance.randrange(len(files[name]))]
    elif way == "columns":
        for column in range(max(len(files[name]) for name in one.members) // BLOCK_BYTES):
            longer = [name for name in one.members if len(files[name]) > column * BLOCK_BYTES]
            name = chance.choice([*longer, one.shard, ""])
            at = column * BLOCK_BYTES + (one.shard_data_at if name == one.shard else 0)
            if name:
                spoil_block(files, name, at, chance)
    return way


def harm_small(files: Files, chance: random.Random) -> list[str]:
    """One of the two copies of some small objects, and some segments."""
    told = []
    for kind in WITH_TWINS:
        for name in of_kind(files, kind):
            if name.startswith("twins/") or chance.random() < 0.6:
                continue
            copy = chance.choice((name, f"twins/{name}"))
            if copy not in files or not files[copy]:
                continue
            harm_file(files, copy, chance)
            told.append(copy)
    for name in of_kind(files, "segment"):
        if chance.random() < 0.3:
            harm_file(files, name, chance)
            told.append(name)
    return told


def harm_file(files: Files, name: str, chance: random.Random) -> None:
    """Deletes, cuts or changes a whole file."""
    way = chance.random()
    if way < 0.4:
        del files[name]
    elif way < 0.6:
        files[name] = files[name][: chance.randrange(len(files[name]))]
    else:
        data = bytearray(files[name])
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        files[name] = bytes(data)


def newest_record(files: Mapping[str, bytes]) -> str:
    """The ledger's last record."""
    return max(name for name in files if name.startswith(KINDS["ledger record"][0]))
