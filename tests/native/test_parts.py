"""What trees hold of files is what the format packs, whether the kernel or the twin makes it."""

from __future__ import annotations

import stat
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis._native import fill, parts, read, scan
from kluis._native.twins import parts as twin
from kluis._native.twins import scan as scan_twin
from kluis.format import tree_entry
from kluis.format.extent import Extent, pack_extent

U32_MAX = 0xFFFFFFFF
KEPT = 0x30  # inode flags
RUNS = [bytes([n]) * 16 for n in (1, 2, 3)]
both = pytest.mark.parametrize("module", [parts, twin], ids=["native", "twin"])

Place = tuple[bytes, int, int, int, int]  # hash16, run, frame, offset, length
HASH = bytes(range(16))


def packed(places: Sequence[Place]) -> bytes:
    return b"".join(struct.pack(fill.PLACE_FORMAT, *place) for place in places)


# ---- merging ----


@st.composite
def neighbours(draw: st.DrawFn) -> list[Place]:
    """Places of which many go on from the one before, some beyond what u32 can say."""
    places: list[Place] = []
    runs = st.sampled_from([0, 1, fill.HOLE])
    small, any_u32 = st.integers(0, 5), st.integers(0, U32_MAX)
    near = st.integers(U32_MAX - 3, U32_MAX) | st.integers(2**31 - 1, 2**31 + 1)
    lengths = st.one_of(small, small, small, near)
    for _ in range(draw(st.integers(0, 12))):
        hash16 = draw(st.sampled_from([HASH, bytes(16)]))
        length = draw(lengths)
        run, n, offset = draw(runs), draw(st.integers(0, 1)), draw(st.one_of(small, any_u32))
        goes_on = draw(st.booleans())
        if places and goes_on:
            _, run, n, begin, size = places[-1]
            offset = (begin + size) & U32_MAX
        places.append((hash16, run, n, offset, length))
    return places


@given(neighbours())
def test_any_places_are_merged_as_by_the_twin(places: list[Place]) -> None:
    assert parts.merge(packed(places)) == twin.merge(packed(places))


@both
@given(neighbours())
def test_merged_places_cover_the_same_in_order_and_no_two_could_be_one(
    module: ModuleType, places: list[Place]
) -> None:
    packed_merged, chunks = module.merge(packed(places))
    merged = list(struct.iter_unpack(parts.MERGED_FORMAT, packed_merged))
    assert chunks == b"".join(struct.pack("<16sQ", place[0], place[4]) for place in places)
    assert parts.CHUNK_BYTES == 24
    rest = list(places)
    for run, n, offset, length, count in merged:
        mine, rest = rest[:count], rest[count:]
        assert len(mine) == count > 0
        assert count == 1 or run != fill.HOLE
        at = offset
        for _, place_run, place_n, place_offset, place_length in mine:
            assert (place_run, place_n, place_offset) == (run, n, at)
            at += place_length
        assert at == offset + length
    assert not rest
    for first, second in pairwise(merged):
        goes_on = (*first[:2], first[2] + first[3]) == second[:3] and first[0] != fill.HOLE
        assert not goes_on or first[3] + second[3] > U32_MAX


@both
def test_a_length_that_u32_cannot_say_is_not_merged(module: ModuleType) -> None:
    half = 1 << 31
    for last, made in ((half - 1, [(0, 0, 0, U32_MAX, 2)]), (half, None)):
        places = [(HASH, 0, 0, 0, half), (HASH, 0, 0, half, last)]
        merged, _ = module.merge(packed(places))
        expected = made or [(0, 0, 0, half, 1), (0, 0, half, half, 1)]
        assert list(struct.iter_unpack(parts.MERGED_FORMAT, merged)) == expected


@both
def test_an_end_at_the_last_offset_does_not_go_on_at_the_first(module: ModuleType) -> None:
    places = [(HASH, 0, 0, U32_MAX, 1), (HASH, 0, 0, 0, 1)]
    merged, _ = module.merge(packed(places))
    assert len(merged) == 2 * struct.calcsize(parts.MERGED_FORMAT)


@both
@pytest.mark.parametrize("size", [1, 31, 33, 63])
def test_a_part_of_a_place_is_refused(module: ModuleType, size: int) -> None:
    with pytest.raises(ValueError, match="no whole items"):
        module.merge(bytes(size))


# ---- small files ----

u32 = st.integers(0, U32_MAX)
times = st.integers(-(2**63), 2**63 - 1)


@st.composite
def scanned(draw: st.DrawFn) -> scan_twin.Entry:
    fields = {name: draw(times) for name in ("mtime_s", "ctime_s", "btime_s")}
    fields |= {n: draw(u32) for n in ("mtime_ns", "ctime_ns", "btime_ns", "uid", "gid")}
    fields |= {n: draw(st.integers(0, 2**64 - 1)) for n in ("ino", "dev", "size", "blocks")}
    return scan_twin.Entry(
        **fields,
        rdev=0,
        mode=stat.S_IFREG | draw(st.integers(0, 0o7777)),
        nlink=draw(st.sampled_from([0, 1, 1, 1, 2])),
        attributes=draw(u32),
        name_length=draw(st.integers(1, 255)),
    )


