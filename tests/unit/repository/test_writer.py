"""What a run stores is found again, byte for byte, and nothing that is known is stored twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kluis.events import Cancel
from kluis.format.frame import DATA, TREE
from kluis.format.tree import HOLE_RUN, Extent
from kluis.operations.archiving.session import BackupSession, open_session
from kluis.options import BackupOptions
from kluis.repository import packer
from kluis.repository.access import Repository
from kluis.repository.index import load_index
from kluis.repository.reader import FrameReader
from kluis.repository.writer import (
    DENSE_FRAME_TARGET_BYTES,
    FRAME_TARGET_BYTES,
    LARGE_DENSE_TARGET_BYTES,
    LARGE_FILE_BYTES,
    PLACE,
)
from tests.repositories import make_place

KIB = 1 << 10
MIB = 1 << 20
WORDS = b"".join(b"word %d and another " % n for n in range(60_000))


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with make_place(tmp_path).open() as opened:
        yield opened


@pytest.fixture
def session(repository: Repository) -> Iterator[BackupSession]:
    opened = open_session(repository, BackupOptions(), Cancel())
    yield opened
    opened.close()


def ends(length: int, step: int = 10_000) -> list[int]:
    return [*range(step, length, step), length]


def stored(
    session: BackupSession,
    kind: int,
    data: bytes,
    cut: list[int],
    groups: tuple[int, ...] = (),
) -> list[tuple[bytes, Extent]]:
    writer = session.writer
    return writer.extents(writer.store(kind, data, cut, groups))


def read(repository: Repository, extent: Extent) -> bytes:
    state = repository.ledger.state
    index = load_index(repository.storage, repository.session, state)
    opened = FrameReader(repository.storage, repository.session, state, index).open(
        extent.run, extent.n
    )
    return opened.plain[extent.offset : extent.offset + extent.length]


@pytest.mark.parametrize("kind", [DATA, TREE])
@pytest.mark.parametrize("data", [WORDS, os.urandom(700_000)], ids=["words", "noise"])
def test_chunks_are_read_back_from_their_places(
    repository: Repository, session: BackupSession, kind: int, data: bytes
) -> None:
    cut = ends(len(data))
    found = stored(session, kind, data, cut, (len(data),))
    session.writer.flush()
    assert b"".join(read(repository, extent) for _, extent in found) == data
    assert [extent.length for _, extent in found] == [10_000] * (len(cut) - 1) + [
        len(data) - cut[-2]
    ]


def test_the_same_chunk_is_stored_once(session: BackupSession) -> None:
    writer, block = session.writer, os.urandom(10_000)
    [(one, first), (two, second)] = stored(session, DATA, block * 2, [10_000, 20_000])
    [(three, third)] = stored(session, DATA, block, [10_000])
    assert one == two == three
    assert first == second == third
    assert writer.bytes_new == 10_000
    [(_, tree)] = stored(session, TREE, block, [10_000])
    assert tree.n != first.n
    assert writer.bytes_new == 20_000


def test_a_run_of_zeros_at_the_largest_size_is_a_hole(session: BackupSession) -> None:
    data = bytes(64 * KIB) + bytes(1000)
    (_, whole), (_, rest) = stored(session, DATA, data, [64 * KIB, len(data)])
    assert whole == Extent(HOLE_RUN, 0, 0, 64 * KIB)
    assert rest.run == session.run.id
    assert session.writer.bytes_new == 1000


def test_stretches_that_cannot_be_compressed_get_frames_of_their_own(
    repository: Repository, session: BackupSession
) -> None:
    noise = os.urandom(400_000)
    data = WORDS[:300_000] + noise + WORDS[300_000:600_000]
    found = stored(session, DATA, data, ends(len(data)), (300_000, 700_000, 1_000_000))
    session.writer.flush()
    numbers = [{extent.n for _, extent in part} for part in (found[:30], found[30:70], found[70:])]
    assert numbers[0] == numbers[2]
    assert not numbers[0] & numbers[1]
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    frames = index.runs[session.run.id]
    assert all(frames.stored[n] > frames.plain[n] for n in numbers[1])
    assert all(frames.stored[n] < frames.plain[n] / 2 for n in numbers[0])


def test_without_stretches_all_counts_as_compressible(session: BackupSession) -> None:
    noise = os.urandom(400_000)
    found = stored(session, DATA, noise, ends(len(noise)))
    assert len({extent.n for _, extent in found}) == 1


def test_what_is_known_is_not_asked_whether_it_can_be_compressed(
    session: BackupSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = os.urandom(100_000)
    session.writer.store(DATA, noise, ends(len(noise)), (len(noise),))
    asked: list[int] = []

    def ask(data: memoryview) -> bool:
        asked.append(len(data))
        return True

    monkeypatch.setattr("kluis.repository.writer.looks_compressible", ask)
    session.writer.store(DATA, noise, ends(len(noise)), (len(noise),))
    assert asked == []


def test_frames_are_about_as_large_as_they_should_be(
    repository: Repository, session: BackupSession
) -> None:
    words, noise = WORDS * 3, os.urandom(2 * MIB)
    session.writer.store(DATA, words[: MIB + 5], ends(MIB + 5))
    for start in range(0, len(noise), 500_000):
        part = noise[start : start + 500_000]
        session.writer.store(DATA, part, ends(len(part)), (len(part),))
    session.writer.flush()
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    sizes = sorted(index.runs[session.run.id].plain)
    dense = [size for size in sizes if size < 2 * DENSE_FRAME_TARGET_BYTES]
    assert sum(dense) == pytest.approx(len(noise), rel=0.05)
    assert max(sizes) < FRAME_TARGET_BYTES + 20_000


def test_large_files_that_cannot_be_compressed_share_no_frame(session: BackupSession) -> None:
    frames = []
    for size in (200_000, 330_000, 100_000):
        noise = os.urandom(size)
        found = stored(session, DATA, noise, ends(size), (size,))
        session.writer.end_file()
        frames.append({extent.n for _, extent in found})
    assert not frames[0] & frames[1]
    assert not frames[1] & frames[2]


def test_a_very_large_file_has_larger_dense_frames(
    repository: Repository, session: BackupSession
) -> None:
    writer, noise = session.writer, os.urandom(4 * MIB)
    for size in (LARGE_FILE_BYTES, LARGE_FILE_BYTES - 1):
        writer.begin_file(size)
        writer.store(DATA, noise, ends(len(noise)), (len(noise),))
        writer.end_file()
        noise = os.urandom(4 * MIB)
    writer.flush()
    index = load_index(repository.storage, repository.session, repository.ledger.state)
    sizes = list(index.runs[session.run.id].plain)
    assert LARGE_DENSE_TARGET_BYTES <= max(sizes) < LARGE_DENSE_TARGET_BYTES + 20_000
    assert sum(size < 2 * DENSE_FRAME_TARGET_BYTES for size in sizes) >= 4 * MIB // 140_000


def test_what_was_added_since_is_counted_once(session: BackupSession) -> None:
    writer = session.writer
    old, new = os.urandom(10_000), os.urandom(10_000)
    writer.store(DATA, old, [10_000])
    frontier = writer.frontier()
    found = writer.store(DATA, old + new + new, [10_000, 20_000, 30_000])
    assert frontier.added(found) == 10_000
    assert frontier.added(found[: PLACE.size]) == 0
    writer.store(DATA, WORDS, ends(len(WORDS)))
    later = writer.store(DATA, WORDS[:30_000], [10_000, 20_000, 30_000])
    assert frontier.added(later) == 30_000


@pytest.mark.parametrize(
    ("data", "compressible"),
    [
        (WORDS, True),
        (WORDS[:100], True),
        (os.urandom(100_000), False),
        (os.urandom(4096), False),
        (os.urandom(50_000) + bytes(50_000), True),
        (bytes(50_000) + os.urandom(50_000), True),
        (b"\x00" * 5000, True),
    ],
)
def test_a_sample_tells_whether_compression_gains(data: bytes, compressible: bool) -> None:
    assert packer.looks_compressible(data) is compressible


def test_nothing_is_written_without_content(repository: Repository, session: BackupSession) -> None:
    before = sorted(repository.storage.list(""))
    session.writer.flush()
    assert sorted(repository.storage.list("")) == before
