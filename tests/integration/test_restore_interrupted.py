"""A restore that was killed, cancelled or ran out of space, and the one after it."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from kluis.errors import NoSpaceError
from kluis.operations.restore import restore
from kluis.options import OverwriteRule, RestoreOptions
from kluis.results import RestoreResult
from scripts.treecompare import compare
from tests import datasets
from tests.repositories import Place, make_place

MOST_KILLS = 60


def restored(
    place: Place, target: Path, overwrite: OverwriteRule = "always", **options: object
) -> RestoreResult:
    wanted = RestoreOptions(
        path=place.path(),
        target=bytes(target),
        overwrite=overwrite,
        **options,  # type: ignore[arg-type]
    )
    with place.open() as repository:
        return restore(repository, wanted, place.context())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = make_place(tmp_path)
    datasets.office(made.source / "office", seed=3, scale=0.15)
    datasets.tiny_files(made.source / "mail", 1200, seed=4)
    datasets.odd_entries(made.source / "odd", privileged=False)
    made.backup()
    return made


def started(place: Place, target: Path) -> int:
    """A process that restores into the target."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside xdist's threads
        child = os.fork()
    if child == 0:
        restored(place, target)
        os._exit(0)
    return child


def assert_nothing_false(place: Place, target: Path) -> None:
    """Whatever has size and time of the original has its bytes: so that resuming may trust it."""
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink():
            original = place.source / path.relative_to(target)
            one, other = path.stat(), original.stat()
            if (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns):
                assert path.read_bytes() == original.read_bytes(), path


@pytest.mark.parametrize("overwrite", ["always", "if-changed"])
def test_a_killed_restore_goes_on_where_it_stopped(
    place: Place,
    tmp_path: Path,
    seed: int,
    trials: Callable[[int, int], int],
    overwrite: OverwriteRule,
) -> None:
    source = random.Random(seed)
    begun = time.monotonic()
    restored(place, tmp_path / "whole")
    whole_seconds = time.monotonic() - begun
    partly, number = 0, 0
    while number < trials(6, 200) or (partly < 2 and number < MOST_KILLS):
        target = tmp_path / f"out {number}"
        child = started(place, target)
        time.sleep(source.uniform(0.1, 0.9) * whole_seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert_nothing_false(place, target)
        result = restored(place, target, overwrite)
        assert result.exit_status == 0
        partly += bool(result.files_unchanged and result.files_restored)
        # How long a restore takes here is learned: earlier if it was over, later if not begun.
        whole_seconds *= 1 if result.files_restored else 0.8
        whole_seconds *= 1 if result.files_unchanged else 1.25
        found = compare(place.source, target)
        assert found.same, found.differences
        number += 1
    assert partly >= 2


def fill_a_medium(place: Place, medium: Path) -> None:
    """Restores to a real file system of 3 MB, and on once it has room; needs a name space.

    Users other than root are unknown there, so without what belongs to them.
    """
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", medium], check=True)
    target, wanted = medium / "out", (b"office", b"mail")
    with pytest.raises(NoSpaceError, match="space") as told:
        restored(place, target, include=wanted)
    assert "repeat the command" in str(told.value)
    there = [path for path in target.rglob("*") if path.is_file()]
    assert there
    for path in there:
        assert path.read_bytes() == (place.source / path.relative_to(target)).read_bytes()
    subprocess.run(["mount", "-o", "remount,size=300m", medium], check=True)
    result = restored(place, target, include=wanted)
    assert result.problems == ()
    assert result.files_unchanged == len(there)
    for name in ("office", "mail"):
        found = compare(place.source / name, target / name)
        assert found.same, found.differences


def test_a_full_target_is_told_and_gone_on_with(place: Place, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.mkdir()
    script = (
        "import sys; from pathlib import Path; from tests.repositories import Place; "
        "from tests.integration.test_restore_interrupted import fill_a_medium; "
        "fill_a_medium(Place(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", script, tmp_path, medium],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr


def test_a_file_that_is_too_large_for_the_target_is_named(place: Place, tmp_path: Path) -> None:
    """As a file of more than 4 GB is on FAT: the rest is restored."""
    place.write("giant", os.urandom(6_000_000))
    place.backup()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, limits[1]))
    try:
        result = restored(place, tmp_path / "out", include=(b"giant", b"mail"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [problem.path for problem in result.problems] == [bytes(tmp_path / "out/giant")]
    assert result.exit_status == 3
    assert not (tmp_path / "out/giant").exists()
    assert result.files_restored == 1200
