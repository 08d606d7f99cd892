"""New chunks land once, whole, in the frame that their places name, as the twin has it."""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import fill
from kluis._native import sum as sums
from kluis._native.twins import fill as twin

OUR_RUN = 7
GUARD, GUARD_BYTES = 0xA5, 3  # around every buffer: so none of them is aligned either
LONGEST = 12
ZEROS = bytes(range(100, 116))
UNKNOWN = struct.pack("<IIII", fill.UNKNOWN, 0, 0, 0)
NO_LIMIT = 1 << 40
both = pytest.mark.parametrize("module", [fill, twin], ids=["native", "twin"])


@dataclass(frozen=True)
class Chunk:
    """A chunk and what the table knows of it."""

    hash16: bytes
    content: bytes
    found: bytes = UNKNOWN

    @property
    def is_known(self) -> bool:
        run, _, _, length = struct.unpack("<IIII", self.found)
        return bool(run != fill.UNKNOWN and length == len(self.content))


def new(number: int, content: bytes) -> Chunk:
    return Chunk(struct.pack("<QQ", number, 0), content)


def known(chunk: Chunk, length: int) -> Chunk:
    """The same at a place of the length."""
    return Chunk(chunk.hash16, chunk.content, struct.pack("<IIII", 3, 4, 5, length))


def packed(
    chunks: Iterable[Chunk],
) -> tuple[bytes, bytes, bytes, tuple[bytes, bytes], bytes]:
    """What a Fill is made of."""
    ends, data = array("I"), b""
    for chunk in chunks:
        data += chunk.content
        ends.append(len(data))
    hashes = b"".join(chunk.hash16 for chunk in chunks)
    known = b"".join(chunk.found for chunk in chunks), sums.each(data, ends)
    return data, ends.tobytes(), hashes, known, ZEROS


class Frame:
    """A frame in the middle of guarded memory; its first `begun` bytes are of earlier buffers."""

    def __init__(self, number: int, target: int, begun: int, capacity: int) -> None:
        self.number = (OUR_RUN, number)
        self.target, self.begun, self.size = target, begun, begun
        self.memory = bytearray([GUARD]) * (capacity + 2 * GUARD_BYTES)
        self.buffer = memoryview(self.memory)[GUARD_BYTES : GUARD_BYTES + capacity]
        self.chunks = fill.Chunks()
        self.chunks.entries.extend(b"listed before")
        self.chunks.sums.extend(b"summed before")

    def into(self, filling: Any, group_end: int = NO_LIMIT) -> int:
        self.size = filling.into(
            self.buffer, self.size, self.target, self.number, self.chunks, group_end
        )
        return self.size

    def plain(self) -> bytes:
        """What this buffer added; nothing else may have changed."""
        start, end = GUARD_BYTES + self.begun, GUARD_BYTES + self.size
        around = self.memory[:start] + self.memory[end:]
        assert around == bytearray([GUARD]) * len(around)
        return bytes(self.memory[start:end])

    def listed(self) -> list[tuple[bytes, int]]:
        assert self.chunks.entries.startswith(b"listed before")
        return list(struct.iter_unpack("<16sI", self.chunks.entries[len(b"listed before") :]))

    def wrong(self) -> int | None:
        """The first of the listed chunks that is not as it was summed."""
        entries = self.chunks.entries.removeprefix(b"listed before")
        known = self.chunks.sums.removeprefix(b"summed before")
        return sums.wrong(self.plain(), entries, known)


@dataclass
class Trial:
    """What came of one buffer."""

    places: bytes = b""
    fresh: bytes = b""
    frames: list[Frame] = field(default_factory=list)
    steps: list[tuple[int, ...]] = field(default_factory=list)

    def seen(self) -> tuple[object, ...]:
        frames = [
            (f.number, f.size, f.memory, f.chunks.entries, f.chunks.sums) for f in self.frames
        ]
        return self.places, self.fresh, frames, self.steps


