from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.errors import CancelledError, NotFoundError, UsageError
from kluis.events import Cancel, Context, Event, FileDone, Progress
from kluis.operations.restore import restore
from kluis.options import RestoreOptions
from kluis.results import RestoreResult
from tests.integration.source_copy import portrait
from tests.repositories import Place


def restored(
    place: Place, target: Path, path: str | None = None, **options: object
) -> RestoreResult:
    """Restores the source, or something in it, or with `path=""` all of the snapshot."""
    where = place.path() if path is None else place.path(path) if path else b""
    wanted = RestoreOptions(path=where, target=os.fsencode(target))
    wanted = replace(wanted, **options)  # type: ignore[arg-type]
    with place.open() as repository:
        return restore(repository, wanted, place.context())


def same(source: Path, target: Path) -> bool:
    """Whether all that lies in the two folders is the same; an existing target stays itself."""
    one, other = portrait(bytes(source)), portrait(bytes(target))
    return {**one, b"": ()} == {**other, b"": ()}


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# Where things go.


def test_a_folder_of_a_snapshot_becomes_the_target(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "new" / "out"
    result = restored(place, target)
    assert same(place.source, target)
    assert (result.files_restored, result.dirs_restored, result.others_restored) == (5, 3, 1)
    assert result.files_total == 5
    assert result.bytes_restored == result.bytes_total == 500 + 90_000 + 20 + 11
    assert (result.problems, result.damages, result.exit_status) == ((), (), 0)


def test_a_whole_snapshot_lies_below_the_target_by_its_paths(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    restored(place, target, "")
    assert same(place.source, Path(f"{target}{place.source}"))
    assert stat.S_IMODE((target / place.source.parts[1]).stat().st_mode) == stat.S_IMODE(
        Path("/", place.source.parts[1]).stat().st_mode
    )


def test_a_file_is_put_into_the_target(place: Place, tmp_path: Path) -> None:
    place.backup()
    result = restored(place, tmp_path / "out", "docs/notes/monday.txt")
    assert names_below(tmp_path / "out") == {"monday.txt"}
    assert (tmp_path / "out/monday.txt").read_text() == "call the accountant\n"
    assert (result.files_total, result.dirs_restored) == (1, 0)


def test_a_link_can_be_asked_for_by_itself(place: Place, tmp_path: Path) -> None:
    place.backup()
    restored(place, tmp_path / "out", "link")
    assert (tmp_path / "out/link").readlink() == Path("letter.txt")


def test_in_place_gives_each_file_back_where_it_was(place: Place) -> None:
    place.backup()
    before = portrait(bytes(place.source))
    (place.source / "letter.txt").write_text("scribbled over")
    shutil.rmtree(place.source / "docs")
    with place.open() as repository:
        options = RestoreOptions(path=place.path("docs"), in_place=True)
        result = restore(repository, options, place.context())
        assert result.target == place.path("docs")
        restore(repository, RestoreOptions(in_place=True), place.context())
        options = RestoreOptions(path=place.path("letter.txt"), in_place=True)
        assert restore(repository, options, place.context()).files_unchanged == 1
    assert portrait(bytes(place.source)) == before


def test_an_existing_target_keeps_its_own_metadata(place: Place, tmp_path: Path) -> None:
    place.source.chmod(0o700)
    place.backup()
    for name in ("there", "new"):
        target = tmp_path / name
        if name == "there":
            target.mkdir(0o755)
        restored(place, target)
        assert stat.S_IMODE(target.stat().st_mode) == (0o755 if name == "there" else 0o700)
    assert portrait(bytes(tmp_path / "new")) == portrait(bytes(place.source))


def test_what_is_not_in_the_snapshot_is_named(place: Place, tmp_path: Path) -> None:
    place.backup()
    with pytest.raises(NotFoundError, match="no-such"):
        restored(place, tmp_path / "out", "no-such/file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{}, {"target": b"/x", "in_place": True}])
def test_one_place_has_to_be_given(place: Place, options: dict[str, object]) -> None:
    place.backup()
    with place.open() as repository, pytest.raises(UsageError):
        restore(repository, RestoreOptions(**options), place.context())  # type: ignore[arg-type]


# Choosing.


def test_include_makes_the_folders_that_lead_there(place: Place, tmp_path: Path) -> None:
    place.backup()
    (place.source / "docs").chmod(0o750)
    place.backup()
    result = restored(place, tmp_path / "out", include=(b"*.txt",), exclude=(b"letter*",))
    assert names_below(tmp_path / "out") == {
        "docs", "docs/notes", "docs/notes/monday.txt", "docs/notes/tuesday.txt",
    }  # fmt: skip
    assert same(place.source / "docs" / "notes", tmp_path / "out/docs/notes")
    assert stat.S_IMODE((tmp_path / "out/docs").stat().st_mode) == 0o750
    assert result.files_total == 2


def test_patterns_begin_where_the_restore_begins(place: Place, tmp_path: Path) -> None:
    place.backup()
    restored(place, tmp_path / "one", include=(b"/docs/notes",))
    assert names_below(tmp_path / "one") == {
        "docs", "docs/notes", "docs/notes/monday.txt", "docs/notes/tuesday.txt",
    }  # fmt: skip
    restored(place, tmp_path / "two", "", include_any_case=(place.path("LETTER.TXT"),))
    assert Path(f"{tmp_path}/two{place.source}/letter.txt").is_file()
    restored(place, tmp_path / "three", exclude=(b"docs",), exclude_any_case=(b"LINK",))
    assert names_below(tmp_path / "three") == {"letter.txt", "empty"}


# What is there already.


def test_what_is_there_and_right_is_not_written_again(place: Place, tmp_path: Path) -> None:
    place.write("large", os.urandom(3_000_000))
    place.backup()
    target = tmp_path / "out"
    restored(place, target)
    (target / "docs/notes/monday.txt").write_text("call the accountant?")
    (target / "letter.txt").chmod(0o777)
    os.utime(target / "large", ns=(1, 1))
    inodes = {path: path.lstat().st_ino for path in target.rglob("*") if path.is_file()}
    result = restored(place, target)
    assert same(place.source, target)
    assert (result.files_restored, result.files_unchanged) == (1, 5)
    assert result.bytes_restored == 20
    changed = {path.name for path, inode in inodes.items() if path.lstat().st_ino != inode}
    assert changed <= {"monday.txt", "link"}


def test_of_a_large_file_only_what_differs_is_written(place: Place, tmp_path: Path) -> None:
    content = bytearray(os.urandom(4_000_000))
    place.write("large", bytes(content))
    place.backup()
    target = tmp_path / "out"
    restored(place, target)
    inode = (target / "large").stat().st_ino
    for damage in (b"x" * 70_000, b""):
        spoiled = bytearray(content)
        spoiled[1_000_000 : 1_000_000 + len(damage)] = damage
        (target / "large").write_bytes(spoiled if damage else spoiled[:2_500_000] + b"\0" * 9)
        result = restored(place, target)
        assert result.files_restored == 1
        assert same(place.source, target)
    (target / "large").write_bytes(content + b"and more")
    restored(place, target)
    assert same(place.source, target)
    assert (target / "large").stat().st_ino == inode


def test_if_changed_trusts_size_and_time(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    restored(place, target)
    victim = target / "docs/notes/monday.txt"
    status = victim.stat()
    victim.write_text("CALL the accountant\n")
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = restored(place, target, overwrite="if-changed")
    assert (result.files_unchanged, result.files_restored) == (5, 0)
    assert victim.read_text() == "CALL the accountant\n"
    os.utime(victim)
    assert restored(place, target, overwrite="if-changed").files_restored == 1
    assert same(place.source, target)


def test_if_newer_and_never_leave_alone_what_they_should(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    restored(place, target)
    letter, empty = target / "letter.txt", target / "empty"
    letter.write_text("newer here")
    empty.write_text("older here")
    os.utime(empty, ns=(1, 1))
    shutil.rmtree(target / "docs")
    result = restored(place, target, overwrite="never")
    assert (result.files_skipped, result.files_restored) == (2, 3)
    assert (letter.read_text(), empty.read_text()) == ("newer here", "older here")
    result = restored(place, target, overwrite="if-newer")
    assert (result.files_skipped, result.files_restored) == (4, 1)
    assert (letter.read_text(), empty.read_text()) == ("newer here", "")


def test_other_kinds_in_the_way_give_way(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "notes").write_text("mine")
    place.backup()
    target = tmp_path / "out"
    target.mkdir()
    (target / "letter.txt").symlink_to(outside / "notes")
    (target / "docs").symlink_to(outside)
    (target / "link").mkdir()
    (target / "empty").mkdir()
    os.mkfifo(target / "large")
    result = restored(place, target)
    assert result.exit_status == 0
    assert same(place.source / "docs", target / "docs")
    assert (target / "letter.txt").read_bytes() == (place.source / "letter.txt").read_bytes()
    assert names_below(outside) == {"notes"}
    assert (outside / "notes").read_text() == "mine"


def test_a_full_folder_in_the_way_goes_only_with_delete(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    for name in ("letter.txt", "link"):
        (target / name).mkdir(parents=True)
        (target / name / "mine").write_text("!")
    result = restored(place, target)
    assert {problem.path for problem in result.problems} == {
        bytes(target / "letter.txt"), bytes(target / "link"),
    }  # fmt: skip
    assert result.exit_status == 3
    assert (target / "letter.txt/mine").exists()
    assert restored(place, target, delete=True).exit_status == 0
    assert same(place.source, target)


def test_never_does_not_put_a_folder_in_the_place_of_a_file(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    target.mkdir()
    (target / "docs").write_text("mine")
    result = restored(place, target, overwrite="never")
    assert [problem.path for problem in result.problems] == [bytes(target / "docs")]
    assert (target / "docs").read_text() == "mine"
    assert (target / "letter.txt").exists()


# Deleting.


def test_delete_removes_what_the_snapshot_does_not_have(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    restored(place, target, "")
    inside = Path(f"{target}{place.source}")
    (inside / "docs/extra").mkdir()
    (inside / "docs/extra/deep.txt").write_text("x")
    (inside / "other").symlink_to("/etc")
    beside = inside.parent / "beside.txt"
    beside.write_text("in a folder that only leads to what was backed up")
    result = restored(place, target, "", delete=True, dry_run=True)
    assert (result.deleted, (inside / "other").is_symlink()) == (2, True)
    result = restored(place, target, "", delete=True)
    assert result.deleted == 2
    assert same(place.source, inside)
    assert beside.exists()


def test_delete_keeps_to_what_was_chosen(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    restored(place, target)
    for name in ("a.txt", "docs/b.txt", "docs/c.odt", "docs/keep.txt"):
        (target / name).write_text("x")
    restored(place, target, delete=True, include=(b"*.txt",), exclude=(b"keep*",))
    left = names_below(target) - names_below(place.source)
    assert left == {"docs/c.odt", "docs/keep.txt"}


def test_deleting_in_the_root_has_to_be_narrowed(place: Place) -> None:
    place.backup()
    with place.open() as repository, pytest.raises(UsageError, match="delete"):
        restore(repository, RestoreOptions(in_place=True, delete=True), place.context())


# Trying and telling.


def test_a_dry_run_writes_nothing_and_counts(place: Place, tmp_path: Path) -> None:
    place.backup()
    target = tmp_path / "out"
    result = restored(place, target, dry_run=True)
    assert (result.files_restored, result.dirs_restored, result.others_restored) == (5, 3, 1)
    assert not target.exists()
    restored(place, target)
    (target / "letter.txt").write_text("changed")
    shutil.rmtree(target / "docs/notes")
    before = portrait(bytes(target))
    result = restored(place, target, dry_run=True)
    assert (result.files_restored, result.files_unchanged) == (3, 2)
    assert portrait(bytes(target)) == before


def test_what_happens_is_told(place: Place, tmp_path: Path) -> None:
    place.backup()
    restored(place, tmp_path / "out", "docs")
    told: list[Event] = []
    with place.open() as repository:
        options = RestoreOptions(path=place.path(), target=bytes(tmp_path / "out2"))
        restore(repository, options, Context(told.append, Cancel(), place.clock, each_file=True))
    done = {event.path: event for event in told if isinstance(event, FileDone)}
    assert done[place.path("letter.txt")].action == "restored"
    assert done[place.path("letter.txt")].size == 500
    assert len(done) == 6
    assert any(isinstance(event, Progress) for event in told)


class Impatient(Cancel):
    """Asks to stop when it is asked for the nth time."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def check(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.set()
        super().check()


def test_cancelling_anywhere_leaves_no_part_of_a_file(place: Place, tmp_path: Path) -> None:
    place.write("large", os.urandom(5_000_000))
    place.backup()
    target = tmp_path / "out"
    stops = 0
    while True:
        with place.open() as repository:
            options = RestoreOptions(path=place.path(), target=bytes(target))
            cancel = Impatient(stops + 1)
            try:
                restore(repository, options, Context(place.told.append, cancel, place.clock))
                break
            except CancelledError:
                stops += 1
        for path in target.rglob("*"):
            if path.is_file():
                original = place.source / path.relative_to(target)
                assert path.read_bytes() == original.read_bytes()
        shutil.rmtree(target, ignore_errors=True)
    assert stops > 10
    assert same(place.source, target)


def test_verify_reads_everything_back(place: Place, tmp_path: Path) -> None:
    place.write("large", os.urandom(3_000_000))
    os.link(place.source / "large", place.source / "large again")
    place.backup()
    result = restored(place, tmp_path / "out", verify=True)
    assert (result.files_verified, result.exit_status) == (6, 0)
    assert restored(place, tmp_path / "out", verify=True).files_verified == 6
