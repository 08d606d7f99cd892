"""How the demo tells what it does: headings, commands with their output and cost, facts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MARGIN = "    "


class NotAsToldError(Exception):
    """Something happened that the story says does not."""


@dataclass(frozen=True)
class Outcome:
    """What one command gave back and what it cost."""

    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int

    @property
    def text(self) -> str:
        """All that it said."""
        return self.stdout + self.stderr


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return (
                f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:.2f} GB"


class Story:
    """Tells, runs and checks; stops with `NotAsToldError` at the first thing that differs."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.began = time.monotonic()
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """Begins a numbered part."""
        self._chapter += 1
        print(f"\n{self._chapter}. {title}", flush=True)

    def say(self, text: str) -> None:
        """One line of the story."""
        print(_MARGIN + text, flush=True)

    def check(self, what: str, holds: bool, detail: str = "") -> None:
        """States a fact that has just been looked at."""
        if not holds:
            raise NotAsToldError(f"{what}: this does not hold. {detail}")
        self.say(f"ok: {what}")

    def run(self, *command: str, code: int = 0, show: int = 5, shown: str = "") -> Outcome:
        """Runs a command, which must end with `code`; prints it and its first `show` lines."""
        print(f"{_MARGIN}$ {shown or ' '.join(_quoted(word) for word in command)}", flush=True)
        outcome, status = _measured(command, self.environment)
        lines = [line.rstrip() for line in outcome.text.splitlines() if line.strip()]
        for line in lines[:show]:
            print(f"{_MARGIN}  {line}")
        if len(lines) > show > 0:
            print(f"{_MARGIN}  ... {len(lines) - show} more lines")
        if status != code:
            raise NotAsToldError(
                f"`{' '.join(command)}` ended with {status}, not {code}; it said:\n{outcome.text}"
            )
        return outcome


def tell(main: Callable[[], None]) -> None:
    """Runs `main` as a program: 0 if all was as told, else 1 with the reason as the last words."""
    try:
        main()
    except NotAsToldError as error:
        sys.stdout.flush()
        print(f"\nNOT AS TOLD: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _quoted(word: str) -> str:
    return f"'{word}'" if any(c in word for c in " *?'") else word


def _in_memory(name: str) -> BinaryIO:
    """A file for what a command says that touches no folder, so that none looks changed."""
    return os.fdopen(os.memfd_create(name), "w+b")


def _measured(command: tuple[str, ...], environment: dict[str, str]) -> tuple[Outcome, int]:
    began = time.monotonic()
    with _in_memory("stdout") as out, _in_memory("stderr") as err:
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "backslashreplace"))
    return Outcome(texts[0], texts[1], seconds, usage.ru_maxrss * 1024), child.returncode


def folder_size(folder: Path, holes: bool = True) -> tuple[int, int]:
    """(files, bytes) below a folder, a file of several names counted once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            entry = os.lstat(os.path.join(path, name))
            if (entry.st_dev, entry.st_ino) not in seen:
                seen.add((entry.st_dev, entry.st_ino))
                total += entry.st_size if holes else min(entry.st_size, entry.st_blocks * 512)
    return len(seen), total
