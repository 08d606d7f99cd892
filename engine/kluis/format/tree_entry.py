"""One name in a directory and all that is recorded of it, as trees hold it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from kluis.errors import FormatError
from kluis.format.codec import Reader, Writer, in_order
from kluis.format.crypt import DIGEST_BYTES
from kluis.format.extent import INLINE_EXTENTS, Extent, extent_length
from kluis.frozen import frozen

FILE = 1
DIRECTORY = 2
SYMLINK = 3
FIFO = 4
CHARACTER_DEVICE = 5
BLOCK_DEVICE = 6
SOCKET = 7
KINDS = range(FILE, SOCKET + 1)
STREAMS = (FILE, DIRECTORY)
DEVICES = (CHARACTER_DEVICE, BLOCK_DEVICE)

LINKED = 1  # has other names: `inode` and `device` tell which
LISTED = 2  # the extents are those of an extent list, not of the content
INCOMPLETE = 4  # could not be read, or changed while it was read
FLAGS = LINKED | LISTED | INCOMPLETE
MODE_LIMIT = 0o7777
SECOND_NS = 1_000_000_000

NAME_LIMIT_BYTES = 255
LINK_LIMIT_BYTES = 0xFFFF
# Linux takes 64 KiB of names and 64 KiB for each value; what goes beyond is not recorded.
EXTRAS_LIMIT_BYTES = 1 << 24
NO_BIRTH = 0xFFFFFFFF

_RECORD = struct.Struct("<BBHIIIIIQqqIIQQ32s")
RECORD_BYTES = _RECORD.size
# The fields of `Record` in its order, for who packs many without an object for each.
pack_fields = _RECORD.pack

assert RECORD_BYTES == 104

NO_DIGEST = bytes(DIGEST_BYTES)


@frozen
class Entry:
    """One name in a directory and all that is recorded of it."""

    name: bytes
    kind: int
    mode: int  # permission bits and setuid, setgid, sticky
    uid: int
    gid: int
    size: int
    mtime_s: int
    mtime_ns: int
    birth_s: int = 0
    birth_ns: int = NO_BIRTH
    flags: int = 0
    inode: int = 0
    device: int = 0  # of a LINKED file: number of its file system; of a device: its rdev
    digest: bytes = NO_DIGEST
    extents: tuple[Extent, ...] = ()
    link: bytes = b""  # where a symlink points
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    attributes: int = 0  # chattr flags


class Record(NamedTuple):
    """The fixed part of an entry, as it is stored."""

    kind: int
    flags: int
    name_bytes: int
    mode: int
    uid: int
    gid: int
    extent_count: int
    extras_bytes: int
    size: int
    mtime_s: int
    birth_s: int
    mtime_ns: int
    birth_ns: int
    inode: int
    device: int
    digest: bytes


def extras_of(entry: Entry) -> bytes:
    """The variable part of a record besides its name: empty for most files."""
    if not entry.link and not entry.xattrs and not entry.attributes:
        return b""
    writer = Writer()
    writer.u32(entry.attributes)
    writer.blob(entry.link)
    writer.u32(len(entry.xattrs))
    for name, value in in_order(entry.xattrs, lambda item: item[0]):
        writer.blob(name)
        writer.blob(value)
    return writer.bytes()


def pack_record(entry: Entry, extent_count: int, extras_bytes: int) -> bytes:
    """The fixed part of an entry."""
    return _RECORD.pack(
        entry.kind,
        entry.flags,
        len(entry.name),
        entry.mode,
        entry.uid,
        entry.gid,
        extent_count,
        extras_bytes,
        entry.size,
        entry.mtime_s,
        entry.birth_s,
        entry.mtime_ns,
        entry.birth_ns,
        entry.inode,
        entry.device,
        entry.digest,
    )


def unpack_records(data: bytes) -> Iterator[Record]:
    """Records that lie back to back."""
    return map(Record._make, _RECORD.iter_unpack(data))


def check_name(name: bytes) -> None:
    """Raises for a name that could lead anywhere but to an entry of its own directory."""
    if not 0 < len(name) <= NAME_LIMIT_BYTES or name in (b".", b"..") or b"/" in name or 0 in name:
        raise FormatError(f"not a valid tree: the name {name[:300]!r} cannot be a file's")


def checked_entry(record: Record, name: bytes, own: tuple[Extent, ...], extra: bytes) -> Entry:
    """The entry that these parts of a tree make, if it is one that kluis writes."""
    check_name(name)
    attributes, link, xattrs = _read_extras(extra) if extra else (0, b"", ())
    entry = Entry(
        name, record.kind, record.mode, record.uid, record.gid, record.size, record.mtime_s,
        record.mtime_ns, record.birth_s, record.birth_ns, record.flags, record.inode,
        record.device, record.digest, own, link, xattrs, attributes,
    )  # fmt: skip
    reason = _contradiction(entry) or _content_contradiction(entry)
    if reason:
        raise FormatError(f"not a valid tree: {name!r} {reason}")
    return entry


def _contradiction(entry: Entry) -> str:
    """Why no kluis writes what is said of this entry besides its content, or nothing."""
    kind, flags = entry.kind, entry.flags
    if kind not in KINDS or flags & ~FLAGS:
        return "is of no known kind"
    if entry.mode > MODE_LIMIT:
        return "has mode bits that none has"
    if entry.mtime_ns >= SECOND_NS or (
        entry.birth_ns >= SECOND_NS and (entry.birth_ns != NO_BIRTH or entry.birth_s)
    ):
        return "has a time that none has"
    if bool(entry.link) != (kind == SYMLINK):
        return "has a link that it should not have, or none"
    if flags & LINKED:
        if kind == DIRECTORY or kind in DEVICES:
            return "cannot have other names"
    elif entry.inode or (entry.device and kind not in DEVICES):
        return "has an inode or a device without need"
    return ""


def _content_contradiction(entry: Entry) -> str:
    """The same for its content."""
    listed = entry.flags & LISTED
    if not entry.extents:
        if listed or any(entry.digest) or (entry.size and entry.kind not in STREAMS):
            return "has a size, digest or list without content"
    elif entry.kind not in STREAMS:
        return "has content"
    elif not listed and len(entry.extents) > INLINE_EXTENTS:
        return "has too many extents"
    if listed or (entry.kind == FILE and entry.flags & INCOMPLETE):
        return ""
    if sum(map(extent_length, entry.extents)) != entry.size:
        return "is not as long as its extents"
    return ""


def _read_extras(data: bytes) -> tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]:
    if not data:
        return 0, b"", ()
    reader = Reader(data, "tree")
    attributes, link = reader.u32(), reader.blob()
    xattrs = tuple((reader.blob(), reader.blob()) for _ in range(reader.count(8)))
    reader.finish()
    if any(a[0] >= b[0] for a, b in pairwise(xattrs)):
        raise FormatError("not a valid tree: extended attributes out of order")
    if any(not name or 0 in name for name, _ in xattrs):
        raise FormatError("not a valid tree: an extended attribute with a name that none has")
    if len(link) > LINK_LIMIT_BYTES or 0 in link:
        raise FormatError("not a valid tree: a link that leads nowhere")
    if not attributes and not link and not xattrs:
        raise FormatError("not a valid tree: extras that say nothing")
    return attributes, link, xattrs
