"""Entries of a snapshot into a tar or zip that is written as a stream."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import repeat
from typing import Protocol

from kluis.errors import DamageError
from kluis.format import tree
from kluis.format.tree import Entry
from kluis.options import Sink
from kluis.repository.listing import KIND_NAMES, Visited

# What goes into the sink at once; for a tar a multiple of 512.
BUFFER_BYTES = 1 << 18
ZERO_BYTES = 1 << 16
PERMISSION_BITS = 0o777

Content = Callable[[Entry], Iterator[bytes | memoryview]]
# (path, what was tried, reason)
Report = Callable[[bytes, str, str], None]
# Told of a file whose stored bytes are missing or wrong.
Damaged = Callable[[bytes, DamageError], None]

_TAR_TYPES = {
    tree.FILE: tarfile.REGTYPE,
    tree.DIRECTORY: tarfile.DIRTYPE,
    tree.SYMLINK: tarfile.SYMTYPE,
    tree.FIFO: tarfile.FIFOTYPE,
    tree.CHARACTER_DEVICE: tarfile.CHRTYPE,
    tree.BLOCK_DEVICE: tarfile.BLKTYPE,
}
_ZIP_KINDS = {tree.FILE: 0o100000, tree.DIRECTORY: 0o040000, tree.SYMLINK: 0o120000}
_ZIP_FOLDER = 0x10
# What a zip can say of a time; the exact one goes into a field of its own (Info-ZIP, 0x5455).
_ZIP_FIRST = (1980, 1, 1, 0, 0, 0)
_ZIP_LAST = (2107, 12, 31, 23, 59, 58)
_ZIP_TIME = struct.Struct("<HHBi")
_ZIP_TIME_ID = 0x5455


class Archive(Protocol):
    """What a dump writes to."""

    def add(self, visited: Visited) -> int:
        """Takes one entry; returns how many bytes of content went in."""

    def close(self) -> None:
        """Writes the end."""


class Output(io.RawIOBase):
    """A sink as a file that can only be written, front to back."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(memoryview(data))  # type: ignore[arg-type]
        self._sink.write(piece)
        return len(piece)


class Filled(io.RawIOBase):
    """A file's content as a reader of exactly as many bytes as the archive was promised.

    From the first damage on the rest is zeros, and the damage is told: the archive stays
    one that can be read.
    """

    def __init__(
        self,
        content: Iterator[bytes | memoryview],
        size: int,
        damaged: Callable[[DamageError], None],
    ) -> None:
        super().__init__()
        self._content = content
        self._left = size
        self._damaged = damaged
        self._piece = memoryview(b"")
        self._whole = True

    def pieces(self) -> Iterator[memoryview]:
        """All of it, in pieces."""
        while self._left:
            piece = self._next()[: self._left]
            self._left -= len(piece)
            yield piece
        self._end()

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        parts = []
        while wanted:
            if not self._piece:
                self._piece = self._next()
            part = self._piece[:wanted]
            self._piece = self._piece[len(part) :]
            parts.append(part)
            wanted -= len(part)
            self._left -= len(part)
        if not self._left:
            self._end()
        return b"".join(parts)

    def _next(self) -> memoryview:
        try:
            piece = next(self._content, None)
            if piece is None:
                raise DamageError("its content is shorter than was recorded")
            return memoryview(piece)
        except DamageError as error:
            self._damaged(error)
            self._whole = False
            self._content = repeat(bytes(ZERO_BYTES))
            return memoryview(bytes(ZERO_BYTES))

    def _end(self) -> None:
        """Lets the content come to its own end, where it is compared as a whole."""
        if not self._whole:
            return
        self._whole = False
        try:
            next(self._content, None)
        except DamageError as error:
            self._damaged(error)


