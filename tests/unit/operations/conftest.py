from __future__ import annotations

from pathlib import Path

import pytest

from tests.repositories import Place, make_place, small_tree


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with no snapshot, and a small source."""
    made = make_place(tmp_path)
    small_tree(made)
    return made
