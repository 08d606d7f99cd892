"""What the tests of the source share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.source.unprivileged import shared_folder


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may use."""
    yield from shared_folder()
