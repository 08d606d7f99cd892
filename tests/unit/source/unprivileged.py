"""Running a function as a user without rights, in a process of its own."""

from __future__ import annotations

import os
import pickle
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from kluis.source.openat import open_directory
from kluis.source.problem import Problem
from kluis.source.removing import remove

T = TypeVar("T")

NOBODY = 65534


def is_root() -> bool:
    return os.geteuid() == 0


def as_nobody(function: Callable[[], T]) -> T:
    """What `function` returns in a child process that has no rights, if we are root."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's threads
        child = os.fork()
    if child == 0:
        os.close(reading)
        _report_and_exit(function, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    succeeded, value = pickle.loads(answer)
    assert succeeded, value
    result: T = value
    return result


def _report_and_exit(function: Callable[[], object], writing: int) -> None:
    try:
        if is_root():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        answer = pickle.dumps((True, function()))
    except BaseException:  # noqa: BLE001 - all of it goes to the parent
        answer = pickle.dumps((False, traceback.format_exc()))
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)


def shared_folder(inside: Path | None = None) -> Iterator[Path]:
    """A folder that everybody may use, removed afterwards: for a fixture."""
    folder = Path(tempfile.mkdtemp(prefix="kluis-shared-", dir=inside))
    folder.chmod(0o777)
    yield folder
    remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Removes a folder of any depth: shutil.rmtree needs a stack frame a level."""
    problems: list[Problem] = []
    parent = open_directory(bytes(folder.parent))
    removed = remove(parent, bytes(folder)[len(bytes(folder.parent)) + 1 :], b"", problems.append)
    os.close(parent)
    assert removed, problems
