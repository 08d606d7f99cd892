"""The names in a tree, and where its folders lie, without an object for each entry.

For who looks through many trees for a few names. What is said of an entry besides its name and
content is not looked at: who needs more of it decodes the tree.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import accumulate, pairwise
from operator import ge

from kluis.errors import FormatError
from kluis.format.extent import EXTENT_BYTES, Extent, unpack_extents
from kluis.format.tree import (
    DIRECTORY,
    HEADER_BYTES,
    LISTED,
    NAME_LIMIT_BYTES,
    RECORD_BYTES,
    SIZES,
    encode_parts,
    layout,
)

EMPTY = encode_parts([], [], [], [])
# Of a record its flags, size and digest.
_CONTENT = struct.Struct("<xB22xQ40x32s")

assert _CONTENT.size == RECORD_BYTES


class Skimmed:
    """A tree's names in order, and the numbers of those that are folders."""

    __slots__ = ("_data", "_extents", "_extents_at", "folders", "names")

    def __init__(self, data: bytes = EMPTY) -> None:
        """`FormatError` for names that no folder can have, and parts that do not fit."""
        parts = layout(data[:HEADER_BYTES], len(data))
        self._data, self._extents_at = data, parts.extents_at()
        sizes = list(SIZES.iter_unpack(data[HEADER_BYTES : self._extents_at]))
        lengths, extents, extras = zip(*sizes, strict=True) if sizes else ((), (), ())
        self._extents = list(accumulate([EXTENT_BYTES * n for n in extents], initial=0))
        blob = data[parts.names_at() : parts.extras_at()]
        ends = list(accumulate(lengths, initial=0))
        self.names = [blob[start:end] for start, end in pairwise(ends)]
        sums = ends[-1], sum(extents), sum(extras)
        if sums != (parts.names_bytes, parts.extents, parts.extras_bytes):
            raise FormatError("not a valid tree: its records do not account for all of it")
        if self.names:
            _check_names(blob, self.names, lengths)
        kinds = data[HEADER_BYTES : self._extents_at : RECORD_BYTES]
        self.folders = list(_places(kinds, DIRECTORY))

    def content(self, number: int) -> tuple[int, bytes, tuple[Extent, ...], bool]:
        """Size, digest and extents of an entry, and whether these hold a list of extents."""
        at = HEADER_BYTES + number * RECORD_BYTES
        flags, size, digest = _CONTENT.unpack_from(self._data, at)
        start, end = self._extents[number : number + 2]
        own = self._data[self._extents_at + start : self._extents_at + end]
        extents = tuple(unpack_extents(own))
        return size, digest, extents, bool(flags & LISTED)


def _check_names(blob: bytes, names: list[bytes], lengths: tuple[int, ...]) -> None:
    if min(lengths) == 0 or max(lengths) > NAME_LIMIT_BYTES or b"/" in blob or b"\0" in blob:
        raise FormatError("not a valid tree: a name that cannot be a file's")
    if b"." in names or b".." in names:
        raise FormatError("not a valid tree: a name that cannot be a file's")
    if any(map(ge, names, names[1:])):
        raise FormatError("not a valid tree: its names do not ascend")


def _places(kinds: bytes, kind: int) -> Iterator[int]:
    at = kinds.find(kind)
    while at >= 0:
        yield at
        at = kinds.find(kind, at + 1)
