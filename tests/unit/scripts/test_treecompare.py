"""The comparison that the demo and the benchmarks trust sees every kind of difference."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.treecompare import compare
from tests import datasets


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with one of each kind of entry, and an exact copy."""
    left, right = tmp_path / "left", tmp_path / "right"
    datasets.odd_entries(left, privileged=False)
    subprocess.run(["cp", "-a", left, right], check=True)
    return left, right


def flip(folder: Path) -> None:
    path = folder / "first name"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def later(folder: Path) -> None:
    path = folder / "empty"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def unlink_one_name(folder: Path) -> None:
    path = folder / "second name"
    path.unlink()
    shutil.copy2(folder / "first name", path)


def retarget(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("second name")


def replace_fifo(folder: Path) -> None:
    (folder / "fifo").unlink()
    (folder / "fifo").touch()


DIFFERENCES: dict[str, Callable[[Path], None]] = {
    "content differs from byte 87999": flip,
    "empty: mtime": later,
    "read only: mode": lambda folder: (folder / "read only").chmod(0o600),
    "hard links differ": unlink_one_name,
    "link: points elsewhere": retarget,
    "fifo: another kind": replace_fifo,
    "user.empty": lambda folder: os.removexattr(folder / "attributes", "user.empty"),
    "posix_acl_default": lambda folder: os.removexattr(
        folder / "shared", "system.posix_acl_default"
    ),
    "only in the source": lambda folder: (folder / "empty").unlink(),
    "only in the restored": lambda folder: (folder / "new").touch(),
}


def test_an_exact_copy_has_no_difference(pair: tuple[Path, Path]) -> None:
    result = compare(*pair)
    assert result.differences == []
    assert result.files == 9
    assert result.hard_links == 1


@pytest.mark.parametrize("sentence", DIFFERENCES)
def test_every_difference_is_seen_and_named(pair: tuple[Path, Path], sentence: str) -> None:
    DIFFERENCES[sentence](pair[1])
    assert any(sentence in found for found in compare(*pair).differences)


def test_what_was_not_asked_for_is_not_compared(pair: tuple[Path, Path]) -> None:
    later(pair[1])
    (pair[1] / "read only").chmod(0o600)
    assert compare(*pair, frozenset({"content", "xattrs"})).same
