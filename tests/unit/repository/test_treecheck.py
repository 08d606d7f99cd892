"""Looked through natively or in words, trees tell the same, whole or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kluis.errors import DamageError
from kluis.format.frame import DATA, TREE
from kluis.repository.content import Content
from kluis.repository.index import Location
from kluis.repository.listing import root_of
from kluis.repository.snapshots import resolve
from kluis.repository.streams import OTHER_KIND
from kluis.repository.treecheck import Seen, TreeChecker
from kluis.repository.trees import open_trees, root_content
from tests.repositories import Place, make_place

Look = Callable[[TreeChecker, Content], Seen]
Chunks = list[tuple[bytes, int]]
NATIVELY: Look = TreeChecker._look_natively
IN_WORDS: Look = TreeChecker._look_in_words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Folders in folders, one with many names; small, empty, large, sparse and linked files."""
    made = make_place(tmp_path_factory.mktemp("place"))
    for number in range(120):
        made.write(f"wide/{number:03}" + "n" * (number % 90), os.urandom(number * 40))
    for name in ("a/b/c/d", "a/b/e", "f"):
        made.write(name, os.urandom(300_000))
    made.write("empty")
    with made.write("sparse").open("r+b") as file:
        file.truncate(1 << 21)
        file.seek(1 << 20)
        file.write(b"x" * 5000)
    os.link(made.path("f"), made.path("g"))
    os.symlink("nowhere", made.path("link"))
    os.mkfifo(made.path("fifo"))
    made.backup()
    return made


@pytest.fixture
def checker(place: Place) -> Iterator[tuple[TreeChecker, Content]]:
    with place.open() as repository:
        snapshot = resolve(repository, "latest")
        trees = open_trees(repository, snapshot.certificate.domain)
        yield TreeChecker(trees), root_content(root_of(snapshot))


def everything(look: Look, checker: TreeChecker, root: Content) -> Seen:
    """What all trees name together, in one order."""
    total, pending = Seen(), [root]
    while pending:
        seen = look(checker, pending.pop())
        pending += [content for _, content in seen.folders if content.extents]
        total.files += seen.files
        total.folders += seen.folders
        total.damaged += seen.damaged
    return total


def test_whole_trees_have_no_damage_either_way(checker: tuple[TreeChecker, Content]) -> None:
    checker[0].check_root(checker[1])
    seen = everything(NATIVELY, *checker)
    assert seen == everything(IN_WORDS, *checker)
    assert seen.files == 120 + 3 + 3
    assert {name for name, _ in seen.folders} >= {b"wide", b"a", b"b", b"c"}
    assert not seen.damaged


@pytest.mark.parametrize("window_bytes", [104, 1000, 5000])
def test_large_trees_tell_the_same_in_pieces(
    checker: tuple[TreeChecker, Content], monkeypatch: pytest.MonkeyPatch, window_bytes: int
) -> None:
    whole = everything(NATIVELY, *checker)
    monkeypatch.setattr("kluis.format.tree.WINDOW_BYTES", window_bytes)
    monkeypatch.setattr("kluis.format.tree_pieces.WINDOW_BYTES", window_bytes)
    assert everything(NATIVELY, *checker) == whole


def other_hash(chunks: Chunks) -> Chunks:
    return [(bytes(16), chunks[0][1]), *chunks[1:]]


def other_length(chunks: Chunks) -> Chunks:
    (first, length), *rest = chunks
    return [(first, 1), (first, length - 1), *rest]


def nothing(chunks: Chunks) -> Chunks:
    raise DamageError("it is not there")


@pytest.mark.parametrize("change", [other_hash, other_length, nothing])
def test_files_are_damaged_alike_where_chunk_lists_are(
    checker: tuple[TreeChecker, Content],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Chunks], Chunks],
) -> None:
    trees, root = checker
    frames = trees.trees.frames
    chunks = frames.chunks

    def changed(run: bytes, n: int) -> Chunks:
        found = chunks(run, n)
        is_data = {place.kind for place in frames.places(run, n)} == {DATA}
        return change(found) if is_data else found

    monkeypatch.setattr(frames, "chunks", changed)
    seen = everything(NATIVELY, trees, root)
    assert seen == everything(IN_WORDS, trees, root)
    assert seen.damaged
    assert seen.files == 126


def test_files_in_frames_of_another_kind_are_damaged_alike(
    checker: tuple[TreeChecker, Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    trees, root = checker
    frames = trees.trees.frames
    places = frames.places

    def moved(run: bytes, n: int) -> list[Location]:
        found = places(run, n)
        return [replace(place, kind=TREE) for place in found]

    monkeypatch.setattr(frames, "places", moved)
    seen = everything(NATIVELY, trees, root)
    assert seen == everything(IN_WORDS, trees, root)
    assert seen.damaged
    assert {reason for _, _, reason in seen.damaged} == {OTHER_KIND}


def test_bytes_that_are_no_tree_are_refused_in_words(place: Place) -> None:
    """The kernel's refusal alone would not say why."""
    with place.open() as repository:
        snapshot = resolve(repository, "latest")
        trees = open_trees(repository, snapshot.certificate.domain)
        checker, root = TreeChecker(trees), root_content(root_of(snapshot))
        with pytest.raises(DamageError, match="not the one that was recorded"):
            checker.look(Content(root.size, bytes(32), (*root.extents, *root.extents)))
        assert checker.look(Content(0, bytes(32), ())) == Seen()
