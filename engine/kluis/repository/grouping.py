"""Snapshots that are alike in host, paths or tags, together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kluis.options import GroupKey
from kluis.repository.snapshots import Snapshot


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What the snapshots of a group have in common; what was not asked for is empty."""

    host: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[bytes, ...] = ()
    # For keys that do not read paths: equal where these are equal.
    path_group: bytes = b""


def grouped(snapshots: Iterable[Snapshot], keys: Sequence[GroupKey]) -> dict[Group, list[Snapshot]]:
    """The snapshots by what they have in common, in the order given; groups are sorted."""
    found: dict[Group, list[Snapshot]] = {}
    for snapshot in snapshots:
        found.setdefault(_group(snapshot, keys), []).append(snapshot)
    return {group: found[group] for group in sorted(found)}


def _group(snapshot: Snapshot, keys: Sequence[GroupKey]) -> Group:
    facts, root = snapshot.facts, snapshot.root
    by_paths = "paths" in keys
    return Group(
        facts.host if "host" in keys else "",
        tuple(sorted(facts.tags)) if "tags" in keys else (),
        tuple(sorted(root.paths)) if by_paths and root is not None else (),
        facts.path_group if by_paths and root is None else b"",
    )
