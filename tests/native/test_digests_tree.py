"""The kernel for digests takes just those trees that the decoder takes."""

from __future__ import annotations

import random
import struct
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kluis._native import digests
from kluis._native.twins import digests as twin
from kluis.errors import FormatError, NewerFormatError
from kluis.format import tree
from kluis.format.extent import Extent, hole
from kluis.format.tree import DIRECTORY, HOLE_RUN, Entry
from kluis.format.tree_pieces import pieces
from tests.native.digested import LARGEST, PLENTY, RUNS, both, entry_of
from tests.unit.format.contents import trees

# What limits are made of, and their neighbours.
EDGES = sorted(
    {
        (base + step) & LARGEST
        for base in (0, 1, 2, 3, 8, 255, 1024, 0xFFFF, 0o7777, 1 << 20, 1 << 24, 1 << 31, 10**9)
        for step in (-1, 0, 1)
    }
    | {LARGEST, LARGEST - 1}
)


def decoder_takes(data: bytes) -> bool:
    try:
        tree.decode(data)
    except (FormatError, NewerFormatError):
        return False
    return True


def module_takes(module: Any, data: bytes, before: bytes = b"") -> bool:
    try:
        owners_at = module.Digests(PLENTY).open(data, before)
        tree.decode_owners(data[owners_at:])
    except (ValueError, FormatError):
        return False
    return True


@both
@given(trees)
def test_every_tree_is_taken(module: ModuleType, given_tree: tree.Tree) -> None:
    data = tree.encode(given_tree)
    assert module_takes(module, data)
    assert module.Digests(PLENTY).open(data) == tree.layout(data, len(data)).owners_at()


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_as_by_the_decoder(data: bytes) -> None:
    assert module_takes(digests, data) == module_takes(twin, data) == decoder_takes(data)


def changed(dice: random.Random, data: bytes) -> bytes:
    """A few fields at likely limits, or bytes anywhere, so that many trees are still ones."""
    result = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        place = dice.randrange(len(result))
        match dice.randrange(7):
            case 0:
                result[place] ^= 1 << dice.randrange(8)
            case 1:
                result[place] = dice.choice(b"\0\1\2\3\4\5\6\7\x08/.\xff")
            case 2:
                place = place // 4 * 4
                result[place : place + 4] = struct.pack("<I", dice.choice(EDGES))
            case 3:
                del result[place : place + dice.choice((1, 28, 104, len(result)))]
            case 4:
                result[place:place] = dice.randbytes(dice.choice((1, 28, 104)))
            case 5:
                other = dice.randrange(len(result))
                size = dice.choice((1, 4, 8, 28, 104))
                result[place : place + size] = result[other : other + size]
            case 6:
                result[place : place + 16] = bytes(16)
        if not result:
            break
    return bytes(result)


@settings(max_examples=100)
@given(trees, st.integers(0, 1 << 32))
def test_any_changed_tree_is_taken_as_by_the_decoder(given_tree: tree.Tree, seed: int) -> None:
    dice = random.Random(seed)
    whole = tree.encode(given_tree)
    for _ in range(8):
        data = changed(dice, whole)
        taken = decoder_takes(data)
        assert module_takes(digests, data) == taken, data.hex()
        assert module_takes(twin, data) == taken, data.hex()


