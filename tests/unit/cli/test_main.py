"""The process as scripts see it: exit codes, streams, signals, how fast it starts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START_UP_LIMIT_SECONDS = 0.15

KLUIS = (sys.executable, "-m", "kluis_cli")


def kluis(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KLUIS, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **settings},
        timeout=30,
        check=False,
    )


def test_version_is_printed_and_quick() -> None:
    def once() -> float:
        start = time.monotonic()
        done = kluis("--version")
        assert done.returncode == 0
        assert re.fullmatch(r"kluis \d+\.\d+\S*\n", done.stdout)
        return time.monotonic() - start

    # Other work on the machine can only make it slower, so one quick start is the truth.
    assert any(once() <= START_UP_LIMIT_SECONDS for _ in range(30))


def test_without_words_help_is_printed() -> None:
    done = kluis()
    assert done.returncode == 0
    assert done.stdout == kluis("--help").stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("frobnicate", 2, "frobnicate"),
        ("backup --frobnicate", 2, "--frobnicate"),
        ("-q", 2, "verb"),
        ("verify --level 3", 2, "--level"),
        ("restore latest", 2, "--target"),
        ("snapshots", 10, "KLUIS_REPOSITORY"),
        ("snapshots -r x --password-file /no/such/file", 12, "/no/such/file"),
        ("snapshots -r x --password-command false", 12, "false"),
        ("backup -r x", 2, "path"),
        ("backup -r x /a --exclude-file /no/such/file", 1, "/no/such/file"),
    ],
)
def test_refusals_have_a_code_and_words(words: str, status: int, said: str) -> None:
    done = kluis(*words.split())
    assert done.returncode == status
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.startswith("kluis: ")
    assert "Traceback" not in done.stderr


def test_with_json_a_refusal_is_an_event() -> None:
    for words in (["--json", "frobnicate"], ["snapshots", "--json"]):
        done = kluis(*words)
        (event,) = (json.loads(line) for line in done.stdout.splitlines())
        assert (event["schema"], event["message_type"], event["fatal"]) == (1, "error", True)
        assert event["exit_status"] == done.returncode
        assert event["message"] in done.stderr


def test_the_json_of_a_command_behind_two_dashes_is_its_own() -> None:
    done = kluis("backup", "--stdin-filename", "x", "--", "--json")
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_closed_pipe_ends_quietly() -> None:
    done = subprocess.run(
        ["bash", "-c", f'{" ".join(KLUIS)} completion bash | head -1; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


def test_a_full_disk_behind_standard_output_is_a_failure() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*KLUIS, "completion", "bash"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_work_begins_is_code_130(number: int, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = f"sh -c 'touch {ready}; exec sleep 20'"
    process = subprocess.Popen(
        [*KLUIS, "snapshots", "-r", str(tmp_path), "--password-command", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    # The command holds standard error too: communicate() returns once nothing runs any more.
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert out == b""
    assert b"cancelled" in err


EARLY = """
import os, signal, sys
module = sys.argv.pop(1)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from kluis_cli.start import main
sys.exit(main())
"""
LOADED = ("kluis_cli.main", "kluis.errors", "kluis_cli.output", "kluis_cli.parser", "argparse")


@pytest.mark.parametrize("module", LOADED)
def test_an_interrupt_while_modules_load_is_one_line(module: str) -> None:
    words = [sys.executable, "-c", EARLY, module, "snapshots"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 130
    assert done.stderr.count(b"\n") == 1
    assert b"cancelled" in done.stderr


def test_an_interrupt_that_the_caller_ignores_stays_ignored() -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + EARLY
    words = [sys.executable, "-c", code, "kluis_cli.main", "--version"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


CANCELS = """
import sys, time
from argparse import Namespace
from kluis.errors import CancelledError
from kluis_cli.output import Output
from kluis_cli.session import Session
session = Session(Namespace(), Output(sys.stdout.buffer, sys.stderr.buffer, as_json=False,
                                      verbosity=0), {})
with session.context() as context:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if "deaf" not in sys.argv:
            try:
                context.cancel.check()
            except CancelledError as error:
                sys.exit(error.exit_status)
        elif context.cancel.is_set():
            print("asked", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_work_asks_it_to_stop(number: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", CANCELS], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", CANCELS, "deaf"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"asked\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
