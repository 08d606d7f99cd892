"""What a person reads: complete, quiet when asked, each problem once."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator

import pytest

from kluis.events import Damage, FileProblem, Problem
from kluis.results import (
    BackupResult,
    LsResult,
    RestoreResult,
    SnapshotGroup,
    SnapshotsResult,
    VerifyResult,
)
from kluis.source.problem import CHANGED_MEANWHILE, reason_of
from kluis_cli.commands import backup, ls, restore, snapshots, verify
from kluis_cli.output import LINES_AT_ONCE, Output
from kluis_cli.terminal import Reporter
from tests.unit.cli.samples import DAMAGE, FILE, LINK, PROBLEM, SHOWN, SNAPSHOT


class Streams:
    """Both standard streams, kept."""

    def __init__(self, verbosity: int = 0) -> None:
        self._stdout, self._stderr = io.BytesIO(), io.BytesIO()
        self.output = Output(self._stdout, self._stderr, as_json=False, verbosity=verbosity)

    @property
    def out(self) -> str:
        return self._stdout.getvalue().decode("utf-8", "surrogateescape")

    @property
    def err(self) -> str:
        return self._stderr.getvalue().decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("name", SHOWN)
def test_no_text_holds_a_control_character(name: str) -> None:
    streams = Streams()
    SHOWN[name](streams.output)
    for text in (streams.out, streams.err):
        assert not [letter for letter in text if ord(letter) < 0x20 and letter != "\n"]
    assert streams.out + streams.err


def test_ls_prints_whole_paths_as_their_bytes() -> None:
    streams = Streams()
    entries = [FILE, LINK]
    paths = iter([entry.path for entry in entries])
    ls.show(LsResult(SNAPSHOT, iter(entries), paths=paths), streams.output)
    assert streams.out == "/a/b\n/a/\udcff\n"


def test_snapshots_prints_the_prefix_the_paths_and_the_tags() -> None:
    streams = Streams()
    snapshots.show(SnapshotsResult((SnapshotGroup((SNAPSHOT,)),)), streams.output)
    row = next(line for line in streams.out.splitlines() if line.startswith("4f2a"))
    assert "/home/zo\udceb, /etc" in row
    assert "a,b" in row
    assert "host\\n" in row


def test_a_problem_is_said_once_whether_it_came_early_or_late() -> None:
    streams = Streams()
    Reporter(streams.output, None)(FileProblem(PROBLEM))
    backup.show(BackupResult("4f2a", problems=(PROBLEM,)), streams.output)
    assert streams.err.count("Permission denied") == 1
    assert "could not read 1 item, each named above" in streams.err


def test_what_changed_while_it_was_read_is_not_said_to_be_missing() -> None:
    streams = Streams()
    changed = Problem(b"/a/log", "read", reason_of(CHANGED_MEANWHILE))
    backup.show(BackupResult("4f2a", problems=(changed,)), streams.output)
    assert "kluis: /a/log changed while it was read: it is in the snapshot" in streams.err
    assert "1 file changed while being read" in streams.err
    assert "cannot" not in streams.err
    assert "could not" not in streams.err


def test_each_kind_of_problem_is_counted_for_itself() -> None:
    streams = Streams()
    problems = (
        PROBLEM,
        Problem(b"/a/log", "read", reason_of(CHANGED_MEANWHILE)),
        Problem(b"/a/x", "xattr", "Permission denied"),
        Problem(b"/a/y", "stat", "Permission denied"),
    )
    backup.show(BackupResult("4f2a", problems=problems), streams.output)
    assert "could not read 2 items, each named above; all others are in" in streams.err
    assert "could not read 1 attribute" in streams.err
    assert "1 file changed while being read" in streams.err


def test_a_restore_names_what_is_lost() -> None:
    streams = Streams()
    restore.show(RestoreResult("4f2a", b"/t", damages=(DAMAGE,)), streams.output)
    assert "lost: /a/\udcff" in streams.err
    assert "lost in the repository: 1 file;" in streams.err


def test_verify_says_when_all_is_well_and_what_was_never_read() -> None:
    streams = Streams()
    verify.show(VerifyResult(0, bytes_never_read=1 << 20), streams.output)
    assert "no damage" in streams.out
    assert "1.00 MiB were never read" in streams.out


@pytest.mark.parametrize(
    ("damages", "reason"), [((DAMAGE,), "there is damage"), ((), "cannot be written")]
)
def test_verify_does_not_call_unread_what_it_has_just_read(
    damages: tuple[Damage, ...], reason: str
) -> None:
    streams = Streams()
    verify.show(VerifyResult(1, damages, bytes_never_read=9, bytes_read=9), streams.output)
    assert "never read" not in streams.out
    assert f"this reading is not noted in the repository, as {reason}" in streams.out.replace(
        "the repository cannot", "cannot"
    )


def test_a_backup_says_what_was_new_and_what_it_takes() -> None:
    streams = Streams()
    backup.show(BackupResult("4f2a", bytes_added=131072, bytes_added_plain=10), streams.output)
    assert "10 B of new data, stored as 128 KiB with parity and padding" in streams.out


def test_quiet_keeps_problems_and_drops_the_rest() -> None:
    streams = Streams(verbosity=-1)
    backup.show(BackupResult("4f2a", files_new=3, problems=(PROBLEM,)), streams.output)
    assert streams.out == ""
    assert "Permission denied" in streams.err


class Broken(io.BytesIO):
    """A stream that stops taking anything."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, data: object, /) -> int:
        raise OSError(self.number, "it broke")


def test_a_reader_that_went_away_ends_a_listing_without_a_word() -> None:
    stderr = io.BytesIO()
    output = Output(Broken(errno.EPIPE), stderr, as_json=False, verbosity=0)
    taken = []

    def paths() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield FILE.path

    ls.show(LsResult(SNAPSHOT, iter([]), paths=paths()), output)
    assert output.closed
    assert output.failure == ""
    assert len(taken) == LINES_AT_ONCE
    assert stderr.getvalue() == b""


def test_a_full_disk_behind_standard_output_is_remembered() -> None:
    output = Output(Broken(errno.ENOSPC), io.BytesIO(), as_json=False, verbosity=0)
    backup.show(BackupResult("4f2a"), output)
    assert output.closed
    assert output.failure
