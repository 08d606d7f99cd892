"""Trees looked through without an object for each entry: what verify computes again.

Where the native way finds no tree that kluis writes, the decoder in `format` has the last word.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from blake3 import blake3

from kluis._native import digests
from kluis.errors import DamageError, FormatError
from kluis.format import tree
from kluis.format.extent import HOLE_RUN, Extent, extent_length, unpack_extents
from kluis.format.frame import DATA, TREE, FrameEntry, encode_chunks
from kluis.format.tree import DIRECTORY, LISTED, RECORD_BYTES
from kluis.format.tree_pieces import pieces
from kluis.repository.content import Content, check_chunks
from kluis.repository.index import Index
from kluis.repository.reader import KEPT_BYTES, OpenFrame
from kluis.repository.streams import OTHER, OTHER_KIND, SPLIT, Streams
from kluis.repository.trees import TreeReader, content_of

# Chunk lists that are kept, 24 bytes a chunk: of 8 GiB or more.
KEPT_CHUNKS = 1 << 19
OWNERS_KEPT = 1 << 10

_ITEM = struct.Struct(digests.ITEM_FORMAT)
_FRAME = struct.Struct("<16sI")
_RECORD = struct.Struct("<BB22xQ40x32s")  # kind, flags, size, digest
_REASONS = {digests.WRONG: OTHER, digests.SPLIT: SPLIT, digests.KIND: OTHER_KIND}

assert _RECORD.size == RECORD_BYTES
assert _FRAME.size == digests.FRAME_BYTES

Item = tuple[int, int, int, int, int, int, int, int]


class _UnfitError(Exception):
    """A tree that only the decoder can say more of."""


@dataclass
class Seen:
    """What a tree names: how many files, the folders that are whole, and what is damaged."""

    files: int = 0
    folders: list[tuple[bytes, Content]] = field(default_factory=list)
    damaged: list[tuple[bytes, Content, str]] = field(default_factory=list)


@dataclass
class TreeChecker:
    """Computes again the digest of everything that the trees of a domain name."""

    trees: TreeReader
    streams: Streams = field(init=False)
    _native: digests.Digests = field(default_factory=lambda: digests.Digests(KEPT_CHUNKS))
    _frames: OrderedDict[tuple[bytes, int], OpenFrame] = field(default_factory=OrderedDict)
    _owners: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.streams = Streams(self.trees)

    def offer(self, index: Index, entry: FrameEntry, chunks: bytes) -> None:
        """Keeps the chunk list of a frame that was looked into, while there is room for it."""
        number = entry.run, entry.n
        if self._native.chunks < KEPT_CHUNKS // 2 and number not in index.copies:
            self._native.add(_FRAME.pack(*number), entry.kind, chunks)

    def check_root(self, content: Content) -> None:
        """Raises `DamageError` unless the chunks of the tree of `/` are those recorded."""
        self.streams.check(content, TREE)

    def look(self, content: Content) -> Seen:
        """What the tree at `content` names, whose digest was found right.

        `DamageError` if it cannot be had, or is none that kluis writes.
        """
        if not content.extents:
            return Seen()
        try:
            return self._look_natively(content)
        except _UnfitError:
            return self._look_in_words(content)

    def _look_natively(self, content: Content) -> Seen:
        spans = content.extents
        if content.listed:
            spans = tuple(e for _, extents in self.trees.blocks(content) for e in extents)
        source = _Bytes(self, spans)
        seen = Seen()
        try:
            if source.size > tree.WINDOW_BYTES:
                tree.owners(source.read, source.size)
            for piece, before in pieces(source.read, source.size):
                self._look_at(piece, before, seen)
        except FormatError:
            raise _UnfitError from None
        return seen

    def _look_at(self, data: bytes, before: bytes, seen: Seen) -> None:
        """Takes in a tree, or a piece of one."""
        native, found = self._native, _Hasher(self.trees.keys.digests)
        try:
            owners = data[native.open(data, before) :]
        except ValueError:
            raise _UnfitError from None
        self._check_owners(owners)
        done = False
        while not done:
            items, gathered, done = native.run()
            for item in _ITEM.iter_unpack(items):
                if item[0] == digests.PART:
                    found.update(gathered[item[6] : item[7]])
                elif item[0] == digests.NEEDED:
                    reason = self._fetch(data[item[6] : item[7]])
                    if reason:
                        found.reset()
                        native.skip()
                        self._tell(data, item, reason, seen)
                else:
                    self._tell(data, item, self._reason(data, item, gathered, found), seen)
        seen.files += native.files

    def _reason(self, data: bytes, item: Item, gathered: bytes, found: _Hasher) -> str:
        """What is wrong with an entry, or nothing."""
        what, record, *_, begin, end = item
        if what == digests.LAST:
            right = data[record + RECORD_BYTES - 32 : record + RECORD_BYTES]
            return "" if found.finish(gathered[begin:end]) == right else OTHER
        found.reset()
        if what != digests.LISTED:
            return _REASONS.get(what, "")
        kind, content = _content(data, item)
        try:
            self.streams.check(content, TREE if kind == DIRECTORY else DATA)
        except DamageError as error:
            return str(error)
        return ""

    @staticmethod
    def _tell(data: bytes, item: Item, reason: str, seen: Seen) -> None:
        if not reason and data[item[1]] != DIRECTORY:
            return
        _, content = _content(data, item)
        name = data[item[2] : item[3]]
        if reason:
            seen.damaged.append((name, content, reason))
        else:
            seen.folders.append((name, content))

    def _fetch(self, extent: bytes) -> str:
        """Gets the chunk list that an extent needs, or tells why it cannot be had."""
        frame, frames = extent[: _FRAME.size], self.trees.frames
        run, n = _FRAME.unpack(frame)
        try:
            chunks = frames.chunks(run, n)
        except DamageError as error:
            return str(error)
        kinds = {place.kind for place in frames.places(run, n)}
        if len(kinds) != 1:
            return OTHER_KIND
        self._native.add(frame, kinds.pop(), encode_chunks(chunks))
        return ""

    def _check_owners(self, owners: bytes) -> None:
        if owners in self._owners:
            return
        try:
            tree.decode_owners(owners)
        except FormatError:
            raise _UnfitError from None
        if len(self._owners) >= OWNERS_KEPT:
            self._owners.clear()
        self._owners.add(owners)

    def _look_in_words(self, content: Content) -> Seen:
        """The same, an object an entry; raises what is wrong with the tree."""
        seen = Seen()
        for entry in self.trees.tree(content).entries:
            if entry.kind not in (tree.FILE, DIRECTORY):
                continue
            seen.files += entry.kind == tree.FILE
            found = content_of(entry)
            try:
                self.streams.check(found, TREE if entry.kind == DIRECTORY else DATA)
            except DamageError as error:
                seen.damaged.append((entry.name, found, str(error)))
                continue
            if entry.kind == DIRECTORY:
                seen.folders.append((entry.name, found))
        return seen

    def frame(self, run: bytes, n: int) -> bytes:
        """The plain bytes of a frame of trees, each chunk checked against its hash."""
        opened = self.trees.frames.open(run, n)
        if self._frames.get((run, n)) is not opened:
            try:
                check_chunks(opened.plain, opened.chunks, self.trees.keys.tree)
            except FormatError:
                raise _UnfitError from None  # its other chunks may be whole
            self._frames[run, n] = opened
            kept = sum(len(frame.plain) for frame in self._frames.values())
            while kept > KEPT_BYTES and len(self._frames) > 1:
                _, dropped = self._frames.popitem(last=False)
                kept -= len(dropped.plain)
        return opened.plain


@dataclass
class _Hasher:
    """A digest over what comes in parts."""

    key: bytes
    _begun: blake3 | None = None

    def update(self, part: bytes) -> None:
        if self._begun is None:
            self._begun = blake3(key=self.key)
        self._begun.update(part)

    def finish(self, part: bytes) -> bytes:
        """The digest; the next one is another's."""
        if self._begun is None:
            return blake3(part, key=self.key).digest()
        self._begun.update(part)
        digest = self._begun.digest()
        self._begun = None
        return digest

    def reset(self) -> None:
        self._begun = None