@dataclass(frozen=True)
class Case:
    """Chunks and the frames and groups that they meet."""

    chunks: list[Chunk]
    shapes: list[tuple[int, int]]  # target of each frame and how full it is, again and again
    groups: list[int]
    switches: bool  # whether each group has a frame of its own

    def run(self, module: ModuleType) -> Trial:
        """As a run's writer does it; what is true after every step is looked at."""
        trial = Trial()
        data, bounds, *rest = packed(self.chunks)
        ends = array("I", bounds)
        starts = [0, *ends]
        filling = module.Fill(memoryview(b"x" + data)[1:], ends, *rest)
        ends[:] = array("I", bytes(len(bounds)))  # whose changes mean nothing any more
        groups = iter(self.groups)
        group_end, frame = 0, Frame(0, 0, 0, 0)
        while True:
            before = filling.start()
            frame.into(filling, group_end)
            start, wanted = filling.start(), filling.wanted
            trial.steps.append((frame.size, wanted, start))
            assert before <= start
            assert start in starts
            valid = starts.index(start) * struct.calcsize(fill.PLACE_FORMAT)
            trial.places = filling.places[:valid]
            assert len(trial.fresh) <= len(filling.fresh())
            trial.fresh = filling.fresh()
            if wanted == fill.DONE:
                assert start == len(data)
                return trial
            if wanted == fill.GROUP:
                while group_end <= start:
                    group_end = next(groups, len(data) + 1)
            if wanted == fill.FRAME or self.switches or not trial.frames:
                frame = self.next_frame(trial)

    def next_frame(self, trial: Trial) -> Frame:
        number = len(trial.frames)
        target, begun = self.shapes[number % len(self.shapes)]
        begun = min(begun, target - 1)
        # A chunk that begins before the target fits exactly.
        trial.frames.append(Frame(number, target, begun, target - 1 + LONGEST))
        return trial.frames[-1]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    hashes = st.one_of(
        st.binary(min_size=16, max_size=16),
        st.integers(0, 3).map(lambda n: bytes([n]) * 16),
        st.integers(0, 3).map(lambda n: bytes(8) + bytes([n]) + bytes(7)),
    )
    contents = st.binary(min_size=1, max_size=LONGEST)
    pool = [new(1, b"a")]
    zeros = Chunk(ZEROS, bytes(LONGEST))
    for hash16, content in draw(st.dictionaries(hashes, contents, max_size=6)).items():
        chunk = Chunk(hash16, content)
        pool.append(draw(st.sampled_from([chunk, chunk, known(chunk, len(content))])))
        pool.append(known(new(2, b"bb"), draw(st.integers(0, 3))))
    pool.append(draw(st.sampled_from([zeros, zeros, known(zeros, LONGEST), known(zeros, 1)])))
    by_hash = {chunk.hash16: chunk for chunk in pool}  # one hash, one content and one place
    chunks = draw(st.lists(st.sampled_from(list(by_hash.values())), max_size=25))
    shape = st.tuples(st.integers(1, 40), st.integers(0, 39))
    shapes = draw(st.lists(shape, min_size=1, max_size=3))
    size = sum(len(chunk.content) for chunk in chunks)
    groups = draw(st.lists(st.integers(1, size + 1), max_size=4))
    return Case(chunks, shapes, sorted(groups), draw(st.booleans()))


@given(cases())
def test_any_buffer_is_filled_in_as_by_the_twin(case: Case) -> None:
    assert case.run(fill).seen() == case.run(twin).seen()


