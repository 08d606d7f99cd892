"""A stream's extents, digest and frames follow from its chunks alone, however they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kluis._native.fill import HOLE
from kluis.format.tree import (
    HOLE_RUN,
    LIST_BLOCK_EXTENTS,
    Extent,
    decode_list,
    extent_length,
    hole,
)
from kluis.repository.content import (
    Content,
    ContentBuilder,
    chunk_keys,
    list_digest,
    record,
    stream_digest,
)
from kluis.repository.writer import PLACE

KEYS = chunk_keys(bytes(32))
RUNS = (b"a" * 16, b"b" * 16)

places = st.builds(
    Extent,
    st.sampled_from(RUNS),
    st.integers(0, 2),
    st.integers(0, 4).map(lambda n: n * 10),
    st.just(10),
)
chunks = st.lists(
    st.one_of(
        st.tuples(st.binary(min_size=16, max_size=16), places),
        st.tuples(st.just(b"zero" * 4), st.integers(1, 3).map(hole)),
    ),
    max_size=30,
)
Chunk = tuple[bytes, Extent]


class Lists:
    """Keeps the extent lists that a builder stores."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def __call__(self, data: bytes) -> tuple[Extent, ...]:
        self.kept.append(data)
        return (Extent(RUNS[1], 99, 0, len(data)),)


def placed(found: list[Chunk]) -> bytes:
    """The chunks as a run's writer tells their places."""
    places = b""
    for hash16, extent in found:
        run = HOLE if extent.run == HOLE_RUN else RUNS.index(extent.run)
        places += PLACE.pack(hash16, run, *extent[1:])
    return places


def built(found: list[Chunk], step: int) -> tuple[Content, set[tuple[bytes, int]], Lists]:
    lists = Lists()
    builder = ContentBuilder(KEYS, RUNS, lists)
    for at in range(0, len(found), step):
        builder.add(placed(found[at : at + step]))
    return builder.finish(), builder.frames, lists


def expected(found: list[Chunk]) -> tuple[list[Extent], bytearray]:
    """The definition: neighbours merged, holes merged and hashed as zeros."""
    extents: list[Extent] = []
    lengths: list[tuple[bytes, int]] = []
    for hash16, extent in found:
        last = extents[-1] if extents else None
        if extent.run == HOLE_RUN:
            if last is not None and last.run == HOLE_RUN:
                extents[-1] = hole(extent_length(last) + extent_length(extent))
                lengths[-1] = bytes(16), extent_length(extents[-1])
            else:
                extents.append(extent)
                lengths.append((bytes(16), extent_length(extent)))
            continue
        lengths.append((hash16, extent.length))
        if last is not None and last[:2] == extent[:2] and last[2] + last[3] == extent.offset:
            extents[-1] = last._replace(length=last.length + extent.length)
        else:
            extents.append(extent)
    return extents, bytearray(b"".join(record(*item) for item in lengths))


@given(chunks, st.integers(1, 7))
def test_extents_and_digest_are_those_of_the_definition(found: list[Chunk], step: int) -> None:
    content, frames, lists = built(found, step)
    extents, records = expected(found)
    assert content.extents == tuple(extents)
    assert content.digest == stream_digest(KEYS, records)
    assert content.size == sum(map(extent_length, extents))
    assert frames == {extent[:2] for extent in extents if extent.run != HOLE_RUN}
    assert not lists.kept
    assert not content.listed


def test_many_extents_become_a_list_of_blocks() -> None:
    count = 2 * LIST_BLOCK_EXTENTS + 5
    found = [(b"%016d" % n, Extent(RUNS[0], n, 7, 10)) for n in range(count)]
    content, frames, lists = built(found, 13)
    assert content.listed
    [data] = lists.kept
    blocks = list(decode_list(data))
    assert [extent for _, extents in blocks for extent in extents] == [e for _, e in found]
    assert [len(extents) for _, extents in blocks] == [1024, 1024, 5]
    assert content.digest == list_digest(KEYS, [digest for digest, _ in blocks])
    assert content.size == 10 * count
    assert frames == {(RUNS[0], n) for n in range(count)} | {(RUNS[1], 99)}


def test_neighbours_merge_across_calls_and_not_across_blocks() -> None:
    apart = [(b"%016d" % n, Extent(RUNS[0], n, 0, 10)) for n in range(LIST_BLOCK_EXTENTS)]
    after = [(b"x" * 16, Extent(RUNS[0], LIST_BLOCK_EXTENTS - 1, 10, 10))]
    content, _, lists = built(apart + after, 1)
    assert (len(content.extents), lists.kept) == (LIST_BLOCK_EXTENTS, [])
    later = [(b"y" * 16, Extent(RUNS[1], 0, 0, 10)), (b"z" * 16, Extent(RUNS[1], 0, 10, 10))]
    _, _, lists = built(apart + after + later, 2)
    blocks = list(decode_list(lists.kept[0]))
    assert [len(extents) for _, extents in blocks] == [LIST_BLOCK_EXTENTS, 1]
    assert blocks[1][1] == (Extent(RUNS[1], 0, 0, 20),)