class _Bytes:
    """The bytes of a tree that lies in these extents."""

    def __init__(self, checker: TreeChecker, spans: tuple[Extent, ...]) -> None:
        if any(span.run == HOLE_RUN for span in spans):
            raise _UnfitError
        self._checker = checker
        self._spans = spans
        self._ends = list(accumulate(map(extent_length, spans)))
        self.size = self._ends[-1]

    def read(self, offset: int, size: int) -> bytes:
        """Those bytes, fewer where the tree ends."""
        parts = list(self._parts(offset, min(offset + size, self.size)))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _parts(self, at: int, end: int) -> Iterator[bytes]:
        place = bisect_right(self._ends, at)
        while at < end:
            run, n, offset, length = self._spans[place]
            begin = self._ends[place] - length
            until = min(end, self._ends[place])
            plain = self._checker.frame(run, n)
            yield plain[offset + at - begin : offset + until - begin]
            at = until
            place += 1


def _content(data: bytes, item: Item) -> tuple[int, Content]:
    """(kind, content) of the entry that an item tells of."""
    _, record, _, _, extents, end, _, _ = item
    kind, flags, size, digest = _RECORD.unpack_from(data, record)
    own = tuple(unpack_extents(data[extents:end]))
    return kind, Content(size, digest, own, bool(flags & LISTED))
