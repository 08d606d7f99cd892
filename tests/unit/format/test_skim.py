"""What is skimmed of a tree is what decoding it gives."""

from __future__ import annotations

import pytest
from hypothesis import given

from kluis.errors import FormatError
from kluis.format import tree
from kluis.format.skim import Skimmed
from kluis.format.tree import Entry, Tree
from tests.unit.format.contents import trees


@given(trees)
def test_names_folders_and_contents_are_those_of_the_tree(value: Tree) -> None:
    skimmed = Skimmed(tree.encode(value))
    assert skimmed.names == [entry.name for entry in value.entries]
    folders = [n for n, entry in enumerate(value.entries) if entry.kind == tree.DIRECTORY]
    assert skimmed.folders == folders
    for number, entry in enumerate(value.entries):
        listed = bool(entry.flags & tree.LISTED)
        assert skimmed.content(number) == (entry.size, entry.digest, entry.extents, listed)


def test_an_empty_tree_has_no_names() -> None:
    assert (Skimmed().names, Skimmed().folders) == ([], [])


def _named(*names: bytes) -> bytes:
    entries = tuple(Entry(name, tree.FIFO, 0o644, 0, 0, 0, 0, 0) for name in names)
    return tree.encode(Tree(entries))


@pytest.mark.parametrize(
    "wrong",
    [
        _named(b"a", b"b/c"),
        _named(b"a\0"),
        _named(b""),
        _named(b"."),
        _named(b"..", b"a"),
        _named(b"b", b"a"),
        _named(b"a", b"a"),
        _named(b"n" * 256),
        _named(b"a")[:-20],
    ],
)
def test_names_that_no_folder_has_are_refused_as_by_decoding(wrong: bytes) -> None:
    for read in (tree.decode, Skimmed):
        with pytest.raises(FormatError):
            read(wrong)


def test_parts_that_are_longer_than_their_records_say_are_refused() -> None:
    whole = _named(b"a", b"b")
    longer = tree.encode_parts([whole[32:136]], [], [b"ab"], []) + tree.encode_owners({}, {})
    with pytest.raises(FormatError, match="account"):
        Skimmed(longer)
