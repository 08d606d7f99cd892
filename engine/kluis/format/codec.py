"""Canonical little-endian fields: every value has one encoding, every reader consumes all.

A reader raises `FormatError` for anything that a writer would not have written.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import zstandard

from kluis.errors import FormatError

_U8 = struct.Struct("<B")
_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")

TEXT_LIMIT_BYTES = 0xFFFF
# No small object may expand beyond this, so a hostile one cannot exhaust memory.
EXPANDED_LIMIT_BYTES = 1 << 28
# The least window that zstd knows, whatever the content's size.
_WINDOW_BYTES = 1 << 10
_SIZE_UNKNOWN = (1 << 64) - 1

T = TypeVar("T")


class Writer:
    """Collects fields; `bytes()` gives them back to back."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def u8(self, value: int) -> None:
        self._parts.append(_U8.pack(value))

    def u16(self, value: int) -> None:
        self._parts.append(_U16.pack(value))

    def u32(self, value: int) -> None:
        self._parts.append(_U32.pack(value))

    def u64(self, value: int) -> None:
        self._parts.append(_U64.pack(value))

    def i64(self, value: int) -> None:
        self._parts.append(_I64.pack(value))

    def raw(self, value: bytes, size: int) -> None:
        """A field of fixed size; a value of another size is a programming error."""
        if len(value) != size:
            raise ValueError(f"field of {size} bytes given {len(value)}")
        self._parts.append(value)

    def blob(self, value: bytes) -> None:
        """Bytes with a 32-bit length before them."""
        self._parts.append(_U32.pack(len(value)))
        self._parts.append(value)

    def text(self, value: str) -> None:
        """UTF-8 with a 16-bit length before it."""
        data = value.encode("utf-8")
        if len(data) > TEXT_LIMIT_BYTES:
            raise ValueError(f"text of {len(data)} bytes, at most {TEXT_LIMIT_BYTES} fit")
        self._parts.append(_U16.pack(len(data)))
        self._parts.append(data)

    def bytes(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """Takes fields off a buffer, never beyond its end."""

    __slots__ = ("_data", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._position = 0
        self._what = what

    def fail(self, reason: str) -> FormatError:
        """The error to raise: what kind of object, and why it is not one."""
        return FormatError(f"not a valid {self._what}: {reason}")

    def left(self) -> int:
        return len(self._data) - self._position

    def _take(self, layout: struct.Struct) -> int:
        if self.left() < layout.size:
            raise self.fail("it ends early")
        value: int = layout.unpack_from(self._data, self._position)[0]
        self._position += layout.size
        return value

    def u8(self) -> int:
        return self._take(_U8)

    def u16(self) -> int:
        return self._take(_U16)

    def u32(self) -> int:
        return self._take(_U32)

    def u64(self) -> int:
        return self._take(_U64)

    def i64(self) -> int:
        return self._take(_I64)

    def raw(self, size: int) -> bytes:
        if size < 0 or self.left() < size:
            raise self.fail("it ends early")
        start = self._position
        self._position += size
        return bytes(self._data[start : start + size])

    def blob(self) -> bytes:
        return self.raw(self.u32())

    def text(self) -> str:
        data = self.raw(self.u16())
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("a text is not UTF-8") from None

    def count(self, item_bytes: int) -> int:
        """A 32-bit number of items that each take at least `item_bytes` of what is left."""
        number = self.u32()
        if number * item_bytes > self.left():
            raise self.fail(f"it claims {number} items, more than it can hold")
        return number

    def flag(self) -> bool:
        value = self.u8()
        if value > 1:
            raise self.fail("a flag is neither 0 nor 1")
        return value == 1

    def zero(self, size: int) -> None:
        if any(self.raw(size)):
            raise self.fail("reserved bytes are not zero")

    def rest(self) -> bytes:
        return self.raw(self.left())

    def finish(self) -> None:
        if self.left():
            raise self.fail(f"{self.left()} bytes too many")


def write_list(writer: Writer, items: tuple[T, ...], write: Callable[[Writer, T], None]) -> None:
    """Writes a 32-bit count and each item."""
    writer.u32(len(items))
    for item in items:
        write(writer, item)


def read_list(reader: Reader, item_bytes: int, read: Callable[[Reader], T]) -> tuple[T, ...]:
    """Items written by `write_list`, each of at least `item_bytes`."""
    return tuple(read(reader) for _ in range(reader.count(item_bytes)))


def sorted_strictly(items: tuple[T, ...], key: Callable[[T], object]) -> bool:
    """True if each item's key is larger than the one before: no order to choose, no double."""
    keys = [key(item) for item in items]
    return all(a < b for a, b in pairwise(keys))  # type: ignore[operator]


def in_order(items: tuple[T, ...], key: Callable[[T], Any]) -> tuple[T, ...]:
    """The items as they are written where their order says nothing: by key, none twice."""
    ordered = tuple(sorted(items, key=key))
    if not sorted_strictly(ordered, key):
        raise ValueError("an item that may be there once is given twice")
    return ordered


def compress_small(data: bytes, limit_bytes: int = EXPANDED_LIMIT_BYTES) -> bytes:
    """`data` as one zstd frame that names its expanded size; no reader takes more than the limit.

    The bytes may differ between versions of zstd; what counts is what they expand to.
    """
    if not 0 < len(data) <= limit_bytes:
        raise ValueError(f"an object of {len(data)} bytes, at most {limit_bytes} can be read back")
    return zstandard.ZstdCompressor(level=9, write_content_size=True).compress(data)


def expand_small(data: bytes, what: str, limit_bytes: int = EXPANDED_LIMIT_BYTES) -> bytes:
    """What `compress_small` was given; bounded in memory whatever `data` says."""
    return expand(data, limit_bytes, what)


def expand(data: bytes | bytearray | memoryview, limit_bytes: int, what: str) -> bytes:
    """Exactly one zstd frame expanded, never to more than `limit_bytes`.

    The frame names its size, so no more than that is allocated; a window larger than the
    content, an empty frame (whose end zstandard does not look at), a second or a skippable
    frame and bytes behind it are refused.
    """
    try:
        head = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError:
        raise FormatError(f"not a valid {what}: its compressed part is damaged") from None
    size = head.content_size
    if size == _SIZE_UNKNOWN or not 0 < size <= limit_bytes:
        raise FormatError(f"not a valid {what}: its compressed part has a size that none has")
    if head.window_size > max(size, _WINDOW_BYTES):
        raise FormatError(f"not a valid {what}: its compressed part asks for too much memory")
    try:
        plain = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=limit_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError:
        raise FormatError(f"not a valid {what}: its compressed part is damaged") from None
    if len(plain) != size:
        raise FormatError(f"not a valid {what}: its compressed part ends early")
    return plain
