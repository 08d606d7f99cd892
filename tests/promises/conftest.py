"""What every promise's tests share: a source that counts as old, so that caches are believed."""

from __future__ import annotations

import pytest

from kluis.operations.archiving import basis

FAR_AHEAD_NS = -3600 * 1_000_000_000


@pytest.fixture(autouse=True)
def an_old_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file written a moment ago counts as unchanged, as it would a minute later.

    Without it every run would read every file again, and no cache would ever be believed.
    """
    monkeypatch.setattr(basis, "RACY_NS", FAR_AHEAD_NS)
