"""The cache of one set of paths gives back what was put in, in walk order, or nothing at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.format.tree import Extent
from kluis.format.usemap import FrameSet
from kluis.repository.cache import ClientCache
from kluis.repository.content import Content
from kluis.repository.scancache import (
    CacheHead,
    Listing,
    Remembered,
    ScanCache,
    Tally,
    decode_head,
    encode_head,
    walk_key,
)

RUN = b"r" * 16
MARKS = [bytes((number,)) * 16 for number in range(1, 9)]
PATHS = (b"/home/a", b"/home/b", b"/home", b"/")
HEAD = CacheHead(RUN, 1_700_000_000, 5, 3, 40, 5000, {RUN: ((0, 7), (9, 10))})


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ClientCache]:
    made = ClientCache(str(tmp_path), b"v" * 32, b"s" * 16)
    yield made
    made.close()


def listing(path: bytes) -> Listing:
    return Listing(b"records of " + path, b"names", b"tree" * 100, {b"big": {RUN: ((1, 3),)}})


def add(scan: ScanCache, path: bytes, fingerprint: bytes = b"f" * 16) -> None:
    content = Content(9, path.ljust(32, b"."), (Extent(RUN, 1, 2, 3),))
    uses: FrameSet = {RUN: ((1, 2),)}
    scan.add(path, (fingerprint, False), Tally(1, 2, 3), (content, uses), listing(path))


def fill(cache: ClientCache, mark: bytes, paths: tuple[bytes, ...] = PATHS) -> None:
    scan = ScanCache(cache, "scan-x", mark, True)
    for path in paths:
        add(scan, path)
    scan.finish(HEAD)


def found(cache: ClientCache) -> dict[bytes, Remembered]:
    scan = ScanCache(cache, "scan-x", MARKS[7], True)
    result = {path: item for path in PATHS if (item := scan.find(path)) is not None}
    scan.finish(None)
    return result


def test_a_head_is_read_as_it_was_written() -> None:
    assert decode_head(encode_head(HEAD)) == HEAD


names = st.lists(
    st.binary(min_size=1, max_size=3).filter(lambda n: b"/" not in n and 0 not in n), max_size=4
)


@given(st.lists(names, max_size=8))
def test_keys_sort_as_a_walk_visits(parts: list[list[bytes]]) -> None:
    """A directory after all that lies in it, siblings by name."""
    paths = {b"/" + b"/".join(path[:end]) for path in parts for end in range(len(path) + 1)}

    def visit(path: bytes) -> Iterator[bytes]:
        below = path.rstrip(b"/") + b"/"
        for child in sorted(
            p for p in paths if p != path and p.startswith(below) and b"/" not in p[len(below) :]
        ):
            yield from visit(child)
        yield path

    assert sorted(paths | {b"/"}, key=walk_key) == list(visit(b"/"))


def test_what_was_added_is_found(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    scan = ScanCache(cache, "scan-x", MARKS[1], True)
    assert scan.head == scan.last == HEAD
    for path in PATHS:
        item = scan.find(path)
        assert item is not None
        assert (item.fingerprint, item.racy, item.tally) == (b"f" * 16, False, Tally(1, 2, 3))
        assert item.tree == Content(9, path.ljust(32, b"."), (Extent(RUN, 1, 2, 3),))
        assert item.uses == {RUN: ((1, 2),)}
        assert scan.listing(item) == listing(path)
    scan.finish(None)


def test_a_path_that_is_not_there_is_passed_over(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    scan = ScanCache(cache, "scan-x", MARKS[1], True)
    asked = (b"/aa", b"/home/a", b"/home/aa", b"/home/b", b"/home/b2", b"/home", b"/z", b"/")
    assert [path for path in asked if scan.find(path) is not None] == list(PATHS)
    scan.finish(None)


def test_a_change_keeps_what_stands_before_and_after_it(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    scan = ScanCache(cache, "scan-x", MARKS[1], True)
    for path in PATHS:
        item = scan.find(path)
        assert item is not None
        if path in (b"/home/a", b"/"):
            scan.keep(item)
        else:
            add(scan, path, b"g" * 16)
    scan.finish(HEAD)
    after = {path: item.fingerprint[:1] for path, item in found(cache).items()}
    assert after == {b"/home/a": b"f", b"/home/b": b"g", b"/home": b"g", b"/": b"f"}


def test_a_run_that_fails_leaves_the_old_one(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    scan = ScanCache(cache, "scan-x", MARKS[1], True)
    add(scan, b"/home/a", b"g" * 16)
    scan.finish(None)
    assert {item.fingerprint for item in found(cache).values()} == {b"f" * 16}
    assert list(Path(cache.folder).glob("*.tmp")) == []


def test_a_run_that_found_no_change_keeps_the_instant_of_the_old_one(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    scan = ScanCache(cache, "scan-x", MARKS[1], True)
    for path in PATHS:
        item = scan.find(path)
        assert item is not None
        scan.keep(item)
    scan.finish(CacheHead(b"n" * 16, 1_800_000_000, 6, 4, 41, 5001, HEAD.uses))
    again = ScanCache(cache, "scan-x", MARKS[2], True)
    expected = CacheHead(b"n" * 16, HEAD.racy_s, HEAD.racy_ns, 4, 41, 5001, HEAD.uses)
    assert again.head == expected
    again.finish(None)
    assert set(found(cache)) == set(PATHS)


def test_without_the_old_one_the_last_counts_are_still_known(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    scan = ScanCache(cache, "scan-x", MARKS[1], False)
    assert scan.head is None
    assert scan.last == HEAD
    assert scan.find(b"/home/a") is None
    scan.finish(None)
    ignoring = ScanCache(cache, "scan-x", MARKS[1], True)
    ignoring.ignore()
    assert (ignoring.head, ignoring.find(b"/home/a"), ignoring.last) == (None, None, HEAD)
    ignoring.finish(None)


def test_nothing_is_written_without_a_mark(cache: ClientCache) -> None:
    fill(cache, MARKS[0])
    before = {p.name: p.read_bytes() for p in Path(cache.folder).iterdir() if p.is_file()}
    scan = ScanCache(cache, "scan-x", None, True)
    assert scan.find(b"/home/a") is not None
    add(scan, b"/home/a", b"g" * 16)
    scan.finish(HEAD)
    after = {p.name: p.read_bytes() for p in Path(cache.folder).iterdir() if p.is_file()}
    assert after == before


def test_a_journal_of_another_head_is_not_used(cache: ClientCache) -> None:
    """Two processes finished at once: one's journal, the other's head."""
    fill(cache, MARKS[0])
    head = cache.read("scan-x.head")
    fill(cache, MARKS[1])
    assert head is not None
    cache.write("scan-x.head", head)
    assert found(cache) == {}


def test_a_journal_that_another_process_replaced_is_not_copied_from(cache: ClientCache) -> None:
    """Its records may use frames that this process never asked about."""
    fill(cache, MARKS[0])
    mine = ScanCache(cache, "scan-x", MARKS[1], True)
    item = mine.find(b"/home/a")
    assert item is not None
    mine.keep(item)
    fill(cache, MARKS[2])
    add(mine, b"/home/b", b"g" * 16)
    add(mine, b"/home", b"g" * 16)
    mine.finish(HEAD)
    assert {item.fingerprint for item in found(cache).values()} == {b"f" * 16}
    assert list(Path(cache.folder).glob("*.tmp")) == []


@given(st.data())
def test_a_damaged_byte_is_never_an_entry_that_was_not_put_in(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = ClientCache(folder, b"v" * 32, b"s" * 16)
        fill(cache, MARKS[0])
        whole = found(cache)
        name = data.draw(st.sampled_from(["scan-x", "scan-x.head"]))
        path = Path(cache.folder) / name
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        scan = ScanCache(cache, "scan-x", MARKS[7], True)
        for wanted in PATHS:
            item = scan.find(wanted)
            assert item is None or item == whole[wanted]
            assert item is None or scan.listing(item) in (None, listing(wanted))
        scan.finish(None)
        cache.close()
