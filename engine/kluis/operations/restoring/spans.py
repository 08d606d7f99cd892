"""Small files of one folder and one frame, side by side in arrays: no object for each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from kluis._native import plan, scatter
from kluis.format.tree import HOLE_RUN, Extent
from kluis.repository.content import Content

_FILE = struct.Struct(scatter.SMALL_FORMAT)
_SPAN = struct.Struct(plan.SPAN_FORMAT)
FILE_BYTES = _FILE.size
START_AT = 8
"""In a file's fields: where its content lies in the frame; then how long it is."""

assert scatter.SMALL_FORMAT.startswith("=HHII")

Frame = tuple[bytes, int]


class Files(NamedTuple):
    """The small files of a stretch of a tree, as `plan.window` gives them."""

    fields: bytes
    digests: bytes
    names: bytes
    spans: bytes


class File(NamedTuple):
    """One of them, for what is done seldom."""

    name: bytes
    content: Content


@dataclass(slots=True)
class Span:
    """Files of one folder whose contents one frame holds, or that are empty."""

    folder: bytes
    frame: Frame
    count: int
    size: int
    """Of all contents."""
    fields: bytes
    digests: bytes
    names: bytes

    def files(self) -> Iterator[File]:
        """Each of them."""
        name_at = digest_at = 0
        for name_bytes, _, _, start, size, *_ in _FILE.iter_unpack(self.fields):
            extents = (Extent(*self.frame, start, size),) if size else ()
            digest = self.digests[digest_at : digest_at + plan.DIGEST_BYTES]
            name = self.names[name_at : name_at + name_bytes]
            yield File(name, Content(size, digest, extents))
            name_at += name_bytes
            digest_at += plan.DIGEST_BYTES

    def without(self, wrong: bytes) -> Span:
        """The files whose byte in `wrong` is zero."""
        kept = [number for number, is_wrong in enumerate(wrong) if not is_wrong]
        files = list(self.files())
        chosen = [files[number] for number in kept]
        return Span(
            self.folder,
            self.frame,
            len(chosen),
            sum(file.content.size for file in chosen),
            b"".join(self.fields[FILE_BYTES * n : FILE_BYTES * (n + 1)] for n in kept),
            b"".join(file.content.digest for file in chosen),
            b"".join(file.name for file in chosen),
        )


def spans_of(folder: bytes, files: Files) -> Iterator[Span]:
    """The files of a folder, by frame."""
    fields, digests, names, spans = files
    for run, n, first, count, start, size, content_bytes in _SPAN.iter_unpack(spans):
        end = first + count
        yield Span(
            folder,
            (run, n),
            count,
            content_bytes,
            fields[FILE_BYTES * first : FILE_BYTES * end],
            digests[plan.DIGEST_BYTES * first : plan.DIGEST_BYTES * end],
            names[start : start + size],
        )


def is_empty(span: Span) -> bool:
    """Whether its files have no content."""
    return span.frame[0] == HOLE_RUN