class TarArchive:
    """A POSIX (pax) tar: any bytes in names, nanoseconds, extended attributes, hard links."""

    def __init__(self, sink: Sink, content: Content, report: Report, damaged: Damaged) -> None:
        self._content, self._report, self._damaged = content, report, damaged
        self._tar = tarfile.open(  # noqa: SIM115 - closed by close()
            fileobj=Output(sink),
            mode="w|",
            format=tarfile.PAX_FORMAT,
            bufsize=BUFFER_BYTES,
            encoding="utf-8",
            errors="surrogateescape",
        )
        self._linked: dict[tuple[int, int], str] = {}  # inode -> its first name

    def add(self, visited: Visited) -> int:
        """One member, under its whole path without the first slash."""
        self._tar.members = []  # type: ignore[attr-defined] # or it would remember each
        entry, path = visited.entry, visited.path
        if entry.kind not in _TAR_TYPES:
            self._report(path, "archive", f"a tar holds no {KIND_NAMES[entry.kind]}")
            return 0
        info = self._info(visited)
        first = None
        if entry.flags & tree.LINKED:
            first = self._linked.setdefault((entry.device, entry.inode), info.name)
        if first is not None and first != info.name:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
        if info.type != tarfile.REGTYPE:
            self._tar.addfile(info)
            return 0
        filled = Filled(self._content(entry), info.size, lambda error: self._damaged(path, error))
        self._tar.addfile(info, filled)
        return info.size

    def close(self) -> None:
        self._tar.close()

    def _info(self, visited: Visited) -> tarfile.TarInfo:
        entry, listing = visited.entry, visited.tree
        info = tarfile.TarInfo(_text(visited.path.lstrip(b"/")))
        info.type = _TAR_TYPES[entry.kind]
        info.mode = entry.mode
        info.uid, info.gid = entry.uid, entry.gid
        info.uname = listing.users.get(entry.uid, "")
        info.gname = listing.groups.get(entry.gid, "")
        info.mtime = entry.mtime_s
        info.linkname = _text(entry.link)
        if entry.kind == tree.FILE:
            info.size = entry.size
        if entry.kind in tree.DEVICES:
            info.devmajor, info.devminor = os.major(entry.device), os.minor(entry.device)
        headers = {}
        if entry.mtime_ns:
            headers["mtime"] = _decimal(entry.mtime_s, entry.mtime_ns)
        for name, value in entry.xattrs:
            try:
                headers[f"SCHILY.xattr.{name.decode('utf-8')}"] = _text(value)
            except UnicodeDecodeError:
                self._report(visited.path, "archive", f"a tar holds no attribute named {name!r}")
        info.pax_headers = headers
        return info


class ZipArchive:
    """A zip: files, folders and links; times to the second, permission bits, no owners."""

    def __init__(self, sink: Sink, content: Content, report: Report, damaged: Damaged) -> None:
        self._content, self._report, self._damaged = content, report, damaged
        self._buffer = io.BufferedWriter(Output(sink), BUFFER_BYTES)
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_DEFLATED)

    def add(self, visited: Visited) -> int:
        """One member, under its whole path without the first slash."""
        entry, path = visited.entry, visited.path
        if entry.kind not in _ZIP_KINDS:
            self._report(path, "archive", f"a zip holds no {KIND_NAMES[entry.kind]}")
            return 0
        try:
            name = path.lstrip(b"/").decode("utf-8")
        except UnicodeDecodeError:
            self._report(path, "archive", "a zip holds only names in UTF-8")
            return 0
        if len(path) > 0xFFFF:
            self._report(path, "archive", "a zip holds no path of more than 65,535 bytes")
            return 0
        info = _zip_info(name, entry)
        if entry.kind != tree.FILE:
            self._zip.writestr(info, entry.link)
            return 0
        filled = Filled(self._content(entry), entry.size, lambda error: self._damaged(path, error))
        info.file_size = entry.size  # decides whether its lengths take 64 bits
        with self._zip.open(info, "w") as member:
            for piece in filled.pieces():
                member.write(piece)
        return entry.size

    def close(self) -> None:
        self._zip.close()
        self._buffer.flush()


def _zip_info(name: str, entry: Entry) -> zipfile.ZipInfo:
    folder = entry.kind == tree.DIRECTORY
    info = zipfile.ZipInfo(name + "/" if folder else name, _zip_time(entry.mtime_s))
    info.create_system = 3  # Unix: the attributes below are those of stat
    info.external_attr = (_ZIP_KINDS[entry.kind] | entry.mode & PERMISSION_BITS) << 16
    if folder:
        info.external_attr |= _ZIP_FOLDER
    if entry.kind == tree.FILE:
        info.compress_type = zipfile.ZIP_DEFLATED
    if -(1 << 31) <= entry.mtime_s < 1 << 31:
        info.extra = _ZIP_TIME.pack(_ZIP_TIME_ID, 5, 1, entry.mtime_s)
    return info


def _zip_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """The clock on the wall, as near as a zip can say it."""
    try:
        at = datetime.fromtimestamp(max(seconds, 0))  # noqa: DTZ006 - a zip knows no zone
    except (ValueError, OverflowError, OSError):
        return _ZIP_LAST
    time = at.year, at.month, at.day, at.hour, at.minute, at.second
    return min(max(time, _ZIP_FIRST), _ZIP_LAST)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _decimal(seconds: int, nanoseconds: int) -> str:
    """Seconds with their fraction, also before 1970."""
    total = seconds * 1_000_000_000 + nanoseconds
    sign = "-" if total < 0 else ""
    whole, part = divmod(abs(total), 1_000_000_000)
    return f"{sign}{whole}.{part:09d}"
