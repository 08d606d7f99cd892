"""Ls: what is in a snapshot, by whole paths."""

from __future__ import annotations

from collections.abc import Iterator

from kluis.events import Context
from kluis.format import tree
from kluis.format.tree import Entry
from kluis.listing import ListedEntry
from kluis.options import LsOptions
from kluis.repository.access import Repository
from kluis.repository.listing import (
    Losses,
    Readers,
    Visited,
    Walk,
    everywhere,
    locate,
    parts_of,
    root_of,
)
from kluis.repository.pathwalk import paths_below
from kluis.repository.selection import describe, pick
from kluis.repository.snapshots import Snapshot
from kluis.repository.trees import content_of, root_content
from kluis.results import LsResult


def ls(repository: Repository, options: LsOptions, context: Context) -> LsResult:
    """The entries that are meant; `NotFoundError` at once if a path is not in the snapshot."""
    snapshot = pick(repository, options.snapshot, options.filter)
    trees, root = Readers(repository, context).of(snapshot), root_of(snapshot)
    top = locate(trees, root, options.path)
    places = [
        locate(trees, root, b"/".join((options.path, *parts_of(path)))) for path in options.paths
    ]
    losses = Losses()
    walk = Walk(trees, losses, context.cancel, snapshot.id())
    if options.paths:
        entries = _in_places(walk, snapshot, places, options.recursive)
        paths: Iterator[bytes] = (visited.path for visited in entries)
    else:
        entries = _below(walk, snapshot, top, options.recursive)
        paths = _paths(walk, snapshot, top, options.recursive)
    info = describe(repository, [snapshot])[0]
    return LsResult(info, _told(entries, losses), paths=_all(paths, losses))


def _told(entries: Iterator[Visited], losses: Losses) -> Iterator[ListedEntry]:
    for visited in entries:
        yield visited.listed()
    losses.raise_any()


def _all(paths: Iterator[bytes], losses: Losses) -> Iterator[bytes]:
    yield from paths
    losses.raise_any()


def _paths(walk: Walk, snapshot: Snapshot, top: Visited | None, recursive: bool) -> Iterator[bytes]:
    """The paths of what `_below` gives."""
    if top is None:
        return paths_below(walk, b"", root_content(root_of(snapshot)), recursive)
    if top.entry.kind == tree.DIRECTORY:
        return paths_below(walk, top.path, content_of(top.entry), recursive)
    return iter((top.path,))


def _below(
    walk: Walk, snapshot: Snapshot, top: Visited | None, recursive: bool
) -> Iterator[Visited]:
    """What lies below a folder; a file stands for itself."""
    enter = everywhere if recursive else _nowhere
    if top is None:
        yield from walk.below(b"", root_content(root_of(snapshot)), enter)
    elif top.entry.kind == tree.DIRECTORY:
        yield from walk.below(top.path, content_of(top.entry), enter)
    else:
        yield top


def _in_places(
    walk: Walk, snapshot: Snapshot, places: list[Visited | None], recursive: bool
) -> Iterator[Visited]:
    """Each place and what lies in it; one within another is listed once."""
    done: list[bytes] = []
    for place in sorted(places, key=lambda item: item.path if item is not None else b""):
        path = place.path if place is not None else b""
        if path in done or (recursive and any(_lies_in(path, folder) for folder in done)):
            continue
        done.append(path)
        if place is not None and path.rpartition(b"/")[0] not in done:
            yield place
        if place is None or place.entry.kind == tree.DIRECTORY:
            yield from _below(walk, snapshot, place, recursive)


def _lies_in(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder + b"/")


def _nowhere(path: bytes, entry: Entry) -> bool:  # noqa: ARG001 - as `Enter` wants it
    return False
