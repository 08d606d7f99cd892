"""A local file of checked records in a given order, written and read as a stream.

For a client's cache only: a record that is torn or damaged ends the stream, and the rest
counts as not there. Each record has a key, a head, and a body that can be skipped.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from blake3 import blake3

from kluis.frozen import frozen

_RECORD = struct.Struct("<IIII16s16s")  # shared key bytes, further key bytes, head, body, checks
_MAGIC = b"kluisjn1"
_CHECK_BYTES = 16
BUFFER_BYTES = 1 << 18
PART_LIMIT_BYTES = 1 << 31


@frozen
class JournalRecord:
    """One record; its body is read on demand."""

    key: bytes
    head: bytes
    body_bytes: int
    body_check: bytes


class JournalReader:
    """Reads a journal once, front to back; behaves as empty where there is none."""

    def __init__(self, path: str) -> None:
        self._file: BinaryIO | None = None
        self._key = b""
        self._body_end = 0
        try:
            self._file = open(path, "rb", BUFFER_BYTES)  # noqa: SIM115 - closed by close()
            if self._file.read(len(_MAGIC)) != _MAGIC:
                self.close()
        except OSError:
            self.close()
        self._position = len(_MAGIC)

    def __iter__(self) -> Iterator[JournalRecord]:
        while (record := self.next()) is not None:
            yield record

    def next(self) -> JournalRecord | None:
        """The next record, or None at the end and from the first damage on."""
        if self._file is None:
            return None
        if self._position != self._body_end and self._body_end:
            self._file.seek(self._body_end)
            self._position = self._body_end
        data = self._file.read(_RECORD.size)
        if len(data) < _RECORD.size:
            return None
        shared, further, head_bytes, body_bytes, check, body_check = _RECORD.unpack(data)
        if shared > len(self._key) or max(further, head_bytes, body_bytes) > PART_LIMIT_BYTES:
            return None
        rest = self._file.read(further + head_bytes)
        if len(rest) < further + head_bytes:
            return None
        key = self._key[:shared] + rest[:further]
        if _check(data[:16], rest) != check:
            return None
        self._key = key
        self._position += _RECORD.size + len(rest)
        self._body_end = self._position + body_bytes
        return JournalRecord(key, rest[further:], body_bytes, body_check)

    def body(self, record: JournalRecord) -> bytes | None:
        """The body of the record that `next` gave last; None if it is damaged."""
        if self._file is None:
            return None
        start = self._body_end - record.body_bytes
        if self._position != start:
            self._file.seek(start)
        data = self._file.read(record.body_bytes)
        self._position = start + len(data)
        if len(data) != record.body_bytes or _check(b"body", data) != record.body_check:
            return None
        return data

    def close(self) -> None:
        """Gives the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class JournalWriter:
    """Writes a journal beside its final name; `keep` puts it there whole."""

    def __init__(self, path: str, suffix: str) -> None:
        self._path = path
        self._draft = f"{path}.{suffix}.tmp"
        self._file = open(self._draft, "wb", BUFFER_BYTES)  # noqa: SIM115 - closed by keep()
        self._file.write(_MAGIC)
        self._key = b""

    def add(self, key: bytes, head: bytes, body: bytes) -> None:
        """Appends a record."""
        self._add(key, head, body, _check(b"body", body))

    def copy(self, record: JournalRecord, head: bytes, body: bytes) -> None:
        """Appends a record that was read, with another head, its body unchecked."""
        self._add(record.key, head, body, record.body_check)

    def _add(self, key: bytes, head: bytes, body: bytes, body_check: bytes) -> None:
        shared = _shared(self._key, key)
        further = key[shared:]
        lengths = struct.pack("<IIII", shared, len(further), len(head), len(body))
        check = _check(lengths, further + head)
        self._file.write(b"".join((lengths, check, body_check, further, head, body)))
        self._key = key

    def keep(self) -> None:
        """Puts the journal under its name."""
        self._file.close()
        os.rename(self._draft, self._path)

    def discard(self) -> None:
        """Removes what was written."""
        self._file.close()
        try:
            os.unlink(self._draft)
        except FileNotFoundError:
            pass


def _check(lengths: bytes, data: bytes) -> bytes:
    return blake3(lengths + data).digest(_CHECK_BYTES)


def _shared(a: bytes, b: bytes) -> int:
    """How many bytes the two begin with in common."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    low, high = 0, limit
    while low + 1 < high:
        middle = (low + high) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle
    return low