@both
@given(cases())
def test_what_is_new_lies_once_where_its_place_says(module: ModuleType, case: Case) -> None:
    trial = case.run(module)
    plain = {frame.number[1]: frame.plain() for frame in trial.frames}
    begun = {frame.number[1]: frame.begun for frame in trial.frames}
    places = list(struct.iter_unpack(fill.PLACE_FORMAT, trial.places))
    expected_fresh: dict[bytes, tuple[int, bytes]] = {}
    for chunk, (hash16, run, n, offset, length) in zip(case.chunks, places, strict=True):
        packed_place = struct.pack("<IIII", run, n, offset, length)
        assert (hash16, length) == (chunk.hash16, len(chunk.content))
        if chunk.is_known:
            assert packed_place == chunk.found
        elif hash16 == ZEROS:
            assert packed_place == struct.pack("<IIII", fill.HOLE, 0, 0, length)
        else:
            at = offset - begun[n]
            assert run == OUR_RUN
            assert plain[n][at : at + length] == chunk.content
            first = expected_fresh.setdefault(hash16, (n, packed_place))
            assert first == (n, packed_place)
    assert trial.fresh == b"".join(h + place for h, (_, place) in expected_fresh.items())
    for frame in trial.frames:
        n = frame.number[1]
        mine = [h for h, (number, _) in expected_fresh.items() if number == n]
        assert [h for h, _ in frame.listed()] == mine
        assert frame.wrong() is None
        assert sum(length for _, length in frame.listed()) == len(plain[n])
        assert sum(length for _, length in frame.listed()[:-1]) < frame.target - frame.begun


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_as_many_new_chunks_as_there_are_come_out_in_order(count: int) -> None:
    chunks = [new(i % 700, struct.pack("<I", i % 700)) for i in range(count)]
    frame = Frame(1, NO_LIMIT, 0, 4 * count)
    filling = fill.Fill(*packed(chunks))
    assert frame.into(filling) == 4 * min(count, 700)
    assert filling.wanted == fill.DONE
    assert frame.plain() == b"".join(chunk.content for chunk in chunks[:700])
    assert filling.fresh() == filling.places[: 32 * 700]
    assert filling.places[32 * 700 :] == filling.places[: 32 * max(count - 700, 0)]


@both
def test_what_is_known_needs_no_frame_and_no_group(module: ModuleType) -> None:
    chunk = new(1, b"abc")
    filling = module.Fill(*packed([known(chunk, 3), Chunk(ZEROS, b"0" * 9), known(chunk, 3)]))
    frame = Frame(0, 0, 0, 0)
    assert frame.into(filling, 0) == 0
    assert (filling.wanted, filling.fresh(), frame.listed()) == (fill.DONE, b"", [])


@both
def test_a_chunk_that_is_new_waits_for_its_group_first_and_then_for_a_frame(
    module: ModuleType,
) -> None:
    filling = module.Fill(*packed([new(1, b"abc"), new(2, b"de")]))
    full, frame = Frame(0, 5, 5, 20), Frame(1, 5, 2, 6)
    assert (full.into(filling, 0), filling.wanted, filling.start()) == (5, fill.GROUP, 0)
    assert (full.into(filling, 1), filling.wanted, filling.start()) == (5, fill.FRAME, 0)
    assert (frame.into(filling, 3), filling.wanted, filling.start()) == (5, fill.GROUP, 3)
    assert (frame.into(filling, 4), filling.wanted, filling.start()) == (5, fill.FRAME, 3)
    assert frame.plain() == b"abc"
    assert full.plain() == b""


@both
@pytest.mark.parametrize("ends", [(0,), (3, 3), (3, 2), (2, 11), (11,), (4, 0xFFFFFFFF)])
def test_ends_that_do_not_ascend_or_leave_the_data_are_refused(
    module: ModuleType, ends: tuple[int, ...]
) -> None:
    count = len(ends)
    known = UNKNOWN * count, bytes(8 * count)
    with pytest.raises(ValueError, match="do not ascend, or leave the data"):
        module.Fill(bytes(10), array("I", ends), bytes(16 * count), known, ZEROS)


@both
@pytest.mark.parametrize(
    ("ends_bytes", "hashes_bytes", "known_bytes", "zeros_bytes"),
    [
        (8, 16, (32, 16), 16),
        (8, 32, (16, 16), 16),
        (8, 31, (32, 16), 16),
        (8, 32, (32, 8), 16),
        (8, 32, (32, 24), 16),
        (8, 32, (32, 0), 16),
        (4, 32, (32, 16), 16),
        (7, 16, (16, 8), 16),
        (9, 32, (32, 16), 16),
        (0, 16, (16, 8), 16),
        (8, 32, (32, 16), 15),
        (8, 32, (32, 16), 17),
        (8, 32, (32, 16), 0),
    ],
)
def test_parts_of_different_numbers_of_chunks_are_refused(
    module: ModuleType,
    ends_bytes: int,
    hashes_bytes: int,
    known_bytes: tuple[int, int],
    zeros_bytes: int,
) -> None:
    ends = array("I", [1, 2, 3]).tobytes()[:ends_bytes]
    known = (UNKNOWN * 2)[: known_bytes[0]], bytes(known_bytes[1])
    with pytest.raises(ValueError, match=r"chunks|zeros"):
        module.Fill(bytes(10), ends, bytes(hashes_bytes), known, bytes(zeros_bytes))


