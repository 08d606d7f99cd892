"""What a restore may take of the machine, and what others may do meanwhile."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kluis.events import Context, Event, Stage, Warning_
from kluis.operations.forget import forget
from kluis.operations.prune import prune
from kluis.operations.restore import restore
from kluis.options import ForgetOptions, Limit, PruneOptions, RestoreOptions
from kluis.results import RestoreResult
from tests.integration.source_copy import portrait
from tests.repositories import HOUR_NS, START_NS, Place, make_place

MEMORY_LIMIT_MIB = 128
OPEN_FILES = 100
MEASURED = """
import re, sys
from pathlib import Path
from tests.integration.test_restore_limits import restored
from tests.repositories import Place
result = restored(Place(Path(sys.argv[1])), Path(sys.argv[2]))
assert result.exit_status == 0, result.problems or result.damages
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def restored(
    place: Place, target: Path, listen: Callable[[Event], None] | None = None, **options: object
) -> RestoreResult:
    wanted = RestoreOptions(path=place.path(), target=bytes(target))
    wanted = replace(wanted, **options)  # type: ignore[arg-type]
    context = place.context()
    if listen is not None:
        context = Context(listen, context.cancel, place.clock)
    with place.open() as repository:
        return restore(repository, wanted, context)


def memory_of(place: Place, target: Path) -> int:
    """MiB that a process which does nothing but restore had resident at most."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, place.folder, target],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_memory_is_bounded_whatever_is_restored(tmp_path: Path) -> None:
    """Files of many frames, many small ones, and a pack that has to be rebuilt meanwhile."""
    place = make_place(tmp_path)
    place.write("film", os.urandom(50_000_000))
    place.write("zeros and ones", bytes(30_000_000) + b"\1" * 30_000_000)
    for number in range(9_000):
        place.write(f"mail/{number % 30}/{number}", b"%d\n" % number * 40)
    place.backup()
    pack = max(place.location.rglob("packs/*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[1_000_000] ^= 1
    pack.chmod(stat.S_IRUSR | stat.S_IWUSR)
    pack.write_bytes(data)
    assert memory_of(place, tmp_path / "out") < MEMORY_LIMIT_MIB
    assert memory_of(place, tmp_path / "out") < MEMORY_LIMIT_MIB
    assert (tmp_path / "out/film").read_bytes() == (place.source / "film").read_bytes()


@pytest.fixture
def deep_folder() -> Iterator[Path]:
    """Removed afterwards whatever happened: pytest cannot remove folders that are so deep."""
    folder = Path(tempfile.mkdtemp(prefix="kluis-deep-"))
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def test_ten_thousand_levels_of_folders_are_restored(deep_folder: Path) -> None:
    """Without recursion, and with few descriptors, though no call takes such a path."""
    place = make_place(deep_folder)
    levels = 10_000
    at = os.open(place.source, os.O_RDONLY)
    for level in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.fchmod(below, 0o700 + level % 8)
        os.close(at)
        at = below
    bottom = os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    os.fchmod(bottom, 0o640)
    os.close(bottom)
    os.close(at)
    place.backup()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + OPEN_FILES, limits[1]))
    try:
        result = restored(place, deep_folder / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (result.problems, result.damages) == ((), ())
    assert (result.dirs_restored, result.files_restored) == (levels + 1, 1)
    assert walk_down(deep_folder / "out") == levels


def walk_down(top: Path) -> int:
    """How many levels there are, each with its mode, and the file at the end."""
    at, level = os.open(top, os.O_RDONLY), 0
    while "d" in os.listdir(at):
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        assert stat.S_IMODE(os.fstat(at).st_mode) == 0o700 + level % 8
        level += 1
    assert os.listdir(at) == ["bottom"]
    assert stat.S_IMODE(os.stat("bottom", dir_fd=at).st_mode) == 0o640
    os.close(at)
    return level


def test_a_collector_that_moves_frames_meanwhile_is_followed(tmp_path: Path) -> None:
    """Between the reading of the index and the first frame, frames go to other packs."""
    place = make_place(tmp_path)
    for number in range(30):
        place.write(f"small/{number}", os.urandom(60_000))
    place.write("large", os.urandom(3_000_000))
    gone = place.backup(START_NS).snapshot_id
    for number in range(0, 30, 2):
        (place.source / f"small/{number}").unlink()
    place.backup(START_NS + HOUR_NS)
    told: list[Event] = []

    def prune_once(event: Event) -> None:
        told.append(event)
        if event == Stage("restoring"):
            before = set(place.location.rglob("packs/*/*"))
            with place.open(cache="other") as repository:
                forget(repository, ForgetOptions(ids=(gone,)), place.context())
            with place.open(cache="other") as repository:
                options = PruneOptions(max_unused=Limit(size=0), now=True)
                prune(repository, options, place.context())
            assert before - set(place.location.rglob("packs/*/*"))

    result = restored(place, tmp_path / "out", prune_once)
    assert (result.problems, result.damages, result.exit_status) == ((), (), 0)
    assert portrait(bytes(tmp_path / "out")) == portrait(bytes(place.source))
    assert not [event for event in told if isinstance(event, Warning_)]
