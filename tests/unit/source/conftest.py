"""What the tests of the source share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.source.restoring import Restoring
from tests.unit.source.unprivileged import shared_folder


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may use."""
    yield from shared_folder()


@pytest.fixture
def deep() -> Iterator[Path]:
    """A folder for very deep trees, in memory where there is such a place: a disk is slow there."""
    memory = Path("/dev/shm")
    yield from shared_folder(memory if os.access(memory, os.W_OK) else None)


@pytest.fixture
def restoring(tmp_path: Path) -> Iterator[Restoring]:
    started = Restoring(tmp_path / "target")
    with started.target:
        yield started


@pytest.fixture
def privileged(tmp_path: Path) -> Iterator[Restoring]:
    started = Restoring(tmp_path / "target", privileged=True)
    with started.target:
        yield started
