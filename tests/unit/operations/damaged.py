"""A backup whose frames are known, to be damaged one by one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from kluis.format.frame import TREE
from kluis.operations.restore import restore
from kluis.options import RestoreOptions
from kluis.repository.index import Index, Location, load_index
from kluis.results import RestoreResult
from tests.integration.source_copy import portrait
from tests.repositories import Place, make_place


def place_of_frames(folder: Path) -> Place:
    """A backup of files that need one frame, several frames, and shared ones."""
    made = make_place(folder)
    for number in range(6):
        made.write(f"small/{number}", os.urandom(40_000))
    for number in range(3):
        made.write(f"large/{number}", os.urandom(1_200_000))
    made.write("text/one", "words " * 50_000)
    os.link(made.source / "large/1", made.source / "large/twin of 1")
    made.write("copy of small 3", (made.source / "small/3").read_bytes())
    made.backup()
    return made


def restored(place: Place, target: Path, **options: object) -> RestoreResult:
    wanted = RestoreOptions(path=place.path(), target=bytes(target))
    wanted = replace(wanted, **options)  # type: ignore[arg-type]
    with place.open() as repository:
        return restore(repository, wanted, place.context())


def index_of(place: Place) -> Index:
    with place.open() as repository:
        return load_index(repository.storage, repository.session, repository.ledger.state)


def frames(place: Place, trees: bool = False) -> list[tuple[str, Location]]:
    """(pack, place in it) of every frame of data, or of every frame of trees."""
    index = index_of(place)
    return [
        (index.pack_name(location.pack), location)
        for run, held in index.runs.items()
        for n in range(len(held.packs))
        for location in index.locate(run, n)
        if (location.kind == TREE) == trees
    ]


def spoil(place: Place, name: str, offset: int) -> None:
    path = place.location / name
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def without_parity(place: Place) -> None:
    for path in (place.location / "parity").iterdir():
        path.unlink()


def lost(result: RestoreResult) -> set[bytes]:
    return {path for damage in result.damages for path in damage.files}


def check_the_rest(place: Place, target: Path, missing: set[bytes]) -> None:
    """All but what is missing is there as it was."""
    before, after = portrait(bytes(place.source)), portrait(bytes(target))
    for relative, values in before.items():
        if place.path() + b"/" + relative in missing:
            assert relative not in after
        elif relative != b"large/twin of 1":
            assert after[relative] == values, relative
