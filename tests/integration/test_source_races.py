"""A source that changes all the time is read to its end; what went wrong has a name."""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.integration.source_copy import read_tree

SLICE_REPORTS, SLICE_SECONDS = 30, 60
SOAK_REPORTS, SOAK_SECONDS = 500, 600
EXPECTED = {errno.ENOENT, errno.ESTALE, errno.ENOTDIR, errno.ELOOP, errno.EACCES}


def lay_out(top: Path) -> None:
    for folder in range(5):
        (top / f"d{folder}" / "deep" / "er").mkdir(parents=True, exist_ok=True)
        for number in range(10):
            path = top / f"d{folder}" / "deep" / f"f{number}"
            if path.is_symlink() or path.is_fifo():
                path.unlink()
            path.write_bytes(b"x" * number * 1000)


def remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def disturb(top: Path, chance: random.Random) -> None:
    """One change: vanish, shrink, grow, become something else, come back."""
    folder = top / f"d{chance.randrange(5)}"
    path = folder / "deep" / f"f{chance.randrange(10)}"
    action = chance.randrange(8)
    try:
        if action == 0:
            path.unlink()
        elif action == 1:
            os.truncate(path, chance.randrange(100))
        elif action == 2:
            path.unlink(missing_ok=chance.randrange(2) == 0)  # not into a fifo, that would wait
            path.write_bytes(b"y" * chance.randrange(20_000))
        elif action == 3:
            path.unlink()
            os.mkfifo(path)
        elif action == 4:
            path.unlink()
            path.symlink_to("/dev/zero")
        elif action == 5:
            remove(folder)
        elif action == 6:
            (folder / "deep").rename(top / "aside")
            (folder / "deep").symlink_to(top)
        else:
            remove(top / "aside")
        if chance.randrange(5) == 0:
            lay_out(top)
    except OSError:
        return


def test_races_are_reported_by_name_and_stop_nothing(
    tmp_path: Path, seed: int, trials: Callable[[int, int], int]
) -> None:
    lay_out(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's threads
        child = os.fork()
    if child == 0:
        chance = random.Random(seed)
        while os.getppid() != 1:
            disturb(tmp_path, chance)
        os._exit(0)
    before = len(os.listdir("/proc/self/fd"))
    reported = 0
    deadline = time.monotonic() + trials(SLICE_SECONDS, SOAK_SECONDS)
    try:
        while reported < trials(SLICE_REPORTS, SOAK_REPORTS):
            assert time.monotonic() < deadline, "nothing goes wrong: nothing is tested"
            copy = read_tree(bytes(tmp_path))
            reported += len(copy.problems)
            assert b"" in copy.folders
            for problem in copy.problems:
                assert problem.path.startswith(bytes(tmp_path))
                assert problem.errno in EXPECTED, problem
            time.sleep(0.001)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert len(os.listdir("/proc/self/fd")) == before