@both
@pytest.mark.parametrize("room", range(8))
def test_a_chunk_that_does_not_fit_is_refused_and_nothing_is_written_behind_the_buffer(
    module: ModuleType, room: int
) -> None:
    chunks = [new(1, b"ab"), new(2, b"cd"), new(3, b"efgh")]
    frame = Frame(0, NO_LIMIT, 1, 1 + room)
    filling = module.Fill(*packed(chunks))
    with pytest.raises(ValueError, match="does not fit into the buffer"):
        frame.into(filling)
    fits = min(room // 2, 2)
    frame.size = 1 + 2 * fits
    assert frame.plain() == b"abcd"[: 2 * fits]
    assert frame.listed() == [(chunk.hash16, 2) for chunk in chunks[:fits]]
    assert filling.start() == 2 * fits


@both
def test_a_frame_larger_than_its_buffer_is_refused(module: ModuleType) -> None:
    frame = Frame(0, NO_LIMIT, 11, 10)
    with pytest.raises(ValueError, match="larger than its buffer"):
        frame.into(module.Fill(*packed([new(1, b"ab")])))
    assert frame.memory == bytearray([GUARD]) * len(frame.memory)
    assert frame.listed() == []


@both
def test_memory_that_cannot_be_written_or_has_gaps_is_refused(module: ModuleType) -> None:
    filling = module.Fill(*packed([new(1, b"ab")]))
    for buffer in (bytes(10), memoryview(bytearray(20))[::2]):
        with pytest.raises(BufferError):
            filling.into(buffer, 0, NO_LIMIT, (0, 0), module.Chunks(), NO_LIMIT)
    assert filling.start() == 0


@both
def test_a_list_of_chunks_that_cannot_grow_is_refused(module: ModuleType) -> None:
    filling = module.Fill(*packed([new(1, b"ab")]))
    for held in ("entries", "sums"):
        chunks = module.Chunks()
        getattr(chunks, held).extend(b"held")
        with memoryview(getattr(chunks, held)), pytest.raises(BufferError):
            filling.into(bytearray(10), 0, NO_LIMIT, (0, 0), chunks, NO_LIMIT)
        assert getattr(chunks, held) == b"held"


@pytest.mark.parametrize(("first", "end"), [(0, 10), (2, 4), (9, 12), (0, 1)])
def test_a_buffer_that_lies_in_the_data_is_refused(first: int, end: int) -> None:
    memory = bytearray(12)
    data = memoryview(memory)[:10]
    filling = fill.Fill(data, array("I", [1]), bytes(16), (UNKNOWN, bytes(8)), ZEROS)
    with pytest.raises(ValueError, match="lies in the data"):
        filling.into(memoryview(memory)[first:end], 0, 1, (0, 0), fill.Chunks(), 1)
    assert filling.into(memoryview(memory)[10:], 0, 1, (0, 0), fill.Chunks(), 1) == 1


@both
def test_no_chunk_ends_where_a_place_cannot_say(module: ModuleType, tmp_path: Path) -> None:
    limit = 0xFFFFFFFF
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", limit + 100)
    with open(tmp_path / "sparse", "r+b") as file, mmap.mmap(file.fileno(), 0) as buffer:
        filling = module.Fill(*packed([new(1, b"ab"), new(2, b"cd")]))
        with pytest.raises(ValueError, match="does not fit"):
            filling.into(buffer, limit - 3, NO_LIMIT, (1, 2), module.Chunks(), NO_LIMIT)
        assert filling.start() == 2
        assert filling.places[16:32] == struct.pack("<IIII", 1, 2, limit - 3, 2)
        assert buffer[limit - 3 : limit + 1] == b"ab\0\0"


def test_numbers_that_no_field_holds_are_refused() -> None:
    filling = fill.Fill(*packed([new(1, b"ab")]))
    for size, number in ((-1, (0, 0)), (0, (-1, 0)), (0, (0, 1 << 32))):
        with pytest.raises(OverflowError):
            filling.into(bytearray(4), size, 4, number, fill.Chunks(), 4)
    assert filling.start() == 0
