"""Digests of what trees name are computed as the decoder and the twin do, whatever the bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kluis._native import digests
from kluis._native.twins import digests as twin
from kluis.format import tree
from kluis.format.extent import Extent, extent_length, hole
from kluis.format.frame import DATA, TREE, encode_chunks
from kluis.format.tree import DIRECTORY, FILE, HOLE_RUN, Entry
from kluis.repository.content import record
from tests.native.digested import LARGEST, PLENTY, RUNS, both, entry_of

ITEM = struct.Struct(digests.ITEM_FORMAT)
FRAME = struct.Struct("<16sI")
Number = tuple[bytes, int]
Chunks = list[tuple[bytes, int]]
Frames = dict[Number, tuple[int, Chunks]]


@dataclass
class Told:
    """What was told of a tree: of each entry that there is something to say of, by its name."""

    outcomes: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    files: int = 0
    asked: int = 0


def look(module: Any, data: bytes, frames: Frames, room: int, limit: int = PLENTY) -> Told:
    """Everything that is told, parts joined; frames that are not there are skipped."""
    checker, told, part, done = module.Digests(limit, room), Told(), b"", False
    checker.open(data)
    while not done:
        items, gathered, done = checker.run()
        assert len(items) <= room * ITEM.size or module is twin
        for what, record_at, name, name_end, first, last, begin, end in ITEM.iter_unpack(items):
            assert data[record_at + 2] == name_end - name
            assert last - first == 28 * struct.unpack_from("<I", data, record_at + 16)[0]
            if what == module.PART:
                part += gathered[begin:end]
                continue
            if what == module.NEEDED:
                told.asked += 1
                number = FRAME.unpack_from(data, begin)
                if number in frames:
                    kind, chunks = frames[number]
                    checker.add(FRAME.pack(*number), kind, encode_chunks(chunks))
                    continue
                checker.skip()
            if what == module.LAST:
                part += gathered[begin:end]
            told.outcomes.append((data[name:name_end], what, part if what == module.LAST else b""))
            part = b""
    told.files = checker.files
    assert not part
    return told


@dataclass(frozen=True)
class Scene:
    """Entries whose extents lie in frames: mostly as they should."""

    frames: Frames
    entries: tuple[Entry, ...]

    def encoded(self) -> bytes:
        return tree.encode(tree.Tree(self.entries))

    def expected(self) -> list[tuple[bytes, int, bytes]]:
        found = [(entry.name, *self._expect(entry)) for entry in self.entries]
        return [item for item in found if item[1]]

    def _expect(self, entry: Entry) -> tuple[int, bytes]:
        if entry.flags & tree.LISTED:
            return digests.LISTED, b""
        if entry.kind not in (FILE, DIRECTORY):
            return 0, b""
        records: list[bytes] = []
        for extent in entry.extents:
            if extent.run == HOLE_RUN:
                records.append(record(bytes(16), extent_length(extent)))
                continue
            if (extent.run, extent.n) not in self.frames:
                return digests.NEEDED, b""
            kind, chunks = self.frames[extent.run, extent.n]
            if kind != (DATA if entry.kind == FILE else TREE):
                return digests.KIND, b""
            starts = list(accumulate((length for _, length in chunks), initial=0))
            if not {extent.offset, extent.offset + extent.length} <= set(starts):
                return digests.SPLIT, b""
            first, last = map(starts.index, (extent.offset, extent.offset + extent.length))
            records += [record(*chunk) for chunk in chunks[first:last]]
        if len(records) > 1 or (records and not any(records[0][:16])):
            return digests.LAST, b"".join(records)
        if entry.digest != b"".join(records)[:16].ljust(32, b"\0"):
            return digests.WRONG, b""
        return (digests.FOLDER if entry.kind == DIRECTORY else 0), b""


hashes = st.sampled_from([bytes(16), b"a" * 16, bytes(15) + b"b", b"c" * 16])
lengths = st.integers(1, 4)
frame_numbers = st.tuples(st.sampled_from(RUNS), st.sampled_from([0, 1, LARGEST - 1]))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    chunk_lists = st.lists(st.tuples(hashes, lengths), min_size=1, max_size=6)
    frames = draw(
        st.dictionaries(frame_numbers, st.tuples(st.sampled_from([DATA, DATA, TREE]), chunk_lists))
    )
    entries = []
    for name in sorted(draw(st.sets(st.binary(min_size=1, max_size=2), max_size=12))):
        if not name.strip(b".") or b"/" in name or b"\0" in name:
            continue
        kind = draw(st.sampled_from([FILE, FILE, DIRECTORY, tree.FIFO]))
        if kind == tree.FIFO:
            entries.append(entry_of(name=name, kind=kind))
            continue
        own = tuple(draw(st.lists(extents_in(frames), max_size=3)))
        flags = draw(st.sampled_from([0, 0, 0, tree.LISTED])) if own else 0
        entries.append(
            entry_of(
                name=name,
                kind=kind,
                flags=flags,
                size=sum(map(extent_length, own)),
                extents=own,
                digest=draw(digests_near(own, frames)) if own else tree.NO_DIGEST,
            )
        )
    return Scene(frames, tuple(entries))


def extents_in(frames: Frames) -> st.SearchStrategy[Extent]:
    """Extents of frames that are there, most of them cut at chunks; others; holes."""
    odd = st.builds(Extent, st.sampled_from(RUNS), st.just(7), st.integers(0, 3), lengths)
    whole = [
        Extent(*number, starts[first], starts[last] - starts[first])
        for number, (_, chunks) in frames.items()
        for starts in [list(accumulate((length for _, length in chunks), initial=0))]
        for first in range(len(starts) - 1)
        for last in range(first + 1, len(starts))
    ]
    if not whole:
        return st.one_of(odd, st.just(hole(1 << 33)))
    there = st.sampled_from(whole)
    shifted = there.map(lambda extent: extent._replace(offset=extent.offset + 1))
    longer = there.map(lambda extent: extent._replace(length=extent.length + 1))
    return st.one_of(there, there, there, there, shifted, longer, odd, st.just(hole(3)))


def digests_near(own: tuple[Extent, ...], frames: Frames) -> st.SearchStrategy[bytes]:
    """The digest of one chunk at the first extent, or one that differs in a byte."""
    _, chunks = frames.get((own[0].run, own[0].n), (0, [(b"e" * 16, 1)]))
    starts = dict(zip(accumulate((c[1] for c in chunks), initial=0), chunks, strict=False))
    right = starts.get(own[0].offset, chunks[0])[0].ljust(32, b"\0")
    wrong = st.integers(0, 31).map(lambda i: right[:i] + b"x" + right[i + 1 :])
    return st.one_of(st.just(right), st.just(right), st.just(right), wrong)


@settings(max_examples=150)
@given(scenes(), st.sampled_from([2, 3, 5, 1024]))
def test_every_entry_is_told_of_as_its_chunks_are(scene: Scene, room: int) -> None:
    files = sum(entry.kind == FILE for entry in scene.entries)
    for module in (digests, twin):
        told = look(module, scene.encoded(), scene.frames, room)
        assert told.outcomes == scene.expected()
        assert told.files == files


@settings(max_examples=100)
@given(scenes(), st.integers(1, 8))
def test_lists_that_were_let_go_are_asked_for_again(scene: Scene, limit: int) -> None:
    for module in (digests, twin):
        assert look(module, scene.encoded(), scene.frames, 4, limit).outcomes == scene.expected()


@both
def test_a_list_is_asked_for_once_while_there_is_room(module: ModuleType) -> None:
    chunks = [(b"a" * 16, 5)] * 3
    frames: Frames = {(RUNS[0], n): (DATA, chunks) for n in (0, 1)}
    own = [Extent(RUNS[0], n, at, 5) for n in (0, 1) for at in (0, 5, 10)]
    digest = (b"a" * 16).ljust(32, b"\0")
    entries = tuple(
        entry_of(name=b"%d" % i, size=5, digest=digest, extents=(extent,))
        for i, extent in enumerate(own)
    )
    told = look(module, tree.encode(tree.Tree(entries)), frames, 8)
    assert (told.outcomes, told.files, told.asked) == ([], 6, 2)
    assert look(module, tree.encode(tree.Tree(entries)), frames, 8, limit=3).asked == 2


@both
def test_kept_chunks_are_counted_and_bounded(module: Any) -> None:
    checker = module.Digests(10)
    for n, count, kept in ((0, 4, 4), (1, 5, 9), (1, 6, 10), (2, 1, 1), (3, 20, 20), (4, 1, 1)):
        checker.add(FRAME.pack(RUNS[0], n), DATA, encode_chunks([(b"a" * 16, 1)] * count))
        assert checker.chunks == kept


@both
@pytest.mark.parametrize(
    "bad",
    [
        lambda c: c.add(bytes(19), DATA, encode_chunks([(b"a" * 16, 1)])),
        lambda c: c.add(bytes(20), DATA, b""),
        lambda c: c.add(bytes(20), DATA, bytes(19)),
        lambda c: c.add(bytes(20), DATA, encode_chunks([(b"a" * 16, 0)])),
        lambda c: c.add(bytes(20), DATA, encode_chunks([(b"a" * 16, 1 << 31)] * 2)),
        lambda c: c.run(),
        lambda c: c.skip(),
    ],
)
def test_what_makes_no_sense_is_refused(module: Any, bad: Callable[[Any], None]) -> None:
    with pytest.raises(ValueError, match=r"no frame, or|no chunk list|no tree is open"):
        bad(module.Digests(PLENTY))
    with pytest.raises(ValueError, match="room"):
        module.Digests(PLENTY, 1)


@both
def test_after_a_refused_tree_there_is_none(module: Any) -> None:
    checker = module.Digests(PLENTY)
    checker.open(tree.encode(tree.Tree((entry_of(),))))
    with pytest.raises(ValueError, match="not a tree"):
        checker.open(b"tree")
    with pytest.raises(ValueError, match="no tree is open"):
        checker.run()
