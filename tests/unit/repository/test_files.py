from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest

from kluis.errors import DamageError, NotFoundError
from kluis.format.tree import LISTED
from kluis.repository.listing import locate, root_of
from kluis.repository.snapshots import resolve
from kluis.repository.trees import open_trees
from tests.repositories import DAY_NS, START_NS, Place, make_place

SIZE_BYTES = 5_000_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


def sparse(place: Place) -> bytes:
    """Noise, a hole of 2 MB, words, a hole at the end."""
    parts = (os.urandom(1_500_000), bytes(2_000_000), b"word " * 200_000)
    content = b"".join(parts).ljust(SIZE_BYTES, b"\0")
    path = place.source / "large"
    with path.open("wb") as file:
        file.write(parts[0])
        file.seek(len(parts[1]), io.SEEK_CUR)
        file.write(parts[2])
        file.truncate(SIZE_BYTES)
    return content


def test_reads_what_was_stored_from_any_place(place: Place, seed: int) -> None:
    content = sparse(place)
    place.backup()
    chance = random.Random(seed)
    with place.open() as repository, repository.open_file("latest", place.path("large")) as file:
        assert file.read() == content
        assert file.read() == b""
        for _ in range(60):
            at, count = chance.randrange(SIZE_BYTES + 1000), chance.choice((1, 100, 70_000, 10**6))
            assert file.seek(at) == at
            assert file.read(count) == content[at : at + count]
        assert file.seek(-7, os.SEEK_END) == SIZE_BYTES - 7
        assert file.readinto(bytearray(20)) == 7
        assert file.tell() == SIZE_BYTES


def test_lines_and_text_of_an_older_snapshot(place: Place) -> None:
    place.write("notes.txt", "one\ntwo\n")
    place.backup(START_NS)
    place.write("notes.txt", "three\n")
    place.backup(START_NS + DAY_NS)
    with place.open() as repository:
        path = place.source / "notes.txt"
        with io.TextIOWrapper(repository.open_file("latest~1", path)) as text:
            assert text.readlines() == ["one\n", "two\n"]
        with repository.open_file("latest", str(path)) as file:
            assert file.read() == b"three\n"


def test_an_empty_file_and_positions_outside(place: Place) -> None:
    place.write("empty")
    place.backup()
    with place.open() as repository, repository.open_file("latest", place.path("empty")) as file:
        assert file.read() == b""
        assert file.seek(10) == 10
        assert file.read(5) == b""
        with pytest.raises(ValueError, match=r"start|negative"):
            file.seek(-1)
        assert not file.writable()


def test_what_is_no_file_is_refused(place: Place) -> None:
    place.write("folder/file")
    place.backup()
    with place.open() as repository:
        for name in ("folder", "nothing", "folder/file/x"):
            with pytest.raises(NotFoundError, match=name.partition("/")[0]):
                repository.open_file("latest", place.path(name))
        with pytest.raises(NotFoundError):
            repository.open_file("latest", b"/")


def test_a_long_file_whose_extents_are_listed_apart(place: Place) -> None:
    """Many small changes scatter a file over two runs: more extents than a tree holds."""
    content = bytearray(os.urandom(40 << 20))
    place.write("disk.img", bytes(content))
    place.backup(START_NS)
    for start in range(0, len(content), 56 << 10):
        content[start + 100 : start + 108] = b"changed!"
    path = place.write("disk.img", bytes(content))
    del content
    place.backup(START_NS + DAY_NS)
    with place.open() as repository, repository.open_file("latest", path) as file:
        snapshot = resolve(repository, "latest")
        trees = open_trees(repository, snapshot.certificate.domain)
        found = locate(trees, root_of(snapshot), place.path("disk.img"))
        assert found is not None
        assert found.entry.flags & LISTED
        original = path.read_bytes()
        for at in (0, 20 << 20, (40 << 20) - 5):
            file.seek(at)
            assert file.read(100_000) == original[at : at + 100_000]


def test_damage_is_raised_before_a_wrong_byte_is_given(place: Place) -> None:
    content = os.urandom(2_000_000)
    place.write("photo", content)
    place.backup()
    for path in (place.location / "parity").iterdir():
        path.unlink()
    largest = max(place.location.rglob("packs/*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with place.open() as repository, repository.open_file("latest", place.path("photo")) as file:
        got = bytearray()
        with pytest.raises(DamageError):
            got.extend(byte for piece in iter(lambda: file.read(10_000), b"") for byte in piece)
        assert content.startswith(got)
