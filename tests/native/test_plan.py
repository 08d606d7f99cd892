"""What is planned of a tree is what its records say, whatever they say, and what the twin plans."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kluis._native import plan, scatter
from kluis._native.twins import plan as twin
from kluis.errors import FormatError
from kluis.format import tree
from kluis.format.tree_entry import checked_entry, extras_of, pack_record, unpack_records

RUNS = [bytes([n]) * 16 for n in (1, 2, 3)]
ANY = 2**64 - 1
RULES = (ANY, 0o7777, scatter.SMALL_CHOWN)
NOBODY_MOVED = (b"", b"")
BOTH = (plan, twin)


def file(name: bytes, *extents: tree.Extent, **more: int) -> tree.Entry:
    size = sum(map(tree.extent_length, extents))
    fields: dict[str, Any] = {
        "mode": 0o644,
        "uid": 1,
        "gid": 2,
        "size": size,
        "mtime_s": 3,
        "mtime_ns": 4,
    } | more
    digest = b"d" * 32 if extents else tree.NO_DIGEST
    return tree.Entry(name=name, kind=tree.FILE, digest=digest, extents=extents, **fields)


def extent(n: int, start: int, length: int, run: int = 0) -> tree.Extent:
    return tree.Extent(RUNS[run], n, start, length)


def parts_of(entries: list[tree.Entry]) -> tuple[bytes, bytes, bytes]:
    """Records, extents and names of a tree that is written as it is, right or wrong."""
    return (
        b"".join(pack_record(e, len(e.extents), len(extras_of(e))) for e in entries),
        b"".join(tree.pack_extent(item) for e in entries for item in e.extents),
        b"".join(e.name for e in entries),
    )


def files_in(found: tuple[bytes, bytes, bytes, bytes, bytes]) -> dict[bytes, tuple[object, ...]]:
    """Of each planned file its frame and fields, read as a restore reads them."""
    fields, digests, names, spans, _ = found
    files: dict[bytes, tuple[object, ...]] = {}
    unpacked = list(struct.iter_unpack(scatter.SMALL_FORMAT, fields))
    for run, n, first, count, start, size, total in struct.iter_unpack(plan.SPAN_FORMAT, spans):
        at = start
        for number in range(first, first + count):
            name = names[at : at + unpacked[number][0]]
            at += len(name)
            files[name] = (run, n, *unpacked[number][2:], digests[32 * number : 32 * number + 32])
        assert at == start + size
        assert total == sum(item[4] for item in unpacked[first : first + count])
    assert len(files) == len(unpacked)
    return files


def others_in(found: tuple[bytes, bytes, bytes, bytes, bytes]) -> list[int]:
    return [number for number, *_ in struct.iter_unpack(plan.OTHER_FORMAT, found[4])]


def planned(
    entries: list[tree.Entry], rules: tuple[int, int, int] = RULES
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    found = plan.window(parts_of(entries), NOBODY_MOVED, rules)
    assert found is not None
    assert found == twin.window(parts_of(entries), NOBODY_MOVED, rules)
    return found


def test_the_twin_has_the_same_formats_and_numbers() -> None:
    for name in ("RECORD_BYTES", "EXTENT_BYTES", "DIGEST_BYTES", "CHUNK_BYTES"):
        assert getattr(plan, name) == getattr(twin, name)
    for name in ("SPAN_FORMAT", "OTHER_FORMAT", "BOUND_FORMAT"):
        assert getattr(plan, name) == getattr(twin, name)
    for name in ("RIGHT", "UNALIGNED", "WRONG", "DIFFERENT", "SEVERAL"):
        assert getattr(plan, name) == getattr(twin, name)
    assert (plan.RECORD_BYTES, plan.EXTENT_BYTES) == (tree.RECORD_BYTES, tree.EXTENT_BYTES)


def test_files_of_a_frame_lie_side_by_side_in_their_order() -> None:
    found = planned([
        file(b"a", extent(7, 0, 5)),
        file(b"b", extent(7, 5, 6, run=1)),
        file(b"c"),
        file(b"d", extent(7, 90, 1)),
        file(b"e", extent(6, 0, 1)),
        file(b"f", extent(7, 2, 3)),
    ])  # fmt: skip
    spans = list(struct.iter_unpack(plan.SPAN_FORMAT, found[3]))
    assert found[2] == b"ceadfb"
    assert [(run, n, count) for run, n, _, count, *_ in spans] == [
        (bytes(16), 0, 1), (RUNS[0], 6, 1), (RUNS[0], 7, 3), (RUNS[1], 7, 1),
    ]  # fmt: skip
    assert [span[-1] for span in spans] == [0, 1, 9, 6]
    assert found[4] == b""
    a = (RUNS[0], 7, 0o644, 0, 5, 3, 4, 1, 2, scatter.SMALL_CHOWN, b"d" * 32)
    assert files_in(found)[b"a"] == a


EVERYTHING_ELSE = [
    tree.Entry(b"n", tree.DIRECTORY, 0o755, 0, 0, 0, 0, 0),
    tree.Entry(b"n", tree.SYMLINK, 0o777, 0, 0, 0, 0, 0, link=b"x"),
    file(b"n", extent(1, 0, 1), extent(2, 0, 1)),
    file(b"n", tree.hole(5)),
    file(b"n", extent(1, 0, 5), size=4),
    file(b"n", size=4),
    file(b"n", extent(1, (1 << 24) - 1, 2)),
    file(b"n", extent(2**32 - 1, 0, 2)),
    file(b"n", tree.Extent(RUNS[0], 1, 5, 0)),
    file(b"n", extent(1, 0, 5), mode=0o10644),
    file(b"n", extent(1, 0, 5), mtime_ns=10**9),
    file(b"n", extent(1, 0, 5), birth_s=1, birth_ns=2**32 - 1),
    file(b"n", extent(1, 0, 5), birth_ns=10**9),
    file(b"n", extent(1, 0, 5), inode=5),
    file(b"n", extent(1, 0, 5), device=5),
    file(b"n", extent(1, 0, 5), flags=tree.LINKED, inode=5),
    file(b"n", extent(1, 0, 5), flags=tree.INCOMPLETE),
    file(b"n", extent(1, 0, 5), attributes=0x40),
    file("ä".encode(), extent(1, 0, 5)),
    file(b"", extent(1, 0, 5)),
    file(b".", extent(1, 0, 5)),
    file(b"..", extent(1, 0, 5)),
    file(b"a/b", extent(1, 0, 5)),
    file(b"a\0", extent(1, 0, 5)),
    file(b"n" * 256, extent(1, 0, 5)),
]


@pytest.mark.parametrize("entry", EVERYTHING_ELSE)
def test_whatever_is_more_or_wrong_is_left_to_who_looks_closer(entry: tree.Entry) -> None:
    found = planned([entry])
    assert (others_in(found), found[0]) == ([0], b"")
    small = file(b"s" * 255, extent(1, 0, 9))
    both = sorted([entry, small], key=lambda one: one.name)
    found = planned(both)
    assert others_in(found) == [both.index(entry)]
    assert list(files_in(found)) == [small.name]


def test_rules_decide_what_is_small() -> None:
    setuid, large = file(b"a", extent(1, 0, 5), mode=0o4755), file(b"b", extent(1, 0, 65))
    assert others_in(planned([setuid, large], (64, 0o1777, 0))) == [0, 1]
    assert others_in(planned([setuid, large], (65, 0o7777, 0))) == []


def test_owners_are_those_of_this_machine() -> None:
    users = struct.pack("=6I", 0, 9, 5, 2**32 - 1, 1000, 0)
    groups = struct.pack("=2I", 7, 70)
    entries = [
        file(b"a", uid=5, gid=7),
        file(b"b", uid=6, gid=5),
        file(b"c", uid=0, gid=0),
        file(b"d", uid=1000, gid=2**32 - 1),
    ]
    for module in BOTH:
        found = module.window(parts_of(entries), (users, groups), RULES)
        assert found is not None
        owners = [fields[7:9] for fields in struct.iter_unpack(scatter.SMALL_FORMAT, found[0])]
        assert owners == [(2**32 - 1, 70), (6, 5), (9, 0), (0, 2**32 - 1)]


small_extents = st.builds(
    extent, st.integers(0, 3), st.integers(0, 9), st.integers(1, 9), st.integers(0, 2)
)
plain_names = st.binary(min_size=1, max_size=4).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)
ordinary = st.builds(
    lambda name, extents, mode: file(name, *extents, mode=mode),
    plain_names,
    st.lists(small_extents, max_size=2),
    st.sampled_from([0o644, 0o4755, 0o600]),
)  # fmt: skip
strange = st.sampled_from(EVERYTHING_ELSE)


@given(st.lists(st.one_of(ordinary, strange), max_size=12, unique_by=lambda entry: entry.name))
def test_each_entry_is_a_small_file_or_another_and_none_is_lost(entries: list[tree.Entry]) -> None:
    entries.sort(key=lambda entry: entry.name)
    parts, found = parts_of(entries), planned(entries)
    files = files_in(found)
    others = []
    for number, first, name_at, _ in struct.iter_unpack(plan.OTHER_FORMAT, found[4]):
        entry = entries[number]
        others.append(entry.name)
        (record,) = unpack_records(parts[0][tree.RECORD_BYTES * number :][: tree.RECORD_BYTES])
        assert record.mtime_ns == entry.mtime_ns
        assert parts[2][name_at:].startswith(entry.name)
        own = parts[1][tree.EXTENT_BYTES * first :][: tree.EXTENT_BYTES * len(entry.extents)]
        assert own == b"".join(map(tree.pack_extent, entry.extents))
    assert sorted([*files, *others]) == [entry.name for entry in entries]
    for entry in entries:
        if entry.name in files:
            right = checked_entry(next(unpack_records(pack_record(entry, len(entry.extents), 0))),
                                  entry.name, entry.extents, b"")  # fmt: skip
            run, n, start, length = (entry.extents or (tree.Extent(bytes(16), 0, 0, 0),))[0]
            assert files[entry.name][:2] == (run, n)
            assert files[entry.name][3:5] == (start, length)
            assert right == entry


def test_names_that_do_not_ascend_are_refused() -> None:
    for names in ([b"b", b"a"], [b"a", b"a"], [b"ab", b"a"], [b"a", b"\xff", b"b"]):
        for module in BOTH:
            assert module.window(parts_of([file(n) for n in names]), NOBODY_MOVED, RULES) is None
    assert planned([file(n) for n in (b"A", b"a", b"aa", b"b")])


def test_parts_that_do_not_account_for_each_other_are_refused() -> None:
    records, extents, names = parts_of([file(b"a", extent(1, 0, 1)), file(b"b")])
    wrong = [
        (records, extents, names + b"c"),
        (records, extents, names[:-1]),
        (records, extents + extents, names),
        (records, extents[:-1], names),
        (records, b"", names),
        (records[: tree.RECORD_BYTES], extents, names),
        (b"", b"", b"a"),
    ]
    for parts in wrong:
        for module in BOTH:
            assert module.window(parts, NOBODY_MOVED, RULES) is None
    for module in BOTH:
        assert module.window((b"", b"", b""), NOBODY_MOVED, RULES) == (b"",) * 5
        for call in (
            partial(module.window, (records[:-1], extents, names), NOBODY_MOVED, RULES),
            partial(module.fitting, records[:-1], 0),
        ):
            with pytest.raises(ValueError):
                call()


@given(st.binary(max_size=600), st.binary(max_size=100), st.binary(max_size=60))
def test_any_bytes_are_planned_as_the_twin_plans_them_or_refused(
    records: bytes, extents: bytes, names: bytes
) -> None:
    records = records[: len(records) // tree.RECORD_BYTES * tree.RECORD_BYTES]
    arguments = (records, extents, names), NOBODY_MOVED, RULES
    assert plan.window(*arguments) == twin.window(*arguments)
    assert plan.fitting(records, len(names)) == twin.fitting(records, len(names))


@given(st.data())
def test_a_changed_byte_makes_no_file_that_its_checks_would_refuse(data: st.DataObject) -> None:
    entries = [file(b"a", extent(1, 0, 5)), file(b"b", extent(1, 5, 5)), file(b"c")]
    records, extents, names = parts_of(entries)
    whole = bytearray(records + extents + names)
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    cuts = len(records), len(records) + len(extents)
    parts = bytes(whole[: cuts[0]]), bytes(whole[cuts[0] : cuts[1]]), bytes(whole[cuts[1] :])
    found = plan.window(parts, NOBODY_MOVED, RULES)
    assert found == twin.window(parts, NOBODY_MOVED, RULES)
    if found is None:
        return
    others, extent_at, name_at = others_in(found), 0, 0
    all_extents = [tree.Extent(*f) for f in struct.iter_unpack("<16sIII", parts[1])]
    for number, record in enumerate(unpack_records(parts[0])):
        own = tuple(all_extents[extent_at : extent_at + record.extent_count])
        name = parts[2][name_at : name_at + record.name_bytes]
        extent_at += record.extent_count
        name_at += record.name_bytes
        if number not in others:
            checked_entry(record, name, own, b"")  # raises FormatError if it is not right
            for item in own:
                tree.checked_extent(*item)


def test_what_fits_is_counted_with_all_that_belongs_to_it() -> None:
    entries = [file(b"a" * 10, extent(1, 0, 1), extent(2, 0, 1)), file(b"bb"), file(b"ccc")]
    records = parts_of(entries)[0]
    first, second = 104 + 10 + 56, 104 + 2
    for module in BOTH:
        assert module.fitting(records, 0) == (1, 56, 10, 0)
        assert module.fitting(records, first + second - 1) == (1, 56, 10, 0)
        assert module.fitting(records, first + second) == (2, 56, 12, 0)
        assert module.fitting(records, ANY) == (3, 56, 15, 0)
        assert module.fitting(b"", ANY) == (0, 0, 0, 0)


@pytest.mark.parametrize("at", [16, 20])
def test_a_record_that_claims_more_than_any_has_does_not_fit(at: int) -> None:
    records = bytearray(parts_of([file(b"a"), file(b"b")])[0])
    records[tree.RECORD_BYTES + at + 3] = 0x7F
    for module in BOTH:
        assert module.fitting(bytes(records), ANY) == (1, 0, 1, 0)
        assert module.fitting(bytes(records[tree.RECORD_BYTES :]), ANY)[0] == 0
        assert module.window((bytes(records), b"", b"ab"), NOBODY_MOVED, RULES) is None


lengths = st.lists(st.integers(1, 5), max_size=8)


@given(lengths, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8), st.data())
@example([3, 2], [(2**32 - 1, 2**32 - 1)], None)
def test_stretches_are_the_chunks_that_begin_and_end_with_them(
    sizes: list[int], stretches: list[tuple[int, int]], data: st.DataObject | None
) -> None:
    starts = list(accumulate(sizes, initial=0))
    packed_starts = struct.pack(f"={len(starts)}I", *starts)
    packed = b"".join(struct.pack("=4xII", *stretch) for stretch in stretches)
    bounds, marks = plan.locate(packed_starts, packed, 12, 4)
    assert (bounds, marks) == twin.locate(packed_starts, packed, 12, 4)
    marked = set()
    for (start, length), (first, end) in zip(
        stretches, struct.iter_unpack(plan.BOUND_FORMAT, bounds), strict=True
    ):
        if length and start in starts and start + length in starts:
            assert (starts[first], starts[end]) == (start, start + length)
            marked |= set(range(first, end))
        else:
            assert (first, end) == (0, 0)
    assert [place for place, mark in enumerate(marks) if mark] == sorted(marked)


def test_a_file_is_right_only_with_its_own_chunks_all_of_them_right() -> None:
    hashes = [b"a" * 16, b"b" * 16, bytes(16)]
    chunks = b"".join(struct.pack("<16sQ", h, 5) for h in hashes)
    one, none = b"a" * 16 + bytes(16), bytes(32)
    cases: list[tuple[tuple[int, int], bytes, bytes, int]] = [
        ((0, 1), one, b"\1\1\1", plan.RIGHT),
        ((0, 1), one, b"\0\1\1", plan.WRONG),
        ((0, 1), one[:31] + b"x", b"\1\1\1", plan.DIFFERENT),
        ((1, 2), one, b"\1\1\1", plan.DIFFERENT),
        ((0, 2), one, b"\1\1\1", plan.SEVERAL),
        ((0, 2), one, b"\1\0\1", plan.WRONG),
        ((2, 3), none, b"\1\1\1", plan.SEVERAL),
        ((0, 0), none, b"\1\1\1", plan.UNALIGNED),
    ]
    for bound, digest, right, state in cases:
        for module in BOTH:
            packed = struct.pack(plan.BOUND_FORMAT, *bound)
            assert module.check(packed, digest, chunks, right) == bytes([state])


refused: list[Callable[[], object]] = [
    lambda: plan.check(struct.pack("=II", 0, 2), bytes(32), bytes(24), b"\1"),
    lambda: plan.check(struct.pack("=II", 1, 0), bytes(32), bytes(24), b"\1"),
    lambda: plan.check(struct.pack("=II", 0, 1), bytes(31), bytes(24), b"\1"),
    lambda: plan.check(struct.pack("=II", 0, 1), bytes(64), bytes(24), b"\1"),
    lambda: plan.check(struct.pack("=II", 0, 1), bytes(32), bytes(24), b""),
    lambda: plan.check(struct.pack("=II", 0, 1), bytes(32), bytes(23), b"\1"),
    lambda: plan.locate(b"", b"", 8, 0),
    lambda: plan.locate(bytes(3), b"", 8, 0),
    lambda: plan.locate(bytes(4), bytes(7), 8, 0),
    lambda: plan.locate(bytes(4), bytes(8), 8, 1),
    lambda: plan.locate(bytes(4), bytes(8), 4, 0),
    lambda: plan.locate(bytes(4), bytes(8), 8, 2**32 - 8),
    lambda: plan.locate(bytes(4), bytes(8), 0, 0),
    lambda: plan.window((b"", b"", b""), (b"1234", b""), RULES),
]


@pytest.mark.parametrize("call", refused)
def test_arguments_that_do_not_fit_together_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()


def test_the_checks_of_the_format_refuse_what_the_list_above_calls_wrong() -> None:
    """So that it lists what no kluis writes, besides what is only more than a small file."""
    refused_entries = 0
    for entry in EVERYTHING_ELSE:
        try:
            tree.decode(tree.encode(tree.Tree((entry,))))
        except FormatError:
            refused_entries += 1
    assert refused_entries >= 15
