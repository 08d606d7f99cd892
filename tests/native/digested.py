"""What tests of the kernel for digests share."""

from __future__ import annotations

from typing import Any

import pytest

from kluis._native import digests
from kluis._native.twins import digests as twin
from kluis.format.tree import FILE, Entry

both = pytest.mark.parametrize("module", [digests, twin], ids=["native", "twin"])
PLENTY = 1 << 20
RUNS = [bytes([n]) * 16 for n in (1, 2)]
LARGEST = 0xFFFFFFFF


def entry_of(**given: Any) -> Entry:
    fields: dict[str, Any] = {"name": b"n", "kind": FILE, "mode": 0, "uid": 0, "gid": 0, "size": 0}
    return Entry(**(fields | {"mtime_s": 0, "mtime_ns": 0} | given))
