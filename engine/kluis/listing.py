"""What can be listed: snapshots, their entries, keys."""

from __future__ import annotations

from typing import Literal, TypeAlias

from kluis.frozen import frozen

EntryKind: TypeAlias = Literal["file", "dir", "symlink", "fifo", "socket", "chardev", "blockdev"]


@frozen
class SnapshotInfo:
    """One snapshot as a list shows it."""

    id: str
    short_id: str
    """The shortest prefix, of 4 characters or more, that no other snapshot has."""
    time_ns: int
    """The time that it says of itself: any that was given, or that of its client's clock."""
    host: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[bytes, ...] = ()
    description: str = ""
    user: str = ""
    dataset: str = ""
    held: bool = False
    incomplete: bool = False
    """Some files could not be read, or were lost since."""
    files: int = 0
    dirs: int = 0
    size: int = 0
    bytes_added: int = 0
    parent: str | None = None
    replaces: str | None = None
    forgotten_ns: int | None = None
    counted_ns: int | None = None
    """The time that rules go by and lists are sorted by, where that is another one."""


@frozen
class ListedEntry:
    """One file, folder or other thing in a snapshot; `path` is whole and begins with a slash."""

    path: bytes
    kind: EntryKind
    mode: int
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    atime_ns: int | None = None
    birth_ns: int | None = None
    inode: int = 0
    links: int = 1
    target: bytes = b""
    device: int = 0


@frozen
class SnapshotGroup:
    """Snapshots that are alike in what they were grouped by; the other fields are empty."""

    snapshots: tuple[SnapshotInfo, ...]
    host: str = ""
    tags: tuple[str, ...] = ()
    paths: tuple[bytes, ...] = ()


@frozen
class FoundEntry:
    """A match, and the pack that it was searched by, if any."""

    snapshot: SnapshotInfo
    entry: ListedEntry
    pack: str = ""


@frozen
class DiffChange:
    """One path that differs; `old` or `new` is None where it is missing."""

    path: bytes
    change: Literal["added", "removed", "content", "type", "metadata"]
    old: ListedEntry | None
    new: ListedEntry | None


@frozen
class KeyInfo:
    """A passphrase or key that opens the repository; `current` is the one in use."""

    id: str
    role: str = "owner"
    name: str = ""
    domain: str = ""
    created_ns: int | None = None
    current: bool = False
