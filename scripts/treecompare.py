"""Compares two folders bit by bit: content and all metadata that a restore owes.

Stands alone on purpose: it shares no code with kluis, so that an error of one does not hide
the same error of the other.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

_READ_BYTES = 1 << 20
ALL = frozenset({"content", "mode", "owner", "mtime", "xattrs", "links"})


@dataclass
class Comparison:
    """What was looked at, and every difference found, as sentences."""

    files: int = 0
    folders: int = 0
    others: int = 0
    content_bytes: int = 0
    xattrs: int = 0
    hard_links: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def compare(left: Path, right: Path, what: frozenset[str] = ALL) -> Comparison:
    """All differences of two folders in `what`; names, kinds and link targets always count."""
    result = Comparison()
    links: tuple[dict[bytes, tuple[int, int]], ...] = ({}, {})
    _folder(os.fsencode(left), os.fsencode(right), b"", what, (result, links))
    if "links" in what:
        _compare_links(links, result)
    return result


_Found = tuple[Comparison, tuple[dict[bytes, tuple[int, int]], ...]]


def _folder(left: bytes, right: bytes, below: bytes, what: frozenset[str], found: _Found) -> None:
    result = found[0]
    names_left, names_right = set(os.listdir(left)), set(os.listdir(right))
    for name in sorted(names_left ^ names_right):
        side = "only in the source" if name in names_left else "only in the restored folder"
        result.differences.append(f"{_shown(below + name)}: {side}")
    for name in sorted(names_left & names_right):
        path = below + name
        pair = (os.path.join(left, name), os.path.join(right, name))
        stats = (os.lstat(pair[0]), os.lstat(pair[1]))
        if stat.S_IFMT(stats[0].st_mode) != stat.S_IFMT(stats[1].st_mode):
            result.differences.append(f"{_shown(path)}: another kind of entry")
            continue
        _metadata(path, pair, stats, what, result)
        if stat.S_ISDIR(stats[0].st_mode):
            result.folders += 1
            _folder(*pair, path + b"/", what, found)
            continue
        _content(path, pair, stats, result)
        for links, entry in zip(found[1], stats, strict=True):
            if entry.st_nlink > 1:
                links[path] = (entry.st_dev, entry.st_ino)


def _metadata(
    path: bytes,
    pair: tuple[bytes, bytes],
    stats: tuple[os.stat_result, os.stat_result],
    what: frozenset[str],
    result: Comparison,
) -> None:
    one, other = stats
    checks = [
        ("mode", f"{one.st_mode:o}", f"{other.st_mode:o}"),
        ("owner", f"{one.st_uid}:{one.st_gid}", f"{other.st_uid}:{other.st_gid}"),
        ("mtime", f"{one.st_mtime_ns} ns", f"{other.st_mtime_ns} ns"),
    ]
    result.differences += [
        f"{_shown(path)}: {name} {here}, restored {there}"
        for name, here, there in checks
        if name in what and here != there
    ]
    if "xattrs" in what:
        here_all, there_all = _xattrs(pair[0]), _xattrs(pair[1])
        result.xattrs += len(here_all)
        if here_all != there_all:
            names = sorted(here_all.keys() ^ there_all.keys()) or sorted(here_all)
            result.differences.append(f"{_shown(path)}: extended attributes differ: {names}")


def _content(
    path: bytes,
    pair: tuple[bytes, bytes],
    stats: tuple[os.stat_result, os.stat_result],
    result: Comparison,
) -> None:
    mode = stats[0].st_mode
    if not stat.S_ISREG(mode):
        result.others += 1
        if stat.S_ISLNK(mode) and os.readlink(pair[0]) != os.readlink(pair[1]):
            result.differences.append(f"{_shown(path)}: points elsewhere")
        device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        if device and stats[0].st_rdev != stats[1].st_rdev:
            result.differences.append(f"{_shown(path)}: another device")
        return
    result.files += 1
    result.content_bytes += stats[0].st_size
    if stats[0].st_size != stats[1].st_size:
        result.differences.append(
            f"{_shown(path)}: {stats[0].st_size} bytes, restored {stats[1].st_size}"
        )
    elif (at := _first_difference(*pair)) is not None:
        result.differences.append(f"{_shown(path)}: content differs from byte {at} on")


def _first_difference(left: bytes, right: bytes) -> int | None:
    with open(left, "rb", buffering=0) as one, open(right, "rb", buffering=0) as other:
        start = 0
        while True:
            here, there = one.read(_READ_BYTES), other.read(_READ_BYTES)
            if here != there:
                pairs = enumerate(zip(here, there, strict=False))
                shorter = min(len(here), len(there))
                return start + next((n for n, (a, b) in pairs if a != b), shorter)
            if not here:
                return None
            start += len(here)


def _xattrs(path: bytes) -> dict[str, bytes]:
    """Extended attributes, ACLs among them."""
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _compare_links(links: tuple[dict[bytes, tuple[int, int]], ...], result: Comparison) -> None:
    """Files that are one file under several names must be so on both sides."""
    groups = []
    for side in links:
        members: dict[tuple[int, int], set[bytes]] = {}
        for path, inode in side.items():
            members.setdefault(inode, set()).add(path)
        groups.append({frozenset(paths) for paths in members.values() if len(paths) > 1})
    result.hard_links = len(groups[0])
    for group in groups[0] ^ groups[1]:
        names = ", ".join(_shown(path) for path in sorted(group))
        result.differences.append(f"hard links differ: {names}")


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace").replace("\n", "\\n")


if __name__ == "__main__":
    outcome = compare(Path(sys.argv[1]), Path(sys.argv[2]))
    print("\n".join(outcome.differences) or f"{outcome.files} files, the same bit by bit")
    sys.exit(0 if outcome.same else 1)
