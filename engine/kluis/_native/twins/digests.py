"""kluis._native.digests in plain Python."""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import NamedTuple

FOLDER = 1
PART = 2
LAST = 3
LISTED = 4
NEEDED = 5
WRONG = 6
SPLIT = 7
KIND = 8
ITEM_FORMAT = "<IIIIIIII"
FRAME_BYTES = 20

HEADER_FORMAT = "<4sHHIIQQ"
RECORD_FORMAT = "<BBHIIIIIQqqIIQQ32s"
EXTENT_FORMAT = "<16sIII"
ENTRY_FORMAT = "<16sI"
CHUNK_FORMAT = "<16sQ"
HEADER_BYTES = struct.calcsize(HEADER_FORMAT)
RECORD_BYTES = struct.calcsize(RECORD_FORMAT)
EXTENT_BYTES = struct.calcsize(EXTENT_FORMAT)
ENTRY_BYTES = struct.calcsize(ENTRY_FORMAT)
CHUNK_BYTES = struct.calcsize(CHUNK_FORMAT)
HOLE = bytes(16)
FILE, DIRECTORY, SYMLINK, LAST_KIND = 1, 2, 3, 7
STREAMS, DEVICES = (FILE, DIRECTORY), (5, 6)
LINKED_FLAG, LISTED_FLAG, INCOMPLETE_FLAG = 1, 2, 4
DATA_FRAME, TREE_FRAME = 1, 2
NO_BIRTH = U32_MAX = 0xFFFFFFFF
SECOND_NS = 1_000_000_000
NAME_LIMIT, LINK_LIMIT = 255, 0xFFFF
EXTENTS_LIMIT, EXTRAS_LIMIT, FRAME_LIMIT = 1 << 20, 1 << 24, 1 << 24
INLINE_EXTENTS = 1024


class Record(NamedTuple):
    """The fixed part of an entry."""

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


class Entry(NamedTuple):
    """An entry, and where in the tree its parts are."""

    record: Record
    extents: list[tuple[bytes, int, int, int]]
    record_at: int
    name_at: int
    extents_at: int


def _require(condition: object) -> None:
    if not condition:
        raise ValueError("not a tree that kluis writes")


def _length(extent: tuple[bytes, int, int, int]) -> int:
    run, _, offset, length = extent
    return offset << 32 | length if run == HOLE else length


def _check_extent(extent: tuple[bytes, int, int, int]) -> None:
    run, n, offset, length = extent
    _require(_length(extent))
    if run == HOLE:
        _require(n == 0)
    else:
        _require(offset + length <= FRAME_LIMIT and n < U32_MAX)


def _blob(data: bytes, at: int) -> tuple[bytes, int]:
    _require(at + 4 <= len(data))
    (size,) = struct.unpack_from("<I", data, at)
    _require(at + 4 + size <= len(data))
    return data[at + 4 : at + 4 + size], at + 4 + size


def _link(extras: bytes) -> bytes:
    """The text of a symlink; whatever is recorded besides is looked at too."""
    if not extras:
        return b""
    _require(len(extras) >= 4)
    link, at = _blob(extras, 4)
    _require(len(link) <= LINK_LIMIT and b"\0" not in link and at + 4 <= len(extras))
    (count,) = struct.unpack_from("<I", extras, at)
    at += 4
    _require(count or link or any(extras[:4]))
    last = b""
    for _ in range(count):
        name, at = _blob(extras, at)
        _, at = _blob(extras, at)
        _require(name > last and b"\0" not in name)
        last = name
    _require(at == len(extras))
    return link


def _check_name(name: bytes, before: bytes) -> None:
    _require(0 < len(name) <= NAME_LIMIT and name not in (b".", b".."))
    _require(b"/" not in name and b"\0" not in name and name > before)


def _check_record(record: Record, link: bytes) -> None:
    is_device = record.kind in DEVICES
    _require(0 < record.kind <= LAST_KIND and record.flags <= 7 and record.mode <= 0o7777)
    _require(record.mtime_ns < SECOND_NS)
    _require(record.birth_ns < SECOND_NS or (record.birth_ns == NO_BIRTH and not record.birth_s))
    _require(bool(link) == (record.kind == SYMLINK))
    if record.flags & LINKED_FLAG:
        _require(record.kind != DIRECTORY and not is_device)
    else:
        _require(not record.inode and (is_device or not record.device))


