"""The least backup and restore that there is: what a walk finds, written into a target."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kluis._native import scatter
from kluis.source import records as listing
from kluis.source.exclude import Exclusions
from kluis.source.metadata import Extras, extras_of, read_extras
from kluis.source.problem import Problem
from kluis.source.read import each_small, open_file, read_link, small_files
from kluis.source.records import Record
from kluis.source.setting import Metadata
from kluis.source.target import Placed, Target, TargetOptions
from kluis.source.walk import Directory, WalkOptions, walk

LIMIT_BYTES = 4096
WINDOW_BYTES = 64 << 10


@dataclass
class Item:
    """One entry as it was read: content as (offset, bytes), so that holes stay holes."""

    record: Record
    extras: Extras
    content: list[tuple[int, bytes]] = field(default_factory=list)
    link: bytes = b""

    def metadata(self) -> Metadata:
        record = self.record
        return Metadata(
            record.mode, record.uid, record.gid, record.mtime_s, record.mtime_ns,
            self.extras.xattrs, self.extras.attributes,
        )  # fmt: skip


@dataclass
class Copy:
    """A folder as it was read: relative path of each folder, then name, to entry."""

    folders: dict[bytes, dict[bytes, Item]] = field(default_factory=dict)
    own: dict[bytes, Item] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_tree(top: bytes) -> Copy:
    """All below `top`; whatever goes wrong is among the problems, and never raised."""
    copy = Copy()
    for directory in walk([top], Exclusions(), WalkOptions(), copy.problems.append):
        if directory.partial:
            continue
        failed = failing(copy, directory.path)
        relative = directory.path[len(top) + 1 :]
        own = Item(listing.unpack(directory.own), extras_of(directory.descriptor, failed))
        copy.own[relative] = own
        copy.folders[relative] = read_folder(copy, directory)
    return copy


def failing(copy: Copy, path: bytes) -> Callable[[str, int], None]:
    return lambda what, number: copy.problems.append(Problem(path, what, number))


def read_folder(copy: Copy, directory: Directory) -> dict[bytes, Item]:
    small = [
        index
        for index, is_file in enumerate(listing.file_marks(directory.records))
        if is_file and listing.sizes(directory.records)[index] <= LIMIT_BYTES
    ]
    data, results = small_files(directory, struct.pack(f"={len(small)}I", *small), LIMIT_BYTES)
    found = dict(zip(small, each_small(results), strict=True))
    items = {}
    at = 0
    for index, name in enumerate(listing.split_names(directory.records, directory.names)):
        record = listing.unpack(listing.record_at(directory.records, index))
        if stat.S_ISDIR(record.mode):
            continue
        failed = failing(copy, directory.path + b"/" + name)
        result = found.get(index)
        content = None
        if result is not None:
            content = bytes(data[at : at + result.length])
            at += result.length
        whole = result is not None and not (result.errno or result.changed or result.grew)
        try:
            item = read_entry(directory, name, record, content if whole else None)
            item.extras = read_extras(directory.descriptor, name, record.mode, failed)
            items[name] = item
        except OSError as failure:
            failed("read", failure.errno or 0)
    return items


def read_entry(directory: Directory, name: bytes, record: Record, content: bytes | None) -> Item:
    item = Item(record, Extras())
    if stat.S_ISLNK(record.mode):
        item.link = read_link(directory.descriptor, name)
    elif stat.S_ISREG(record.mode) and content is not None:
        item.content = [(0, content)] if content else []
    elif stat.S_ISREG(record.mode):
        buffer = memoryview(bytearray(WINDOW_BYTES))
        with open_file(directory.descriptor, name) as file:
            item.record = file.fields
            for start, end in file.data_ranges():
                while start < end and (count := file.read_at(buffer[: end - start], start)):
                    item.content.append((start, bytes(buffer[:count])))
                    start += count
    return item


def write_tree(copy: Copy, folder: Path, privileged: bool) -> list[Problem]:
    """Restores it; what could not be set is returned."""
    problems: list[Problem] = []
    placed: dict[tuple[int, int], Placed] = {}
    with Target(bytes(folder), TargetOptions(privileged), problems.append) as target:
        made = []
        for path in sorted(copy.folders, key=lambda p: (p.count(b"/") if p else -1, p)):
            made.append((target.make_folder(path, replace=False), copy.own[path]))
            for name, item in copy.folders[path].items():
                first = placed.get(item.record.identity)
                if item.record.nlink > 1 and first is not None:
                    target.make_hard_link(first, path, name, replace=False)
                    continue
                done = write_entry(target, path, name, item)
                if done is not None:
                    placed[item.record.identity] = done
        for folder_placed, item in reversed(made):
            target.finish(folder_placed, item.metadata())
        target.complete()
    return problems


def write_entry(target: Target, path: bytes, name: bytes, item: Item) -> Placed | None:
    wanted = item.metadata()
    if stat.S_ISLNK(item.record.mode):
        return target.make_link(path, name, item.link, wanted, replace=False)
    if not stat.S_ISREG(item.record.mode):
        return target.make_special(path, name, wanted, item.record.rdev, replace=False)
    placed = target.create_file(path, name, replace=False, attributes=wanted.attributes)
    descriptor = target.descriptor(placed)
    for offset, part in item.content:
        scatter.write_at(descriptor, part, offset)
    target.set_size(placed, item.record.size)
    target.finish(placed, wanted)
    return placed


def portrait(top: bytes) -> dict[bytes, tuple[object, ...]]:
    """All that the system says of each path below `top`, with content; links by their groups."""
    found: dict[bytes, tuple[object, ...]] = {}
    groups: dict[int, bytes] = {}
    pending = [b""]
    while pending:
        relative = pending.pop()
        path = top + b"/" + relative if relative else top
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            below = sorted(os.listdir(path))
            pending += [relative + b"/" + name if relative else name for name in below]
        content: bytes | str = b""
        if stat.S_ISREG(status.st_mode):
            content = Path(os.fsdecode(path)).read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        names = os.listxattr(path, follow_symlinks=False)
        xattrs = [(n, os.getxattr(path, n, follow_symlinks=False)) for n in sorted(names)]
        is_folder = stat.S_ISDIR(status.st_mode)
        group = b"" if is_folder else groups.setdefault(status.st_ino, relative)
        found[relative] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev,
            0 if is_folder else status.st_size, group, content, xattrs,
        )  # fmt: skip
    return found
