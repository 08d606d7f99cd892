"""The next backup reads what may have changed, stores nothing twice, and trusts no lost cache."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kluis._native import scan
from kluis.errors import KluisError, NotFoundError
from kluis.format import tree
from kluis.operations.archiving import basis
from kluis.operations.backup import backup
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.options import BackupOptions, Chunker, ForgetOptions, PruneOptions
from kluis.repository.dedup import LEARNED
from kluis.source.walk import Directory, walk
from tests.repositories import DAY_NS, START_NS, Place
from tests.unit.operations.stored import files_of, source_files, stored

KIB = 1 << 10
MIB = 1 << 20
# The folders above the source are stored too, and other processes change those meanwhile.
ABOVE_BYTES = 4 * KIB


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old as soon as they are written; otherwise that takes two seconds."""
    monkeypatch.setattr(basis, "RACY_NS", -10_000_000_000)


def lose(place: Place, *names: str) -> None:
    """Removes these files and folders of the cache, or all that is in it."""
    [folder] = [path.parent for path in place.cache.rglob("seen")]
    for path in [folder / name for name in names] or place.cache.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_what_did_not_change_is_not_read(place: Place, settled: None) -> None:
    place.backup()
    again = place.backup()
    assert (again.bytes_read, again.files_unmodified) == (0, 5)
    assert again.bytes_added_plain < ABOVE_BYTES
    place.write("docs/notes/monday.txt", "changed")
    changed = place.backup()
    assert changed.bytes_read == len("changed")
    assert files_of(place) == source_files(place)


def test_what_was_written_just_before_a_backup_is_read_again(place: Place) -> None:
    """Its time of change might not move although it is written once more."""
    place.backup()
    again = place.backup()
    assert again.bytes_read == again.bytes_total
    assert again.files_unmodified == 5
    assert again.bytes_added_plain < ABOVE_BYTES


def test_a_change_that_keeps_size_and_mtime_is_seen(place: Place, settled: None) -> None:
    path = place.write("same size", "one")
    place.backup()
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    place.backup()
    assert files_of(place)[b"same size"] == b"two"


def test_metadata_alone_can_change(place: Place, settled: None) -> None:
    place.backup()
    path = place.source / "docs" / "report.odt"
    path.chmod(0o600)
    os.setxattr(path, "user.colour", b"red")
    result = place.backup()
    assert result.files_changed == 1
    assert result.bytes_added_plain < ABOVE_BYTES
    with place.open() as repository:
        entry = stored(repository).entries()[bytes(path)]
    assert (entry.mode, entry.xattrs) == (0o600, ((b"user.colour", b"red"),))


