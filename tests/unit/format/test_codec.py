"""Fields and compressed parts: what is refused, and that nothing hostile costs memory."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kluis.errors import FormatError
from kluis.format import codec, frame
from kluis.format.codec import Reader, Writer

PLAIN = b"what was compressed " * 40
SQUEEZED = codec.compress_small(PLAIN)
SKIPPABLE = struct.pack("<II", 0x184D2A50, 4) + b"skip"
MAGIC = b"\x28\xb5\x2f\xfd"


def without_size() -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(PLAIN)


def with_dictionary() -> bytes:
    dictionary = zstandard.ZstdCompressionDict(PLAIN[:200])
    return zstandard.ZstdCompressor(dict_data=dictionary).compress(PLAIN)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SQUEEZED[:-1],
        SQUEEZED + b"\0",
        SQUEEZED + SQUEEZED,
        SQUEEZED + SKIPPABLE,
        SKIPPABLE + SQUEEZED,
        SKIPPABLE,
        without_size(),
        with_dictionary(),
        zstandard.ZstdCompressor().compress(b""),
        zstandard.ZstdCompressor().compress(b"") + b"behind an empty frame",
    ],
    ids=[
        "nothing",
        "truncated",
        "one byte more",
        "two frames",
        "skippable after",
        "skippable before",
        "skippable alone",
        "size unknown",
        "dictionary",
        "empty",
        "empty and more",
    ],
)
def test_only_one_whole_frame_that_names_its_size_is_expanded(data: bytes) -> None:
    assert codec.expand(SQUEEZED, len(PLAIN), "part") == PLAIN
    with pytest.raises(FormatError):
        codec.expand(data, 1 << 20, "part")


def test_a_frame_larger_than_its_limit_is_refused() -> None:
    with pytest.raises(FormatError):
        codec.expand(SQUEEZED, len(PLAIN) - 1, "part")


@pytest.mark.parametrize(("window_log", "content"), [(27, 1000), (27, (1 << 16) + 255), (11, 1000)])
def test_a_frame_that_asks_for_a_larger_window_than_its_content_is_refused(
    window_log: int, content: int
) -> None:
    head = MAGIC + bytes((1 << 6, (window_log - 10) << 3)) + struct.pack("<H", content - 256)
    block = struct.pack("<I", content << 3 | 1 << 1 | 1)[:3] + b"a"
    with pytest.raises(FormatError, match="memory"):
        codec.expand(head + block, 1 << 20, "part")


def test_a_bomb_costs_no_more_than_the_limit_allows() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    assert len(bomb) < 8000
    tracemalloc.start()
    with pytest.raises(FormatError):
        codec.expand(bomb, 1 << 20, "part")
    with pytest.raises(FormatError):
        frame.expand_frame(bomb, frame.ZSTD, 1 << 20)
    # It says that it is small and is not.
    lying = zstandard.ZstdCompressor().compress(bytes(1000))
    lying = lying[:5] + struct.pack("<H", 999 - 256) + lying[7:]
    assert zstandard.frame_content_size(lying) == 999
    with pytest.raises(FormatError):
        codec.expand(lying, 1 << 20, "part")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@given(st.binary(min_size=1, max_size=5000))
def test_what_is_compressed_expands_to_itself(data: bytes) -> None:
    squeezed = codec.compress_small(data)
    assert codec.expand_small(squeezed, "part") == data
    assert codec.expand(memoryview(squeezed), len(data), "part") == data


@pytest.mark.parametrize("level", [1, 3, 9, 19])
@pytest.mark.parametrize("size", [1, 100, 1023, 1025, 1 << 17, (1 << 20) + 1])
def test_no_level_or_size_gives_a_frame_that_the_reader_refuses(level: int, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    squeezed = zstandard.ZstdCompressor(level=level).compress(data)
    assert codec.expand(squeezed, size, "frame") == data


def test_what_no_reader_takes_is_not_written() -> None:
    for data in (b"", bytes(11)):
        with pytest.raises(ValueError):
            codec.compress_small(data, limit_bytes=10)
    assert codec.expand_small(codec.compress_small(bytes(10), 10), "part", 10) == bytes(10)


def test_a_field_has_its_size_and_a_text_its_limit() -> None:
    writer = Writer()
    with pytest.raises(ValueError):
        writer.raw(b"12345", 4)
    with pytest.raises(ValueError):
        writer.text("\u00e9" * 0x8000)
    writer.text("x" * 0xFFFF)
    assert Reader(writer.bytes(), "text").text() == "x" * 0xFFFF


@pytest.mark.parametrize(
    ("data", "take"),
    [
        (b"\2", Reader.flag),
        (b"\1\0\xff", Reader.text),
        (b"\2\0x", Reader.text),
        (b"\4\0\0\0abc", Reader.blob),
        (b"\xff\xff\xff\xff", lambda reader: reader.count(1)),
        (b"\2\0\0\0abc", lambda reader: reader.count(2)),
        (b"\0\0\1", lambda reader: reader.zero(3)),
        (b"1", Reader.finish),
    ],
)
def test_what_no_writer_writes_is_refused(data: bytes, take: object) -> None:
    assert callable(take)
    with pytest.raises(FormatError):
        take(Reader(data, "part"))


def test_items_that_may_be_there_once_are_not_written_twice() -> None:
    assert codec.in_order((3, 1, 2), lambda item: item) == (1, 2, 3)
    with pytest.raises(ValueError):
        codec.in_order((3, 1, 3), lambda item: item)
