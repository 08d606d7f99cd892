"""Snapshots that are alike in host, paths or tags, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from kluis.frozen import frozen
from kluis.options import GroupKey
from kluis.repository.catalog import Card
from kluis.repository.snapshots import Snapshot

T = TypeVar("T")


@frozen
class Group:
    """What the snapshots of a group have in common; what was not asked for is empty."""

    host: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[bytes, ...] = ()
    # For keys that do not read paths: equal where these are equal.
    path_group: bytes = b""

    def __lt__(self, other: Group) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[object, ...]:
        return self.host, self.tags, self.paths, self.path_group


def grouped(snapshots: Iterable[Snapshot], keys: Sequence[GroupKey]) -> dict[Group, list[Snapshot]]:
    """The snapshots by what they have in common, in the order given; groups are sorted."""
    return _grouped(snapshots, lambda item: _group(item, keys))


def grouped_cards(cards: Iterable[Card], keys: Sequence[GroupKey]) -> dict[Group, list[Card]]:
    """The same of what a list shows."""
    if not keys:
        return {Group(): found} if (found := list(cards)) else {}
    return _grouped(cards, lambda item: _group_of_card(item, keys))


def _grouped(items: Iterable[T], group: Callable[[T], Group]) -> dict[Group, list[T]]:
    found: dict[Group, list[T]] = {}
    for item in items:
        found.setdefault(group(item), []).append(item)
    return {one: found[one] for one in sorted(found)}


def _group(snapshot: Snapshot, keys: Sequence[GroupKey]) -> Group:
    facts, root = snapshot.facts, snapshot.root
    paths = root.paths if root is not None else ()
    return _common(
        keys, facts.host, facts.tags, paths, None if root is not None else facts.path_group
    )


def _group_of_card(card: Card, keys: Sequence[GroupKey]) -> Group:
    return _common(keys, card.info.host, card.info.tags, card.info.paths, card.path_group)


def _common(
    keys: Sequence[GroupKey],
    host: str,
    tags: tuple[str, ...],
    paths: tuple[bytes, ...],
    path_group: bytes | None,
) -> Group:
    by_paths = "paths" in keys
    return Group(
        host if "host" in keys else "",
        tuple(sorted(tags)) if "tags" in keys else (),
        tuple(sorted(paths)) if by_paths else (),
        path_group or b"" if by_paths else b"",
    )