STORED = Extent(RUNS[0], 0, 0, 5)
FULL: dict[str, Any] = {"size": 5, "digest": b"d" * 32, "extents": (STORED,)}
ODD: dict[str, Entry] = {
    "no name": entry_of(name=b""),
    "a dot": entry_of(name=b"."),
    "two dots": entry_of(name=b".."),
    "a slash": entry_of(name=b"a/b"),
    "a zero byte": entry_of(name=b"a\0"),
    "a long name": entry_of(name=b"n" * 256),
    "no kind": entry_of(kind=0),
    "an unknown kind": entry_of(kind=8),
    "an unknown flag": entry_of(flags=8),
    "mode bits": entry_of(mode=0o10000),
    "a second of nanoseconds": entry_of(mtime_ns=10**9),
    "a birth of a second": entry_of(birth_ns=10**9),
    "no birth at some time": entry_of(birth_s=1, birth_ns=tree.NO_BIRTH),
    "a link of a file": entry_of(link=b"x"),
    "a symlink without one": entry_of(kind=tree.SYMLINK),
    "a link with a zero byte": entry_of(kind=tree.SYMLINK, link=b"a\0"),
    "a link too long": entry_of(kind=tree.SYMLINK, link=b"x" * 0x10000),
    "a linked folder": entry_of(kind=DIRECTORY, flags=tree.LINKED),
    "a linked device": entry_of(kind=tree.BLOCK_DEVICE, flags=tree.LINKED),
    "an inode": entry_of(inode=1),
    "a device": entry_of(device=1),
    "a digest of nothing": entry_of(digest=b"d" * 32),
    "a list of nothing": entry_of(flags=tree.LISTED),
    "a fifo with a size": entry_of(kind=tree.FIFO, size=1),
    "a fifo with content": entry_of(kind=tree.FIFO, **FULL),
    "too short": entry_of(**(FULL | {"size": 6})),
    "a folder that is incomplete": entry_of(kind=DIRECTORY, flags=tree.INCOMPLETE, size=1),
    "an attribute without a name": entry_of(xattrs=((b"", b"v"),)),
    "an attribute with a zero byte": entry_of(xattrs=((b"a\0", b"v"),)),
    "an empty hole": entry_of(digest=b"d" * 32, extents=(Extent(HOLE_RUN, 0, 0, 0),)),
    "a numbered hole": entry_of(**(FULL | {"extents": (Extent(HOLE_RUN, 1, 0, 5),)})),
    "an empty extent": entry_of(digest=b"d" * 32, extents=(Extent(RUNS[0], 0, 0, 0),)),
    "beyond a frame": entry_of(**(FULL | {"extents": (STORED._replace(offset=(1 << 24) - 4),)})),
    "beyond all frames": entry_of(**(FULL | {"extents": (STORED._replace(n=LARGEST),)})),
    "holes that come round": entry_of(
        digest=b"d" * 32, extents=(hole((1 << 64) - 1), hole(1)), size=0
    ),
    "too many extents": entry_of(digest=b"d" * 32, size=1025 * 5, extents=(STORED,) * 1025),
}
FINE: dict[str, Entry] = {
    "three dots": entry_of(name=b"..."),
    "a longest name": entry_of(name=b"n" * 255),
    "all mode bits": entry_of(mode=0o7777),
    "no birth": entry_of(birth_ns=tree.NO_BIRTH),
    "a longest link": entry_of(kind=tree.SYMLINK, link=b"x" * 0xFFFF),
    "a device's number": entry_of(kind=tree.CHARACTER_DEVICE, device=1),
    "a linked file": entry_of(flags=tree.LINKED, inode=1, device=1),
    "an incomplete file": entry_of(flags=tree.INCOMPLETE, size=1),
    "an incomplete file of fewer bytes": entry_of(**(FULL | {"size": 6, "flags": 4})),
    "an attribute": entry_of(xattrs=((b"a", b""), (b"b", b"\0"))),
    "flags": entry_of(attributes=1),
    "to the end of a frame": entry_of(**(FULL | {"extents": (STORED._replace(offset=0xFFFFFB),)})),
    "the last frame": entry_of(**(FULL | {"extents": (STORED._replace(n=LARGEST - 1),)})),
    "all extents": entry_of(digest=b"d" * 32, size=1024 * 5, extents=(STORED,) * 1024),
    "a list of any size": entry_of(**(FULL | {"flags": tree.LISTED, "size": 1 << 63})),
    "a list of holes": entry_of(
        digest=b"d" * 32, flags=tree.LISTED, extents=(hole((1 << 64) - 1), hole(1))
    ),
}


@both
@pytest.mark.parametrize("name", [*ODD, *FINE])
def test_each_limit_is_the_decoders(module: ModuleType, name: str) -> None:
    data = tree.encode(tree.Tree(((ODD | FINE)[name],)))
    assert decoder_takes(data) == module_takes(module, data) == (name in FINE)


@both
def test_names_ascend_from_the_one_before(module: ModuleType) -> None:
    data = tree.encode(tree.Tree((entry_of(name=b"b"), entry_of(name=b"ba"))))
    for before, taken in ((b"", True), (b"a\xff", True), (b"b", False), (b"c", False)):
        assert module_takes(module, data, before) == taken
    for names in ((b"b", b"b"), (b"ba", b"b"), (b"c", b"b")):
        entries = tuple(entry_of(name=name) for name in names)
        assert not module_takes(module, tree.encode(tree.Tree(entries)))


# ---- pieces ----


@given(trees, st.integers(1, 400))
def test_pieces_hold_all_entries_and_are_taken_one_by_one(
    given_tree: tree.Tree, window_bytes: int
) -> None:
    data = tree.encode(given_tree)

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kluis.format.tree_pieces.WINDOW_BYTES", max(window_bytes, 104))
        found = list(pieces(read, len(data)))
    entries: list[Entry] = []
    last = b""
    for piece, before in found:
        assert before == last
        assert module_takes(digests, piece, before)
        assert module_takes(twin, piece, before)
        entries += tree.decode(piece).entries
        last = entries[-1].name if entries else b""
    assert tuple(entries) == given_tree.entries
    if len(data) <= window_bytes:
        assert found == [(data, b"")]


def test_pieces_that_do_not_account_for_all_are_refused() -> None:
    data = bytearray(tree.encode(tree.Tree((entry_of(name=b"a"), entry_of(name=b"b")))))
    data[8:12] = struct.pack("<I", 1)  # a record less, so that its bytes lie among the extents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kluis.format.tree_pieces.WINDOW_BYTES", 104)
        with pytest.raises(FormatError):
            list(pieces(lambda offset, size: bytes(data[offset : offset + size]), len(data)))