@dataclass(frozen=True)
class File:
    """A small file: as it was scanned, what reading told, where its chunks lie."""

    entry: scan_twin.Entry
    result: tuple[int, int, int]
    places: tuple[Place, ...]

    def state(self) -> int:
        length, flags, inode_flags = self.result
        if length < 0 or flags & read.CHANGED or flags & read.GREW:
            return parts.AGAIN
        if flags & read.XATTRS or inode_flags & KEPT:
            return parts.EXTRAS
        if self.entry.nlink > 1 or len(self.places) > 1:
            return parts.MORE
        if not self.places:
            return parts.NONE
        return parts.MORE if self.places[0][1] == fill.HOLE else parts.ONE

    def made(self) -> tuple[bytes, bytes]:
        """The record and the extent, as the format packs them."""
        size, digest, extents = 0, tree_entry.NO_DIGEST, b""
        if self.places:
            ((hash16, run, n, offset, size),) = self.places
            digest = hash16.ljust(len(digest), b"\0")
            extents = pack_extent(Extent(RUNS[run], n, offset, size))
        entry = tree_entry.Entry(
            name=b"n" * self.entry.name_length,
            kind=tree_entry.FILE,
            mode=stat.S_IMODE(self.entry.mode),
            uid=self.entry.uid,
            gid=self.entry.gid,
            size=size,
            mtime_s=self.entry.mtime_s,
            mtime_ns=self.entry.mtime_ns,
            birth_s=self.entry.btime_s,
            birth_ns=self.entry.btime_ns,
            digest=digest,
        )
        return tree_entry.pack_record(entry, len(self.places), 0), extents


@st.composite
def files(draw: st.DrawFn) -> File:
    flags = st.sampled_from([0, 0, 0, read.CHANGED, read.GREW, read.XATTRS, 7, 8])
    inode_flags = st.sampled_from([0, 0, ~KEPT & U32_MAX, 0x10, 0x20, U32_MAX])
    lengths = st.sampled_from([0, 5, 5, 5, 2**31 - 1, -1, -(2**31)])
    run = st.sampled_from([0, 1, 2, 2, fill.HOLE])
    place = st.tuples(st.binary(min_size=16, max_size=16), run, u32, u32, u32)
    places = draw(st.lists(place, max_size=2))
    result = draw(lengths), draw(flags), draw(inode_flags)
    return File(draw(scanned()), result, tuple(places))


Batch = tuple[bytes, tuple[bytes, bytes], tuple[bytes, bytes, bytes]]


def batch_of(found: Sequence[File], order: Sequence[int]) -> Batch:
    """The batch of these files, whose stat records lie in another order among others."""
    slots = {number: slot for slot, number in enumerate(order)}
    listing = [scan_twin.Entry(*range(17))] * len(order)
    for number, file in enumerate(found):
        listing[slots[number]] = file.entry
    bounds = array("I")
    places: list[Place] = []
    for file in found:
        places += file.places
        bounds.append(len(places))
    return (
        b"".join(struct.pack(scan.RECORD_FORMAT, *entry) for entry in listing),
        (
            array("I", [slots[number] for number in range(len(found))]).tobytes(),
            b"".join(struct.pack(read.RESULT_FORMAT, *file.result) for file in found),
        ),
        (bounds.tobytes(), packed(places), b"".join(RUNS)),
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[File], Batch]:
    found = draw(st.lists(files(), max_size=6))
    order = draw(st.permutations(range(len(found) + draw(st.integers(0, 2)))))
    return found, batch_of(found, order)


@both
@given(batches())
def test_any_small_files_are_made_as_the_format_packs_them(
    module: ModuleType, case: tuple[list[File], Batch]
) -> None:
    found, batch = case
    states, records, extents = module.small(*batch, KEPT)
    assert list(states) == [file.state() for file in found]
    made = [file.made() for file in found if file.state() in (parts.ONE, parts.NONE)]
    assert records == b"".join(record for record, _ in made)
    assert extents == b"".join(extent for _, extent in made)


PLAIN = scan_twin.Entry(1, 2, 5, 8, 0, -1, 7, 8, 9, 10, 11, 0o104755, 12, 13, 1, 0, 3)
AT = (HASH, 2, 40, 50, 60)
ODD_HOLE = (HASH, fill.HOLE, 0, 0, 60)