def _check_content(entry: Entry) -> None:
    record, listed = entry.record, entry.record.flags & LISTED_FLAG
    for extent in entry.extents:
        _check_extent(extent)
    if entry.extents:
        _require(record.kind in STREAMS and (listed or len(entry.extents) <= INLINE_EXTENTS))
    else:
        _require(not listed and not any(record.digest))
        _require(not record.size or record.kind in STREAMS)
    if not listed and not (record.kind == FILE and record.flags & INCOMPLETE_FLAG):
        _require(sum(map(_length, entry.extents)) == record.size)


def _decode(data: bytes, before: bytes) -> tuple[list[Entry], int]:
    """The entries of a tree, and where its owners begin."""
    _require(HEADER_BYTES <= len(data) <= U32_MAX)
    magic, version, zero, records, extents, names, extras = struct.unpack_from(HEADER_FORMAT, data)
    _require((magic, version, zero) == (b"tree", 1, 0))
    sizes = records * RECORD_BYTES, extents * EXTENT_BYTES, names, extras
    extents_at, names_at, extras_at, end = accumulate(sizes[1:], initial=HEADER_BYTES + sizes[0])
    _require(end <= len(data))
    extent_at, name_at, extra_at = extents_at, names_at, extras_at
    found = []
    for at in range(HEADER_BYTES, extents_at, RECORD_BYTES):
        record = Record._make(struct.unpack_from(RECORD_FORMAT, data, at))
        _require(record.extent_count <= EXTENTS_LIMIT and record.extras_bytes <= EXTRAS_LIMIT)
        next_extent = extent_at + record.extent_count * EXTENT_BYTES
        next_name, next_extra = name_at + record.name_bytes, extra_at + record.extras_bytes
        _require(next_extent <= names_at and next_name <= extras_at and next_extra <= end)
        own = list(struct.iter_unpack(EXTENT_FORMAT, data[extent_at:next_extent]))
        name = data[name_at:next_name]
        entry = Entry(record, own, at, name_at, extent_at)
        _check_name(name, before)
        _check_record(record, _link(data[extra_at:next_extra]))
        _check_content(entry)
        found.append(entry)
        before = name
        extent_at, name_at, extra_at = next_extent, next_name, next_extra
    _require((extent_at, name_at, extra_at) == (names_at, extras_at, end))
    return found, end


