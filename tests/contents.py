"""What a snapshot holds and what a folder holds, in a form in which the two can be compared.

Read through the trees and frames, every chunk checked, without `restore`: an error of one
does not hide the same error of the other.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from kluis.errors import DamageError
from kluis.format import tree
from kluis.format.names import base32, from_base32
from kluis.format.tree import Entry
from kluis.repository.access import Repository
from kluis.repository.content import Content
from kluis.repository.snapshots import load
from kluis.repository.trees import TreeReader, content_of, open_trees, root_content

SECOND_NS = 1_000_000_000

# (kind, permission bits, owner, group, time of change, size, content digest or link's target)
Facts: TypeAlias = tuple[str, int, int, int, int, int, bytes]
Contents: TypeAlias = dict[bytes, Facts]

_KINDS = {
    tree.FILE: "file",
    tree.DIRECTORY: "folder",
    tree.SYMLINK: "link",
    tree.FIFO: "fifo",
}
_SYSTEM_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
}


def contents(repository: Repository, snapshot: str, below: bytes = b"") -> Contents:
    """Each path of a snapshot under `below`; DamageError if anything of it cannot be read."""
    return all_contents(repository, [snapshot], below)[snapshot]


def salvage(
    repository: Repository, snapshot: str, below: bytes = b""
) -> tuple[Contents, dict[bytes, str]]:
    """What of a snapshot can be read, and the paths that cannot, each with the reason.

    A folder that cannot be listed stands for all that lies in it.
    """
    return _read(repository, snapshot, below, open_trees(repository, repository.session.home().id))


def _read(
    repository: Repository, snapshot: str, below: bytes, trees: TreeReader
) -> tuple[Contents, dict[bytes, str]]:
    run = from_base32(snapshot, 16)
    opened = load(repository, repository.ledger.require(run), 0)
    assert opened.root is not None
    found: Contents = {}
    lost: dict[bytes, str] = {}
    pending: list[tuple[bytes, Content]] = [(b"", root_content(opened.root))]
    while pending:
        folder, content = pending.pop()
        try:
            entries = trees.tree(content).entries
        except DamageError as error:
            lost[folder or b"/"] = str(error)
            continue
        for entry in entries:
            path = folder + b"/" + entry.name
            if entry.kind == tree.DIRECTORY and is_on_the_way(path, below):
                pending.append((path, content_of(entry)))
            if path == below or path.startswith(below + b"/"):
                try:
                    found[path] = _recorded(trees, entry)
                except DamageError as error:
                    lost[path] = str(error)
    return found, lost


def is_on_the_way(path: bytes, below: bytes) -> bool:
    """Whether a folder leads to `below` or lies in it."""
    return path == below or path.startswith(below + b"/") or below.startswith(path + b"/")


def on_disk(folder: Path) -> Contents:
    """Each path of a folder on this machine, itself included, as `contents` gives them."""
    top = os.fsencode(folder)
    found: Contents = {top: _stated(top)}
    for where, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(where, name)
            found[path] = _stated(path)
    return found


def live(repository: Repository) -> list[str]:
    """The ids of all snapshots that count and are not forgotten, oldest first."""
    marks = sorted(repository.ledger.state.live.values(), key=lambda mark: mark.counted)
    return [base32(mark.run) for mark in marks]


def all_contents(
    repository: Repository, snapshots: Iterable[str], below: bytes
) -> dict[str, Contents]:
    """`contents` of several snapshots, which share what was read."""
    trees = open_trees(repository, repository.session.home().id)
    result = {}
    for snapshot in snapshots:
        result[snapshot], lost = _read(repository, snapshot, below, trees)
        if lost:
            path, reason = next(iter(lost.items()))
            raise DamageError(f"{path!r} of {snapshot} cannot be read: {reason}")
    return result


def _recorded(trees: TreeReader, entry: Entry) -> Facts:
    digest = b""
    size = 0
    if entry.kind == tree.FILE:
        hasher = hashlib.blake2b(digest_size=16)
        for piece in trees.stream(content_of(entry)):
            hasher.update(piece)
            size += len(piece)
        assert size == entry.size
        digest = hasher.digest()
    elif entry.kind == tree.SYMLINK:
        digest = entry.link
    moment = entry.mtime_s * SECOND_NS + entry.mtime_ns
    return _KINDS[entry.kind], entry.mode, entry.uid, entry.gid, moment, size, digest


def _stated(path: bytes) -> Facts:
    status = os.lstat(path)
    kind = _SYSTEM_KINDS[stat.S_IFMT(status.st_mode)]
    digest = b""
    size = 0
    if kind == "file":
        with open(path, "rb") as file:
            data = file.read()
        size, digest = len(data), hashlib.blake2b(data, digest_size=16).digest()
    elif kind == "link":
        digest = os.readlink(path)
    mode = stat.S_IMODE(status.st_mode)
    return kind, mode, status.st_uid, status.st_gid, status.st_mtime_ns, size, digest
