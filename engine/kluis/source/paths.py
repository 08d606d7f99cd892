"""Paths as bytes: made absolute by their words alone, and gathered into one tree."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field

from kluis.errors import UsageError

NAME_LIMIT_BYTES = 255


def absolute(path: bytes, folder: bytes | None = None) -> bytes:
    """`path` below `folder`, without `.`, `..` and slashes at the end; links are not looked at.

    None means the working directory. Raises `UsageError` for what no system takes as a path.
    """
    if b"\0" in path:
        name = path.decode("utf-8", "backslashreplace").replace("\0", "\\0")
        raise UsageError(
            f"{name} holds a zero byte, which no path can hold; nothing was done. Next: look at "
            "where that path comes from; a list made by find -print0 needs --files-from0"
        )
    if not path.startswith(b"/"):
        path = (os.getcwdb() if folder is None else folder) + b"/" + path
    cleaned = posixpath.normpath(path)
    return b"/" + cleaned.lstrip(b"/")


def joined(folder: bytes, name: bytes) -> bytes:
    """The path of `name` in `folder`; an empty name means the folder itself."""
    if not name:
        return folder
    return folder + name if folder.endswith(b"/") else folder + b"/" + name


@dataclass(slots=True)
class Wanted:
    """A directory on the way to what was asked for, or (`whole`) what was asked for itself."""

    whole: bool = False
    below: dict[bytes, Wanted] = field(default_factory=dict)


def gather(paths: Iterable[bytes]) -> Wanted:
    """The given absolute paths as one tree from `/`; what lies in another of them is dropped."""
    root = Wanted()
    for path in paths:
        node = root
        for name in path.split(b"/"):
            if node.whole:
                break
            if name:
                node = node.below.setdefault(name, Wanted())
        else:
            node.whole = True
            node.below.clear()
    return root


def asked_for(node: Wanted, path: bytes) -> list[bytes]:
    """All paths at and below `node` that were asked for, by the path of the node itself."""
    found = []
    pending = [(path, node)]
    while pending:
        at, current = pending.pop()
        if current.whole:
            found.append(at)
        pending += [(joined(at, name), child) for name, child in current.below.items()]
    return sorted(found)
