"""What the last backup of the same paths found and stored, directory by directory, in walk order.

Of an unchanged directory only a few hundred bytes are read: the fingerprint of its listing,
where its tree lies, and which frames it uses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import field, replace

import zstandard

from kluis.errors import FormatError, KluisError
from kluis.format.codec import Reader, Writer, expand_small, read_list
from kluis.format.crypt import DIGEST_BYTES, RUN_BYTES
from kluis.format.extent import EXTENT_BYTES, pack_extent, unpack_extents
from kluis.format.names import base32
from kluis.format.usemap import FrameSet, read_frames, write_frames
from kluis.frozen import frozen
from kluis.repository.cache import ClientCache
from kluis.repository.content import Content
from kluis.storage.alive import AliveMark, is_alive
from kluis.storage.base import LEFTOVER_ENDING
from kluis.storage.journal import JournalReader, JournalRecord, JournalWriter

FINGERPRINT_BYTES = 16
MARK_BYTES = 16
# Of head and journal: what an older kluis left behind is read by no newer one.
LAYOUT = 4
# Longer listings are compressed in parts, so that no copy of all of them is made.
WHOLE_BYTES = 1 << 20


@frozen
class Tally:
    """What a directory holds, without those below it."""

    files: int = 0
    others: int = 0
    size: int = 0


@frozen
class Listing:
    """A directory as scanned and as stored, for finding what changed in it."""

    records: bytes
    names: bytes
    tree: bytes
    # Frames of files whose extents are listed apart, by name: the tree does not show them.
    listed: dict[bytes, FrameSet]


@frozen
class Remembered:
    """One directory of the last backup."""

    record: JournalRecord
    fingerprint: bytes
    racy: bool
    tally: Tally
    tree: Content
    uses: FrameSet


@frozen
class CacheHead:
    """What holds for the whole cache of one set of paths."""

    snapshot: bytes  # run
    racy_s: int
    racy_ns: int
    turn: int
    files: int
    size: int
    uses: FrameSet
    # Bytes stored anew since somebody counted how much of each frame is in use.
    new_bytes: int = 0
    # Frames that are hardly used: what lies in them is to be stored anew, so many bytes.
    worn: FrameSet = field(default_factory=dict)
    worn_bytes: int = 0


def encode_head(head: CacheHead) -> bytes:
    """The head as it is kept beside the journal."""
    writer = Writer()
    writer.u16(LAYOUT)
    writer.raw(head.snapshot, 16)
    writer.i64(head.racy_s)
    writer.u32(head.racy_ns)
    writer.u64(head.turn)
    writer.u64(head.files)
    writer.u64(head.size)
    write_frames(writer, head.uses)
    writer.u64(head.new_bytes)
    write_frames(writer, head.worn)
    writer.u64(head.worn_bytes)
    return writer.bytes()


def decode_head(data: bytes) -> CacheHead:
    """What `encode_head` was given."""
    reader = Reader(data, "scan cache")
    if reader.u16() != LAYOUT:
        raise reader.fail("it was left behind by another kluis")
    racy = reader.raw(16), reader.i64(), reader.u32()
    counts = reader.u64(), reader.u64(), reader.u64()
    uses, new_bytes = read_frames(reader), reader.u64()
    return CacheHead(*racy, *counts, uses, new_bytes, read_frames(reader), reader.u64())


def walk_key(path: bytes) -> bytes:
    """Bytes that sort as a walk visits: a directory after all that lies in it."""
    return path.rstrip(b"/").replace(b"/", b"\0\1") + b"\0\2"


# fingerprint, racy, files, others, size; tree: size, digest, listed; how many extents and runs.
_HEAD = struct.Struct(f"<{FINGERPRINT_BYTES}s?QQQQ{DIGEST_BYTES}s?II")
_LISTING = struct.Struct("<III")
_RUN = struct.Struct(f"<{RUN_BYTES}sI")
_RANGE = struct.Struct("<II")


def _encode(fingerprint: bytes, racy: bool, tally: Tally, tree: Content, uses: FrameSet) -> bytes:
    counts = tally.files, tally.others, tally.size
    lengths = len(tree.extents), len(uses)
    parts = [_HEAD.pack(fingerprint, racy, *counts, tree.size, tree.digest, tree.listed, *lengths)]
    parts += [pack_extent(extent) for extent in tree.extents]
    for run, ranges in uses.items():
        parts.append(_RUN.pack(run, len(ranges)))
        parts += [_RANGE.pack(*item) for item in ranges]
    return b"".join(parts)


def _decode(record: JournalRecord) -> Remembered:
    """What `_encode` was given: a checksum has vouched for the bytes, so nothing is checked."""
    data = record.head
    fingerprint, racy, files, others, size, *tree, extents, runs = _HEAD.unpack_from(data)
    at = _HEAD.size + extents * EXTENT_BYTES
    places = tuple(unpack_extents(data[_HEAD.size : at]))
    uses: FrameSet = {}
    for _ in range(runs):
        run, count = _RUN.unpack_from(data, at)
        at += _RUN.size
        end = at + count * _RANGE.size
        uses[run] = tuple(_RANGE.iter_unpack(data[at:end]))
        at = end
    content = Content(tree[0], tree[1], places, tree[2])
    return Remembered(record, fingerprint, racy, Tally(files, others, size), content, uses)


class _OvertakenError(Exception):
    """Another process of this client has put its own journal in the place of the one read."""


class ScanCache:
    """The old cache read along the walk, and a new one written behind it once something changed.

    `last` is what the last backup of the same paths was; `head` the same, or None where its
    listings are gone or are not to be used.
    """

    def __init__(self, cache: ClientCache, name: str, mark: bytes | None, use_old: bool) -> None:
        """`mark`: 16 fresh random bytes that tie the new journal to its head.

        None where nothing is to be remembered, as in a dry run.
        """
        self._cache = cache
        self._head_name = f"{name}.head"
        self._path = f"{cache.folder}/{name}"
        self._mark = mark
        self._writer: JournalWriter | None = None
        self._writing: AliveMark | None = None
        self._next: Remembered | None = None
        # Half the time of level 1, and hardly larger.
        self._compressor = zstandard.ZstdCompressor(level=-1)
        self._reader = JournalReader(self._path) if use_old else None
        self._old_mark, self.last = self._read_head()
        self.head = self.last if self._begins_as_its_head() else None
        if self.head is not None:
            self._advance()

    def ignore(self) -> None:
        """From now on nothing is found in it."""
        self.head = self._next = None

    def _read_head(self) -> tuple[bytes, CacheHead | None]:
        data = self._cache.read(self._head_name) or b""
        try:
            return data[:MARK_BYTES], decode_head(data[MARK_BYTES:])
        except FormatError:
            return b"", None

    def _begins_as_its_head(self) -> bool:
        """False if the journal is missing, or is another one than the head was written for."""
        record = self._reader.next() if self._reader is not None else None
        return record is not None and not record.key and record.head == self._old_mark

    def _advance(self) -> None:
        record = self._reader.next() if self._reader is not None else None
        self._next = None if record is None else _decode(record)

    def find(self, path: bytes) -> Remembered | None:
        """The remembered directory; paths must be asked for in walk order."""
        if self.head is None or self._next is None:
            return None
        key = walk_key(path)
        while self._next is not None and self._next.record.key < key:
            self._advance()
        if self._next is None or self._next.record.key != key:
            return None
        return self._next

    def listing(self, remembered: Remembered) -> Listing | None:
        """The full listing of the directory that `find` gave last."""
        data = self._reader.body(remembered.record) if self._reader is not None else None
        if data is None:
            return None
        try:
            reader = Reader(expand_small(data, "scan cache"), "scan cache")
            lengths = reader.u32(), reader.u32(), reader.u32()
            records, names, tree = map(reader.raw, lengths)
            listed = dict(read_list(reader, 8, lambda r: (r.blob(), read_frames(r))))
        except FormatError:
            return None
        return Listing(records, names, tree, listed)

    def keep(self, remembered: Remembered) -> None:
        """Takes over an unchanged directory, the one that `find` gave last."""
        if self._writer is not None and self._reader is not None:
            body = self._reader.body(remembered.record)
            if body is not None:
                with self._giving_up():
                    self._writer.copy(remembered.record, remembered.record.head, body)

    def add(
        self,
        path: bytes,
        fingerprint: tuple[bytes, bool],
        tally: Tally,
        stored: tuple[Content, FrameSet],
        listing: Listing,
    ) -> None:
        """Remembers a directory that was stored anew; `fingerprint` is (hash, racy)."""
        if self._mark is None:
            return
        key = walk_key(path)
        body = self._compress(listing)
        with self._giving_up():
            if self._writer is None:
                self._writer = self._begin(key)
            self._writer.add(key, _encode(*fingerprint, tally, *stored), body)

    def _compress(self, listing: Listing) -> bytes:
        fields = Writer()
        fields.u32(len(listing.listed))
        for name, frames in listing.listed.items():
            fields.blob(name)
            write_frames(fields, frames)
        blobs = [listing.records, listing.names, listing.tree, fields.bytes()]
        lengths = _LISTING.pack(*map(len, blobs[:3]))
        size = len(lengths) + sum(map(len, blobs))
        if size < WHOLE_BYTES:
            return self._compressor.compress(b"".join((lengths, *blobs)))
        pressing = self._compressor.compressobj(size=size)
        parts = [pressing.compress(part) for part in (lengths, *blobs)]
        return b"".join((*parts, pressing.flush()))

    def _begin(self, key: bytes) -> JournalWriter:
        """Starts the new journal with all directories before `key`, which were unchanged."""
        assert self._mark is not None
        self._drop_abandoned()
        suffix = base32(self._mark)
        self._writing = AliveMark(f"{self._path}.{suffix}{LEFTOVER_ENDING}")
        writer = JournalWriter(self._path, suffix)
        writer.add(b"", self._mark, b"")
        if self.head is None:
            return writer
        with JournalReader(self._path) as again:
            first = again.next()
            if first is None or first.head != self._old_mark:
                writer.discard()
                raise _OvertakenError
            while (record := again.next()) is not None and record.key < key:
                body = again.body(record)
                if body is None:
                    break
                writer.copy(record, record.head, body)
        return writer

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """A cache that cannot be written (a full disk, say) is none: that costs time only."""
        try:
            yield
        except (OSError, KluisError, _OvertakenError) as error:
            self._drop()
            self._mark = None
            if not isinstance(error, _OvertakenError):
                self._cache.lose(error)

    def _drop_abandoned(self) -> None:
        """Removes what processes that died were writing."""
        for name, _ in list(self._cache.storage.leftovers("")):
            if name.startswith("scan-") and not is_alive(f"{self._cache.folder}/{name}"):
                self._cache.storage.discard(name)

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.discard()
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    def finish(self, head: CacheHead | None) -> None:
        """Makes what was added the cache of the next run; None drops it."""
        if self._reader is not None:
            self._reader.close()
        if head is not None and self._mark is not None:
            with self._giving_up():
                self._finish(self._mark, head)
        self._drop()

    def _finish(self, mark: bytes, head: CacheHead) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.keep()
            self._cache.write(self._head_name, mark + encode_head(head))
        elif self.head is not None and self._read_head()[0] == self._old_mark:
            # Nothing changed: the old journal stays, and with it the instant it was made at.
            kept = replace(head, racy_s=self.head.racy_s, racy_ns=self.head.racy_ns)
            self._cache.write(self._head_name, self._old_mark + encode_head(kept))