class Digests:
    """Chunk lists of frames, and one tree at a time whose digests are computed from them.

    Tells everything up to the next list that is needed at once, whatever `room` there is.
    """

    def __init__(self, limit: int, room: int = 1 << 10) -> None:
        if room < 2:
            raise ValueError("there is no room for what is told")
        self._limit = limit
        self._lists: dict[bytes, tuple[int, list[tuple[bytes, int]]]] = {}
        self._entries: list[Entry] | None = None
        self._next = 0
        self._extent = 0  # of the next entry, the one to go on with
        self._chunks: list[bytes] = []  # that were gathered of it
        self._told = 0  # of these, those of parts
        self.files = 0

    @property
    def chunks(self) -> int:
        """Of how many chunks lists are kept."""
        return sum(len(chunks) for _, chunks in self._lists.values())

    def add(self, frame: bytes, kind: int, entries: bytes) -> None:
        """Keeps the chunk list of a frame."""
        if len(frame) != FRAME_BYTES or len(entries) % ENTRY_BYTES:
            raise ValueError("no frame, or no chunk list")
        chunks: list[tuple[bytes, int]] = list(struct.iter_unpack(ENTRY_FORMAT, entries))
        lengths = [length for _, length in chunks]
        if not chunks or not all(lengths) or sum(lengths) > U32_MAX:
            raise ValueError("no chunk list of a frame")
        self._lists.pop(frame, None)
        if self.chunks + len(chunks) > self._limit:
            self._lists.clear()
        self._lists[frame] = kind, chunks

    def open(self, data: bytes, before: bytes = b"") -> int:
        """Where the owners begin in this tree, which is looked at from now on."""
        self._entries = None
        self._entries, owners_at = _decode(data, before)
        self._next = -1
        self.files = 0
        self._begin_next()
        return owners_at

    def _begin_next(self) -> None:
        self._next += 1
        self._extent = self._told = 0
        self._chunks = []

    def skip(self) -> None:
        """Leaves the entry whose chunk list was asked for."""
        if self._entries is None:
            raise ValueError("no tree is open")
        if self._next < len(self._entries):
            self.files += self._entries[self._next].record.kind == FILE
            self._begin_next()

    def run(self) -> tuple[bytes, bytes, bool]:
        """(items, gathered, done): more of the tree, an item for whatever is to be told."""
        if self._entries is None:
            raise ValueError("no tree is open")
        items: list[bytes] = []
        gathered = bytearray()
        while self._next < len(self._entries):
            entry = self._entries[self._next]
            what, needed = self._look(entry)
            chunks = self._chunks[self._told :]
            if what == NEEDED and chunks:
                items.append(_item(PART, entry, len(gathered), len(chunks)))
            if what in (NEEDED, LAST):
                gathered += b"".join(chunks)
                self._told = len(self._chunks)
            if what == NEEDED:
                items.append(_item(what, entry, needed, 0))
                return b"".join(items), bytes(gathered), False
            if what == LAST:
                begin = len(gathered) - CHUNK_BYTES * len(chunks)
                items.append(_item(what, entry, begin, len(chunks)))
            elif what:
                items.append(_item(what, entry, 0, 0))
            self.skip()
        return b"".join(items), bytes(gathered), True

    def _look(self, entry: Entry) -> tuple[int, int]:
        """(what is to be told of an entry or 0, where the extent is whose list is needed)."""
        record = entry.record
        if record.flags & LISTED_FLAG:
            return LISTED, 0
        if record.kind not in STREAMS:
            return 0, 0
        while self._extent < len(entry.extents):
            wrong = self._gather(entry, entry.extents[self._extent])
            if wrong == NEEDED:
                return NEEDED, entry.extents_at + self._extent * EXTENT_BYTES
            if wrong:
                return wrong, 0
            self._extent += 1
        if not self._chunks:
            right = not any(record.digest)
        elif len(self._chunks) == 1 and any(self._chunks[0][:16]):
            right = record.digest == self._chunks[0][:16].ljust(32, b"\0")
        else:
            return LAST, 0
        if right:
            return (FOLDER if record.kind == DIRECTORY else 0), 0
        return WRONG, 0

    def _gather(self, entry: Entry, extent: tuple[bytes, int, int, int]) -> int:
        """0 once the chunks of an extent are gathered, or why they are not."""
        run, n, offset, length = extent
        if run == HOLE:
            self._chunks.append(struct.pack(CHUNK_FORMAT, HOLE, _length(extent)))
            return 0
        found = self._lists.get(run + struct.pack("<I", n))
        if found is None:
            return NEEDED
        kind, chunks = found
        if kind != (DATA_FRAME if entry.record.kind == FILE else TREE_FRAME):
            return KIND
        starts = list(accumulate((size for _, size in chunks), initial=0))
        if offset not in starts or offset + length not in starts:
            return SPLIT
        for hash16, size in chunks[starts.index(offset) : starts.index(offset + length)]:
            self._chunks.append(struct.pack(CHUNK_FORMAT, hash16, size))
        return 0


def _item(what: int, entry: Entry, begin: int, chunks: int) -> bytes:
    name_end = entry.name_at + entry.record.name_bytes
    extents_end = entry.extents_at + len(entry.extents) * EXTENT_BYTES
    where = entry.record_at, entry.name_at, name_end, entry.extents_at, extents_end
    end = begin + chunks * CHUNK_BYTES if what != NEEDED else begin + EXTENT_BYTES
    return struct.pack(ITEM_FORMAT, what, *where, begin, end)
