"""What every test can ask for: how often to try, from which seed, and a clean environment."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import hypothesis
import pytest

DEFAULT_SEED = 20260131
_CACHES = itertools.count(1)  # another test is another client

# The slice is the same on every run, so a red CI is red on any machine; the soak looks further.
hypothesis.settings.register_profile(
    "slice", max_examples=60, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("soak", max_examples=5000, deadline=None, print_blob=True)
hypothesis.settings.load_profile("slice")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="the full trial numbers: hours")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--soak"):
        hypothesis.settings.load_profile("soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked soak, unless it was asked for."""
    if config.getoption("--soak"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No KLUIS_ variable of the caller reaches a test, and no cache of the caller is touched."""
    for name in list(os.environ):
        if name.startswith("KLUIS_") and name not in ("KLUIS_SANITIZE", "KLUIS_SEED"):
            monkeypatch.delenv(name)
    cache = tmp_path_factory.getbasetemp() / f"cache-{next(_CACHES)}"
    monkeypatch.setenv("KLUIS_CACHE_DIR", str(cache))


@pytest.fixture
def seed() -> int:
    """The seed of this run: the same each time, unless KLUIS_SEED gives another."""
    return int(os.environ.get("KLUIS_SEED", DEFAULT_SEED))


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`trials(slice, soak)`: how many to run, by whether this is `make soak`."""
    soak = bool(request.config.getoption("--soak"))
    return lambda in_slice, in_soak: in_soak if soak else in_slice
