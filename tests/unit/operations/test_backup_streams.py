"""Standard input, or what a command prints, is the one file of a snapshot, or there is none."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from kluis.errors import KluisError
from kluis.events import Cancel, Context, FileDone
from kluis.operations.backup import backup
from kluis.options import BackupOptions, StdinSource
from tests.repositories import Place
from tests.unit.operations.stored import stored


@pytest.fixture
def silence() -> Iterator[int]:
    """Standard input that gives nothing and does not end; its other side."""
    reading, writing = os.pipe()
    saved = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    yield writing
    os.dup2(saved, 0)
    os.close(saved)
    os.close(writing)


@pytest.mark.parametrize("source", [StdinSource(b"x"), StdinSource(b"x", (b"sleep", b"600"))])
def test_a_silent_stream_can_be_cancelled(place: Place, silence: int, source: StdinSource) -> None:
    os.write(silence, b"something")
    cancel = Cancel()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    started = time.monotonic()
    context = Context(place.told.append, cancel, place.clock)
    with place.open() as repository, pytest.raises(KluisError, match="cancelled"):
        backup(repository, BackupOptions(stdin=source), context)
    assert time.monotonic() - started < 5
    assert not list((place.location / "snapshots").glob("*"))


def test_a_stream_is_one_file_of_the_snapshot(place: Place) -> None:
    command = (b"seq", b"1", b"300000")
    result = place.backup(paths=(), stdin=StdinSource(b"dumps/numbers.txt", command))
    with place.open() as repository:
        found = stored(repository)
        assert found.read(b"/dumps/numbers.txt") == b"".join(b"%d\n" % n for n in range(1, 300_001))
        assert found.root.paths == (b"/dumps/numbers.txt",)
    assert (result.files_new, result.bytes_total) == (1, result.bytes_read)


def test_the_file_is_told_where_somebody_asks(place: Place) -> None:
    source = StdinSource(b"dumps/x", (b"echo", b"something"))
    context = Context(place.told.append, Cancel(), place.clock, each_file=True)
    with place.open() as repository:
        backup(repository, BackupOptions(stdin=source), context)
    told = [event for event in place.told if isinstance(event, FileDone)]
    assert [(event.path, event.action, event.size) for event in told] == [(b"/dumps/x", "new", 10)]
    assert told[0].bytes_added >= 10


def test_a_command_that_fails_is_no_backup(place: Place) -> None:
    with pytest.raises(KluisError, match="exit status 3"):
        place.backup(paths=(), stdin=StdinSource(b"x", (b"sh", b"-c", b"echo half; exit 3")))
    assert not list((place.location / "snapshots").glob("*"))
