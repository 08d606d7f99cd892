"""The paths of what lies in a folder of a snapshot, in the order of a walk, and nothing else.

A third of what `listing.Walk` costs, which makes an object of each entry.
"""

from __future__ import annotations

from collections.abc import Iterator

from kluis.errors import DamageError
from kluis.format.skim import Skimmed
from kluis.frozen import slotted
from kluis.repository.content import Content
from kluis.repository.listing import Walk


@slotted
class _Level:
    tree: Skimmed
    folders: Iterator[int]
    path_bytes: int
    done: int = 0


def paths_below(walk: Walk, path: bytes, content: Content, recursive: bool) -> Iterator[bytes]:
    """The path of each entry below the folder at `path`, each folder before what is in it.

    A folder that cannot be read goes to the walk's `losses`, and the walk goes on.
    """
    where = bytearray(path.rstrip(b"/"))
    levels = [_level(walk, where, content)]
    while levels:
        level = levels[-1]
        names = level.tree.names
        del where[level.path_bytes :]
        above = bytes(where) + b"/"
        folder = next(level.folders, None) if recursive else None
        end = len(names) if folder is None else folder + 1
        for name in names[level.done : end]:
            yield above + name
        level.done = end
        if folder is None:
            levels.pop()
        else:
            where += b"/" + names[folder]
            levels.append(_level(walk, where, Content(*level.tree.content(folder))))


def _level(walk: Walk, where: bytearray, content: Content) -> _Level:
    walk.cancel.check()
    try:
        listing = skimmed(walk, content)
    except DamageError as error:
        walk.losses.folder(bytes(where), walk.snapshot, error)
        listing = Skimmed()
    return _Level(listing, iter(listing.folders), len(where))


def skimmed(walk: Walk, content: Content) -> Skimmed:
    """The names in the tree that lies at `content`."""
    return Skimmed(walk.trees.data(content)) if content.extents else Skimmed()