@both
@pytest.mark.parametrize(
    ("state", "file"),
    [
        (parts.ONE, File(PLAIN, (60, 0, 0), (AT,))),
        (parts.ONE, File(PLAIN, (60, 0, ~KEPT & U32_MAX), (AT,))),
        (parts.NONE, File(PLAIN, (0, 0, 0), ())),
        (parts.MORE, File(PLAIN, (120, 0, 0), (AT, AT))),
        (parts.MORE, File(PLAIN, (60, 0, 0), (ODD_HOLE,))),
        (parts.MORE, File(PLAIN._replace(nlink=2), (60, 0, 0), (AT,))),
        (parts.MORE, File(PLAIN._replace(nlink=2), (0, 0, 0), ())),
        (parts.EXTRAS, File(PLAIN, (60, read.XATTRS, 0), (AT,))),
        (parts.EXTRAS, File(PLAIN, (60, 0, 0x20), (AT,))),
        (parts.EXTRAS, File(PLAIN._replace(nlink=2), (60, 0, 0x20), (AT, AT))),
        (parts.AGAIN, File(PLAIN, (-13, 0, 0), ())),
        (parts.AGAIN, File(PLAIN, (60, read.CHANGED, 0), (AT,))),
        (parts.AGAIN, File(PLAIN, (0, read.GREW | read.XATTRS, 0x20), ())),
    ],
)
def test_what_is_no_plain_file_of_one_chunk_is_told_apart(
    module: ModuleType, state: int, file: File
) -> None:
    before, after = File(PLAIN, (0, 0, 0), ()), File(PLAIN, (60, 0, 0), (AT,))
    states, records, extents = module.small(*batch_of([before, file, after], [0, 1, 2]), KEPT)
    assert list(states) == [parts.NONE, state, parts.ONE]
    made = [before, file, after] if state in (parts.ONE, parts.NONE) else [before, after]
    assert records == b"".join(one.made()[0] for one in made)
    assert extents == b"".join(one.made()[1] for one in made)


def test_a_record_that_was_made_is_one_that_the_format_reads() -> None:
    file = File(PLAIN, (60, 0, 0), (AT,))
    _, record, _ = parts.small(*batch_of([file], [0]), KEPT)
    (fields,) = tree_entry.unpack_records(record)
    assert (fields.kind, fields.mode, fields.name_bytes) == (tree_entry.FILE, 0o4755, 3)
    assert (fields.size, fields.digest) == (60, HASH + bytes(16))


RECORD = struct.pack(scan.RECORD_FORMAT, *PLAIN)
READ = struct.pack(read.RESULT_FORMAT, 60, 0, 0)
STORED = packed([AT])


def u32s(*values: int) -> bytes:
    return array("I", values).tobytes()


@both
@pytest.mark.parametrize(
    ("wanted", "bounds", "places"),
    [
        ((1,), (1,), STORED),
        ((U32_MAX,), (1,), STORED),
        ((0,), (2,), STORED),
        ((0,), (1,), b""),
        ((0,), (U32_MAX,), STORED),
        ((0, 0), (1, 0), STORED),
        ((0, 0), (2, 1), STORED * 2),
        ((0,), (1,), packed([(HASH, 3, 0, 0, 1)])),
        ((0,), (1,), packed([(HASH, fill.UNKNOWN, 0, 0, 1)])),
    ],
)
def test_numbers_bounds_and_runs_that_do_not_fit_are_refused(
    module: ModuleType, wanted: tuple[int, ...], bounds: tuple[int, ...], places: bytes
) -> None:
    results = READ * len(wanted)
    with pytest.raises(ValueError, match="do not fit together"):
        module.small(RECORD, (u32s(*wanted), results), (u32s(*bounds), places, b"".join(RUNS)), 0)


@both
@pytest.mark.parametrize("part", range(6))
@pytest.mark.parametrize("cut", [-1, 1])
def test_parts_that_are_no_whole_items_or_of_another_number_are_refused(
    module: ModuleType, part: int, cut: int
) -> None:
    given_parts = [RECORD, u32s(0), READ, u32s(1), STORED, RUNS[0] * 3]
    records, wanted, results, bounds, places, runs = given_parts
    assert module.small(records, (wanted, results), (bounds, places, runs), 0)[0] == b"\0"
    for wrong in (given_parts[part][:cut], given_parts[part] + b"\0"):
        changed = [*given_parts[:part], wrong, *given_parts[part + 1 :]]
        records, wanted, results, bounds, places, runs = changed
        with pytest.raises(ValueError, match="whole items"):
            module.small(records, (wanted, results), (bounds, places, runs), 0)


@both
@pytest.mark.parametrize("part", range(3))
def test_another_number_of_files_in_one_part_is_refused(module: ModuleType, part: int) -> None:
    lists = [u32s(0), READ, u32s(1)]
    for times_given in (0, 2):
        changed = [*lists[:part], lists[part] * times_given, *lists[part + 1 :]]
        stored = changed[2], STORED, b"".join(RUNS)
        with pytest.raises(ValueError, match="of as many files"):
            module.small(RECORD, (changed[0], changed[1]), stored, 0)


def test_no_files_make_nothing() -> None:
    assert parts.small(b"", (b"", b""), (b"", b"", b""), U32_MAX) == (b"", b"", b"")
    assert parts.merge(b"") == (b"", b"")
