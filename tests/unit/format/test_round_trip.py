"""Every value comes back as it was, and every accepted encoding is the one that is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kluis.format import frame, pack
from tests.unit.format import kinds, values
from tests.unit.format.kinds import KINDS, Kind

# These need what lies outside their bytes: the certificates of their pack, the size of their frame.
OTHERWISE = ("pack directory", "chunk list")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_sample_comes_back_and_has_one_encoding(kind: Kind) -> None:
    encoded = kind.encode(kind.sample)
    decoded = kind.decode(encoded)
    assert decoded == kind.sample
    assert kind.encode(decoded) == encoded


@pytest.mark.parametrize("name", [name for name in values.BY_KIND if name not in OTHERWISE])
def test_any_value_comes_back_and_has_one_encoding(name: str) -> None:
    kind = kinds.BY_NAME[name]

    @given(values.BY_KIND[name])
    def holds(value: Any) -> None:
        encoded = kind.encode(value)
        decoded = kind.decode(encoded)
        assert decoded == value
        assert kind.encode(decoded) == encoded

    holds()


@given(values.directories)
def test_any_pack_directory_comes_back(entries: list[frame.FrameEntry]) -> None:
    encoded = pack.encode_directory(entries, values.PACK_CERTIFICATES)
    assert pack.decode_directory(encoded, values.PACK_CERTIFICATES) == entries


@given(values.chunk_lists)
def test_any_chunk_list_comes_back(chunks: list[tuple[bytes, int]]) -> None:
    encoded = frame.encode_chunks(chunks)
    assert frame.decode_chunks(encoded, sum(length for _, length in chunks)) == chunks


@given(st.integers(500, 1 << 27), st.integers(0, 1 << 20), st.integers(1, 1 << 20))
def test_any_pack_ends_in_a_trailer_that_finds_its_parts(body: int, lists: int, names: int) -> None:
    tail = pack.encode_tail(body, lists, names)
    size = body + lists + names + len(tail)
    assert size % pack.PADDING_BYTES == 0
    assert len(tail) < pack.TRAILER_BYTES + pack.PADDING_BYTES
    trailer = pack.decode_trailer(tail[-pack.TRAILER_BYTES :], size)
    assert trailer == pack.Trailer(body, lists, body + lists, names)


@pytest.mark.parametrize("name", list(values.BY_KIND))
def test_what_is_read_from_damaged_fields_would_be_written_so(name: str) -> None:
    """Whatever a reader accepts is canonical: no second encoding of a value gets through."""
    kind = kinds.BY_NAME[name]
    if kind.signed:
        return_is_covered_by_the_signature(kind)
        return
    fields = kinds.fields_of(kind)

    @settings(max_examples=200)
    @given(st.integers(0, len(fields) - 1), st.integers(1, 255))
    def holds(place: int, change: int) -> None:
        damaged = bytearray(fields)
        damaged[place] ^= change
        try:
            value = kinds.decode_fields(kind, bytes(damaged))
        except (kinds.FormatError, kinds.NewerFormatError):
            return
        again = kind.encode(value)
        if kind.compressed:
            again = kinds.codec.expand_small(again, name)
        assert again == bytes(damaged)

    holds()


def return_is_covered_by_the_signature(kind: Kind) -> None:
    encoded = bytearray(kind.encode(kind.sample))
    encoded[len(encoded) // 2] ^= 1
    with pytest.raises(kinds.FormatError):
        kind.decode(bytes(encoded))
