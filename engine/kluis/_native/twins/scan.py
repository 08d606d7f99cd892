"""kluis._native.scan in plain Python; birth times and attributes are unknown to it."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

RECORD_FORMAT = "=QQQQQqqqIIIIIIIIH14x"
RECORD_SIZE = struct.calcsize(RECORD_FORMAT)
BTIME_UNKNOWN_NS = 0xFFFFFFFF
NO_ENTRY = 0xFFFFFFFF
NS_PER_S = 10**9


class Entry(NamedTuple):
    """One record, field by field."""

    ino: int
    dev: int
    size: int
    blocks: int
    rdev: int
    mtime_s: int
    ctime_s: int
    btime_s: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    mode: int
    uid: int
    gid: int
    nlink: int
    attributes: int
    name_length: int

    @property
    def mtime(self) -> tuple[int, int]:
        return self.mtime_s, self.mtime_ns

    @property
    def ctime(self) -> tuple[int, int]:
        return self.ctime_s, self.ctime_ns

    @property
    def identity(self) -> tuple[object, ...]:
        """What is the same in a file that nobody touched."""
        return self.ino, self.dev, self.size, self.mtime, self.ctime, stat.S_IFMT(self.mode)

    def is_racy(self, racy: tuple[int, int]) -> bool:
        """True if a later change could show the same times."""
        return not (self.mtime < racy and self.ctime < racy)


def entries(records: bytes, names: bytes) -> Iterator[tuple[bytes, Entry]]:
    """The entries of a listing with their names; ValueError if the two do not fit together."""
    if len(records) % RECORD_SIZE:
        raise ValueError(f"{len(records)} bytes are no whole records of {RECORD_SIZE}")
    found = [Entry._make(fields) for fields in struct.iter_unpack(RECORD_FORMAT, records)]
    if sum(entry.name_length for entry in found) != len(names):
        raise ValueError(f"the records' names do not take {len(names)} bytes")
    at = 0
    for entry in found:
        yield names[at : at + entry.name_length], entry
        at += entry.name_length


def _record(status: os.stat_result, name: bytes) -> bytes:
    mtime_s, mtime_ns = divmod(status.st_mtime_ns, NS_PER_S)
    ctime_s, ctime_ns = divmod(status.st_ctime_ns, NS_PER_S)
    entry = Entry(
        ino=status.st_ino,
        dev=status.st_dev,
        size=status.st_size,
        blocks=status.st_blocks,
        rdev=status.st_rdev,
        mtime_s=mtime_s,
        ctime_s=ctime_s,
        btime_s=0,
        mtime_ns=mtime_ns,
        ctime_ns=ctime_ns,
        btime_ns=BTIME_UNKNOWN_NS,
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        nlink=status.st_nlink,
        attributes=0,
        name_length=len(name),
    )
    return struct.pack(RECORD_FORMAT, *entry)


def stat_entry(fd: int, name: bytes) -> bytes:
    """The record of `name` under the directory `fd`, or of `fd` itself if it is empty."""
    if not name:
        return _record(os.stat(fd), name)
    return _record(os.stat(name, dir_fd=fd, follow_symlinks=False), name)


def scan_directory(fd: int) -> tuple[bytes, bytes, list[tuple[bytes, int]]]:
    """(records, names, failures) of an open directory, sorted by name."""
    os.lseek(fd, 0, os.SEEK_SET)
    with os.scandir(fd) as listing:
        found = sorted({os.fsencode(entry.name) for entry in listing})
    records, names, failures = [], [], []
    for name in found:
        try:
            records.append(stat_entry(fd, name))
        except OSError as error:
            failures.append((name, error.errno or 0))
        else:
            names.append(name)
    return b"".join(records), b"".join(names), failures


def select(records: bytes, names: bytes, keep: bytes) -> tuple[bytes, bytes]:
    """(records, names) of the entries whose byte in `keep` is not zero, in order."""
    found = list(entries(records, names))
    if len(keep) != len(found):
        raise ValueError(f"{len(keep)} marks for {len(found)} entries")
    kept = [pair for pair, mark in zip(found, keep, strict=True) if mark]
    return (
        b"".join(struct.pack(RECORD_FORMAT, *entry) for _, entry in kept),
        b"".join(name for name, _ in kept),
    )


def diff_entries(
    old_records: bytes, old_names: bytes, new_records: bytes, new_names: bytes, *racy: int
) -> bytes:
    """A u32 for each new entry: the index of the same, untouched old one, or NO_ENTRY.

    `racy` are the seconds and nanoseconds of the instant.
    """
    old = {name: (i, e) for i, (name, e) in enumerate(entries(old_records, old_names))}
    matches = []
    for name, entry in entries(new_records, new_names):
        index, before = old.get(name, (NO_ENTRY, None))
        untouched = before is not None and before.identity == entry.identity
        if not untouched or entry.is_racy((racy[0], racy[1])):
            index = NO_ENTRY
        matches.append(index)
    return struct.pack(f"={len(matches)}I", *matches)


def hide_device(records: bytes, device: int) -> bytes:
    """The records of a directory on `device`: 0 as device, or 1 for what lies elsewhere."""
    if len(records) % RECORD_SIZE:
        raise ValueError(f"{len(records)} bytes are no whole records of {RECORD_SIZE}")
    found = (Entry._make(fields) for fields in struct.iter_unpack(RECORD_FORMAT, records))
    return b"".join(
        struct.pack(
            RECORD_FORMAT,
            *entry._replace(dev=int(not stat.S_ISDIR(entry.mode) and entry.dev != device)),
        )
        for entry in found
    )


def any_racy(records: bytes, racy_s: int, racy_ns: int) -> bool:
    """True if an entry that is no directory has an mtime or ctime not older than the instant."""
    found = (Entry._make(fields) for fields in struct.iter_unpack(RECORD_FORMAT, records))
    return any(not stat.S_ISDIR(e.mode) and e.is_racy((racy_s, racy_ns)) for e in found)
