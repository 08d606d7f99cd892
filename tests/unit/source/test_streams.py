"""Streams give every byte, and a command that fails is known to have failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kluis.errors import KluisError
from kluis.source.streams import CommandStream, StdinStream


def all_of(stream: CommandStream | StdinStream, window: int = 1000) -> bytes:
    buffer = memoryview(bytearray(window))
    parts = []
    while count := stream.read_into(buffer):
        parts.append(bytes(buffer[:count]))
        if count < window:
            assert stream.read_into(buffer) == 0
    return b"".join(parts)


def test_a_command_gives_all_that_it_prints() -> None:
    stream = CommandStream([b"seq", b"1", b"20000"])
    assert all_of(stream) == b"".join(b"%d\n" % n for n in range(1, 20001))
    stream.finish()
    stream.close()


def test_a_command_reads_nothing_from_us() -> None:
    stream = CommandStream([b"cat"])
    assert all_of(stream) == b""
    stream.finish()


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo half; exit 3", "exit status 3"), ("kill -9 $$", "SIGKILL"), ("exit 1", "status 1")],
)
def test_a_command_that_fails_is_an_error_that_says_how(script: str, words: str) -> None:
    stream = CommandStream([b"sh", b"-c", script.encode()])
    all_of(stream)
    with pytest.raises(KluisError, match=words):
        stream.finish()


@pytest.mark.parametrize("words", [[b"/no/such/command"], [b"a\0b"], [b""]])
def test_a_command_that_cannot_be_started_is_an_error(words: list[bytes]) -> None:
    with pytest.raises(KluisError, match="cannot be started"):
        CommandStream(words)


def is_running(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as status:
            return status.read().rsplit(b") ", 1)[1][:1] != b"Z"
    except FileNotFoundError:
        return False


def test_a_command_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    script = f"(trap '' PIPE; sleep 600) & echo $! > {tmp_path}/child; echo ready; wait"
    stream = CommandStream([b"sh", b"-c", script.encode()])
    assert stream.read_into(memoryview(bytearray(6))) == 6
    child = int((tmp_path / "child").read_text())
    assert is_running(child)
    stream.close()
    deadline = time.monotonic() + 5
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(child)


def test_a_command_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kluis.source.streams.PATIENCE_SECONDS", 0.2)
    stream = CommandStream([b"sh", b"-c", b"trap '' TERM; echo ready; while :; do sleep 1; done"])
    stream.read_into(memoryview(bytearray(6)))
    stream.close()
    with pytest.raises(KluisError, match=signal.Signals.SIGKILL.name):
        stream.finish()


def test_standard_input_is_read_to_its_end() -> None:
    script = (
        "from kluis.source.streams import StdinStream\n"
        "s = StdinStream(); b = memoryview(bytearray(10))\n"
        "n = [s.read_into(b) for _ in range(3)]; s.close(); s.close(); print(n)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script], input=b"x" * 15, capture_output=True, check=True
    )
    assert outcome.stdout == b"[10, 5, 0]\n"


def test_a_closed_standard_input_is_an_error_in_words() -> None:
    saved = os.dup(0)
    os.close(0)
    try:
        with pytest.raises(KluisError, match="standard input is closed"):
            StdinStream()
    finally:
        os.dup2(saved, 0)
        os.close(saved)
