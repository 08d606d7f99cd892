"""Trees: what no kluis writes is refused, and a directory of any size is read in windows."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given

from kluis.errors import FormatError, NewerFormatError
from kluis.format import tree
from kluis.format.tree import Entry, Extent, Tree
from tests.unit.format import contents, samples
from tests.unit.format.kinds import replace

FILE = Entry(
    b"file",
    tree.FILE,
    0o644,
    0,
    0,
    100,
    0,
    0,
    digest=samples.pattern("file", 32),
    extents=(Extent(samples.RUN, 1, 0, 60), Extent(samples.RUN, 1, 70, 40)),
)
EMPTY = Entry(b"empty", tree.FILE, 0o644, 0, 0, 0, 0, 0)
LINK = replace(EMPTY, kind=tree.SYMLINK, link=b"there")
HOLE = bytes(16)


def entry(sample: Entry, **changes: Any) -> Entry:
    return replace(sample, **changes)


def extents(*fields: tuple[bytes, int, int, int]) -> dict[str, Any]:
    found = tuple(Extent(*each) for each in fields)
    return {"extents": found, "size": sum(map(tree.extent_length, found))}


@pytest.mark.parametrize(
    "wrong",
    [
        entry(FILE, kind=0),
        entry(FILE, kind=8),
        entry(FILE, flags=8),
        entry(FILE, mode=0o10000),
        entry(FILE, mtime_ns=1_000_000_000),
        entry(FILE, birth_ns=1_000_000_000),
        entry(FILE, birth_s=1),
        entry(FILE, size=101),
        entry(FILE, size=101, kind=tree.DIRECTORY),
        entry(FILE, size=101, kind=tree.DIRECTORY, flags=tree.INCOMPLETE),
        entry(FILE, kind=tree.FIFO),
        entry(FILE, link=b"there"),
        entry(FILE, inode=1),
        entry(FILE, device=1),
        entry(FILE, **extents((samples.RUN, 1, 0, 0))),
        entry(FILE, **extents((HOLE, 1, 0, 1))),
        entry(FILE, **extents((HOLE, 0, 0, 0))),
        entry(FILE, **extents((samples.RUN, 1, 1 << 24, 1))),
        entry(FILE, **extents((samples.RUN, 0xFFFFFFFF, 0, 1))),
        entry(FILE, **extents(*[(samples.RUN, 1, 0, 1)] * 1025)),
        entry(EMPTY, digest=samples.pattern("digest", 32)),
        entry(EMPTY, flags=tree.LISTED),
        entry(EMPTY, kind=tree.DIRECTORY, flags=tree.LINKED),
        entry(EMPTY, kind=tree.BLOCK_DEVICE, flags=tree.LINKED, inode=1, device=1),
        entry(EMPTY, kind=tree.SOCKET, size=1),
        entry(LINK, link=b""),
        entry(LINK, link=b"the\0re"),
        entry(EMPTY, xattrs=((b"", b""),)),
        entry(EMPTY, xattrs=((b"a\0", b""),)),
        entry(EMPTY, name=b""),
        entry(EMPTY, name=b"."),
        entry(EMPTY, name=b".."),
        entry(EMPTY, name=b"a/b"),
        entry(EMPTY, name=b"a\0b"),
        entry(EMPTY, name=b"a" * 256),
    ],
)
def test_an_entry_that_no_kluis_writes_is_refused(wrong: Entry) -> None:
    for right in (FILE, EMPTY, LINK):
        assert tree.decode(tree.encode(Tree((right,)))).entries == (right,)
    with pytest.raises(FormatError):
        tree.decode(tree.encode(Tree((wrong,))))


@pytest.mark.parametrize("names", [(b"b", b"a"), (b"a", b"a")])
def test_names_ascend(names: tuple[bytes, ...]) -> None:
    listed = tuple(replace(EMPTY, name=name) for name in names)
    with pytest.raises(FormatError, match="ascend"):
        tree.decode(tree.encode(Tree(listed)))


def test_extended_attributes_are_written_in_order_whatever_the_order_given() -> None:
    shuffled = replace(EMPTY, xattrs=((b"b", b"2"), (b"a", b"1")))
    assert tree.decode(tree.encode(Tree((shuffled,)))).entries[0].xattrs == (
        (b"a", b"1"),
        (b"b", b"2"),
    )


@pytest.mark.parametrize("place", range(8, 32))
def test_a_header_that_miscounts_is_refused(place: int) -> None:
    data = bytearray(tree.encode(samples.TREE))
    for change in (1, 0x80):
        data[place] ^= change
        with pytest.raises(FormatError):
            tree.decode(bytes(data))
        data[place] ^= change


def test_a_tree_of_a_later_version_is_newer() -> None:
    data = bytearray(tree.encode(samples.TREE))
    data[4] = 2
    with pytest.raises(NewerFormatError):
        tree.decode(bytes(data))


@given(contents.trees)
def test_a_tree_is_split_into_parts_that_make_the_same_tree(found: Tree) -> None:
    data = tree.encode(found)
    parts = tree.split(data)
    assert [part.name for part in parts] == [each.name for each in found.entries]
    assert [tree.is_listed(part) for part in parts] == [
        bool(each.flags & tree.LISTED) for each in found.entries
    ]
    joined = tree.encode_parts(
        [part.record for part in parts],
        [part.extents for part in parts],
        [part.name for part in parts],
        [part.extras for part in parts],
    )
    assert joined + tree.encode_owners(found.users, found.groups) == data
    frames = {(e.run, e.n) for each in found.entries for e in each.extents if e.run != HOLE}
    assert set().union(*(tree.frames_of(part.extents) for part in parts)) == frames


def test_a_directory_of_any_size_is_read_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each read is a window; the whole is never asked for, nor kept."""
    monkeypatch.setattr(tree, "WINDOW_BYTES", 1 << 16)
    count = 15_000
    listed = tuple(replace(FILE, name=b"%08d" % i) for i in range(count))
    data = tree.encode(Tree(listed, {0: "root"}))
    assert len(data) > 2 << 20
    largest = 0

    def read(offset: int, size: int) -> bytes:
        nonlocal largest
        largest = max(largest, size)
        return data[offset : offset + size]

    tracemalloc.start()
    found = sum(1 for _ in tree.entries(read, len(data)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == count
    assert tree.owners(read, len(data)) == ({0: "root"}, {})
    assert largest <= 1 << 16
    assert peak < 1 << 20


def test_a_source_that_gives_less_than_asked_is_noticed() -> None:
    data = tree.encode(samples.TREE)
    with pytest.raises(FormatError):
        list(tree.entries(lambda offset, size: data[offset : offset + size - 1], len(data)))


@pytest.mark.parametrize("piece_bytes", [1, 39, 40, 41, 1000])
def test_an_extent_list_is_read_from_pieces_of_any_size(piece_bytes: int) -> None:
    blocks = [*samples.EXTENT_LIST, (samples.pattern("full", 32), (tree.hole(1),) * 1024)]
    data = tree.encode_list(blocks)
    pieces = [data[i : i + piece_bytes] for i in range(0, len(data), piece_bytes)]
    assert list(tree.read_list_pieces(pieces)) == blocks
    with pytest.raises(FormatError):
        list(tree.read_list_pieces([*pieces, b"\0"]))
    with pytest.raises(FormatError):
        list(tree.decode_list(data[:-1]))


@pytest.mark.parametrize("count", [0, 1025])
def test_a_block_of_no_or_too_many_extents_is_refused(count: int) -> None:
    with pytest.raises(FormatError):
        list(tree.decode_list(tree.encode_list([(bytes(32), (tree.hole(1),) * count)])))


def test_a_hole_may_be_longer_than_four_gib() -> None:
    for length in (1, 0xFFFFFFFF, 1 << 32, (1 << 63) + 5):
        assert tree.extent_length(tree.hole(length)) == length
