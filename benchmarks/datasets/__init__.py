"""What the benchmarks back up, and how it changes by the next day.

A data set lies in a folder of its own with a manifest beside it (path, size, SHA-256 of every
file), whose digest stands in every result: two results with the same digest are about the
same bytes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.datasets.kept import SEED, Dataset, Prepared, manifest, prepared, walk
from benchmarks.datasets.made import MADE
from benchmarks.datasets.real import REAL

__all__ = ["ALL", "SEED", "Dataset", "Prepared", "manifest", "prepare", "walk"]

ALL: dict[str, Dataset] = {dataset.name: dataset for dataset in (*REAL, *MADE)}


def prepare(name: str, size_bytes: int, work: Path) -> Prepared:
    """The data set below `work`, made unless its manifest shows that it is there whole."""
    return prepared(ALL[name], size_bytes, work)