@pytest.mark.parametrize("linked", [False, True])
def test_another_device_number_changes_nothing(
    place: Place, settled: None, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """After a restart, or in another socket, the kernel numbers a file system anew."""
    if linked:
        os.link(place.source / "letter.txt", place.source / "docs" / "letter too")
    place.backup()

    def renumbered(*arguments: object) -> Iterator[Directory]:
        for directory in walk(*arguments):  # type: ignore[arg-type]
            yield replace(
                directory, records=_renumber(directory.records), own=_renumber(directory.own)
            )

    monkeypatch.setattr("kluis.operations.backup.walk", renumbered)
    again = place.backup()
    assert (again.bytes_read, again.dirs_new) == (0, 0)
    # A tree that is made anew does not differ either.
    before = source_tree(place)
    forced = place.backup(force=True)
    assert forced.bytes_read > 90_000
    assert source_tree(place) == before
    assert files_of(place) == source_files(place)


def source_tree(place: Place) -> bytes:
    """The digest of the source's own tree, which covers all below it."""
    with place.open() as repository:
        return stored(repository).entries()[place.path()].digest


def _renumber(records: bytes) -> bytes:
    rows = [list(row) for row in struct.iter_unpack(scan.RECORD_FORMAT, records)]
    for row in rows:
        row[1] += 77
    return b"".join(struct.pack(scan.RECORD_FORMAT, *row) for row in rows)


def test_linked_names_stay_one_file_apart_from_others(place: Place, settled: None) -> None:
    first = place.write("first", os.urandom(300 * KIB))
    os.link(first, place.source / "docs" / "second")
    place.write("third", "small")
    os.link(place.source / "third", place.source / "docs" / "fourth")
    result = place.backup()
    assert result.bytes_read == result.bytes_total - 300 * KIB - 5
    with place.open() as repository:
        entries = stored(repository).entries()
    assert files_of(place) == source_files(place)
    names = ("first", "docs/second", "third", "docs/fourth")
    one, two, three, four = (entries[place.path(name)] for name in names)
    assert (one.device, one.inode) == (two.device, two.inode)
    assert (three.device, three.inode) == (four.device, four.inode)
    assert one.inode != three.inode
    assert {e.flags & tree.LINKED for e in (one, two, three, four)} == {tree.LINKED}
    # The same numbers when a folder is taken over and the other made anew.
    place.write("docs/new", "new")
    place.backup()
    with place.open() as repository:
        again = stored(repository).entries()
    for name in names:
        old, new = entries[place.path(name)], again[place.path(name)]
        assert (old.device, old.inode) == (new.device, new.inode)


def test_a_linked_file_that_changes_between_its_names_is_seen_next_time(
    place: Place, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read under the first name is not kept under the record of the second."""
    path = place.write("docs/a", "one")
    os.link(path, place.source / "z")

    def changing(*arguments: object) -> Iterator[Directory]:
        for directory in walk(*arguments):  # type: ignore[arg-type]
            yield directory
            if directory.path == place.path("docs"):
                path.write_text("two")

    monkeypatch.setattr("kluis.operations.backup.walk", changing)
    place.backup()
    monkeypatch.undo()
    monkeypatch.setattr(basis, "RACY_NS", -10_000_000_000)
    place.backup()
    assert files_of(place) == source_files(place)


# --force, --reread, --parent.


def test_force_reads_everything_and_adds_nothing(place: Place, settled: None) -> None:
    place.backup()
    result = place.backup(force=True)
    assert result.bytes_read == result.bytes_total
    assert result.bytes_added_plain < ABOVE_BYTES
    assert result.parent is None
    assert place.backup().bytes_read == 0


def test_a_rotating_share_is_read_again(place: Place, settled: None) -> None:
    for number in range(12):
        place.write(f"many/{number}/file", os.urandom(1000))
    place.backup()
    read = [place.backup(reread_share=0.25) for _ in range(4)]
    assert sum(result.bytes_read for result in read) == read[0].bytes_total
    assert all(result.bytes_read < result.bytes_total for result in read)
    assert {result.files_unmodified for result in read} == {17}
    assert all(result.bytes_added_plain < ABOVE_BYTES for result in read)


def test_content_that_rotted_under_unchanged_times_is_found_by_reading_again(
    place: Place, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.write("rots", "whole")
    place.backup()
    monkeypatch.setattr(basis, "RACY_NS", -20_000_000_000)
    before = path.stat()
    path.write_text("w ole")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = place.backup(reread_share=1.0)
    assert result.files_changed == 1
    assert files_of(place)[b"rots"] == b"w ole"


def old_times(place: Place) -> None:
    """Files from before any snapshot of the test's clock."""
    for path in place.source.rglob("*"):
        os.utime(path, ns=(START_NS - DAY_NS, START_NS - DAY_NS), follow_symlinks=False)


@pytest.mark.parametrize("lost", [False, True])
def test_a_parent_is_compared_with_in_place_of_the_cache(place: Place, lost: bool) -> None:
    place.write("large", os.urandom(MIB))
    os.setxattr(place.source / "large", "user.colour", b"red")
    old_times(place)
    first = place.backup(START_NS)
    place.write("docs/notes/monday.txt", "changed")
    place.write("docs/notes/new", "new")
    (place.source / "letter.txt").chmod(0o600)
    place.backup(START_NS + DAY_NS)
    if lost:
        lose(place)
    result = place.backup(START_NS + 2 * DAY_NS, parent=first.snapshot_id[:10])
    assert result.parent == first.snapshot_id
    assert result.bytes_read == len("changed") + len("new")
    assert (result.files_new, result.files_changed, result.files_unmodified) == (1, 1, 5)
    assert result.bytes_added_plain < ABOVE_BYTES
    assert files_of(place) == source_files(place)
    with place.open() as repository:
        entries = stored(repository).entries()
    # Content is taken over, metadata is that of now.
    assert entries[place.path("letter.txt")].mode == 0o600
    assert entries[place.path("large")].xattrs == ((b"user.colour", b"red"),)


def test_a_parent_does_not_vouch_for_what_was_written_while_it_was_made(place: Place) -> None:
    old_times(place)
    moment = START_NS - 1_000_000_000
    os.utime(place.source / "letter.txt", ns=(moment, moment))
    first = place.backup(START_NS)
    place.backup(START_NS + DAY_NS)
    result = place.backup(START_NS + DAY_NS, parent=first.snapshot_id)
    assert result.bytes_read == len("Dear Ann,\n" * 50)


def test_a_file_of_another_size_or_time_is_not_the_parents(place: Place) -> None:
    old_times(place)
    first = place.backup(START_NS)
    place.write("other", "other")
    place.backup(START_NS + DAY_NS)
    letter = place.write("letter.txt", "another")
    empty = place.write("empty", "not any more")
    os.utime(letter, ns=(START_NS - DAY_NS, START_NS - DAY_NS))
    os.utime(empty, ns=(START_NS - DAY_NS, START_NS - DAY_NS))
    (place.source / "docs" / "report.odt").touch()
    result = place.backup(START_NS + 2 * DAY_NS, parent=first.snapshot_id)
    assert result.files_changed == 3
    assert files_of(place) == source_files(place)


def test_a_parent_with_listed_extents_vouches_for_them(place: Place) -> None:
    blocks = [os.urandom(4 * KIB) for _ in range(1500)]
    place.write("a", b"".join(blocks[::-1]))
    place.write("large", b"".join(blocks))
    old_times(place)
    fixed = {"chunker": Chunker("fixed", 4 * KIB)}
    first = place.backup(START_NS, **fixed)
    with place.open() as repository:
        assert stored(repository).entries()[place.path("large")].flags & tree.LISTED
    place.write("new", "new")
    place.backup(START_NS + DAY_NS, **fixed)
    result = place.backup(START_NS + 2 * DAY_NS, parent=first.snapshot_id, **fixed)
    assert result.bytes_read == 3
    with place.open() as repository:
        forget(repository, ForgetOptions((first.snapshot_id,)), place.context())
        prune(repository, PruneOptions(now=True), place.context())
    assert files_of(place) == source_files(place)


def test_a_parent_that_is_not_there_is_said(place: Place) -> None:
    place.backup()
    with pytest.raises(NotFoundError, match="no snapshot"):
        place.backup(parent="zzzzzzzz")


# Lost and damaged caches.


def test_a_lost_cache_costs_reading_and_no_space(place: Place) -> None:
    place.write("noise", os.urandom(2 * MIB))
    place.backup()
    lose(place)
    result = place.backup()
    assert result.bytes_read == result.bytes_total
    assert result.bytes_added_plain < ABOVE_BYTES
    assert files_of(place) == source_files(place)


@pytest.mark.parametrize("name", ["table", "runs", LEARNED])
def test_a_part_of_the_dedup_cache_can_be_lost(place: Place, name: str) -> None:
    place.write("noise", os.urandom(MIB))
    place.backup()
    lose(place, name)
    assert place.backup(force=True).bytes_added_plain < ABOVE_BYTES
    place.write("more", os.urandom(MIB))
    assert place.backup(force=True).bytes_added_plain < MIB + 50 * KIB
    assert files_of(place) == source_files(place)


@pytest.mark.parametrize("part", ["journal", "head"])
def test_a_damaged_scan_cache_is_none(place: Place, settled: None, part: str) -> None:
    place.backup()
    [head] = place.cache.rglob("scan-*.head")
    path = head if part == "head" else head.with_suffix("")
    damaged = bytearray(path.read_bytes())
    for at in range(0, len(damaged), 7):
        damaged[at] ^= 0x55
    path.write_bytes(damaged)
    place.write("letter.txt", "changed")
    result = place.backup()
    assert result.exit_status == 0
    assert files_of(place) == source_files(place)
    assert place.backup().bytes_read == 0


def test_what_another_client_stored_is_found(place: Place) -> None:
    place.write("noise", os.urandom(MIB))
    place.backup()
    wanted = BackupOptions(paths=(place.path(),), host="other")
    place.write("more", os.urandom(MIB))
    with place.open(cache="other") as repository:
        assert backup(repository, wanted, place.context()).bytes_added_plain < MIB + 5 * KIB
    place.write("third", os.urandom(1000))
    assert place.backup().bytes_added_plain < 10 * KIB
    assert files_of(place) == source_files(place)


def test_frames_that_are_gone_are_stored_anew(place: Place, settled: None) -> None:
    """What the cache remembers is used only as far as its packs are listed."""
    place.write("noise", os.urandom(MIB))
    place.backup(START_NS)
    place.backup(START_NS + DAY_NS)
    for path in (place.location / "packs").rglob("*"):
        if path.is_file():
            path.unlink()
    result = place.backup(START_NS + 2 * DAY_NS)
    assert result.bytes_read == result.bytes_total
    assert result.bytes_added_plain > MIB
    assert files_of(place) == source_files(place)


def test_abandoned_drafts_are_removed(place: Place) -> None:
    place.backup()
    [head] = place.cache.rglob("scan-*.head")
    draft = Path(f"{head.with_suffix('')}.{'a' * 26}.tmp")
    draft.write_bytes(b"torn")
    place.write("new", "new")
    place.backup()
    assert not draft.exists()


def test_a_cache_that_cannot_be_written_costs_time_only(
    place: Place, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.backup()
    [head] = place.cache.rglob("scan-*.head")
    monkeypatch.setattr("kluis.repository.scancache.base32", lambda _: "no/such/folder")
    place.write("new", "new")
    assert place.backup().exit_status == 0
    assert files_of(place) == source_files(place)
    assert head.exists()


def test_an_own_rule_has_an_own_cache(place: Place, settled: None) -> None:
    place.backup()
    with pytest.raises(KluisError):
        place.backup(paths=(place.path("absent"),))
    assert place.backup(one_file_system=True).bytes_read > 0
    assert place.backup().bytes_read == 0
    assert place.backup(one_file_system=True).bytes_read == 0
