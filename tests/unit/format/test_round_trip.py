"""Every value comes back as it was, and every accepted encoding is the one that is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.errors import FormatError, NewerFormatError
from kluis.format import codec, frame, pack
from tests.unit.format import contents, kinds, samples, values
from tests.unit.format.kinds import KINDS, Kind

# These need what lies outside their bytes: the certificates of their pack, the size of their frame.
OTHERWISE = ("pack directory", "chunk list")


BY_KIND: dict[str, st.SearchStrategy[Any]] = {
    "certificate": values.certificates,
    "keyring": values.keyrings,
    "keyring private": values.privates,
    "domain": values.domains,
    "store": values.stores,
    "ledger record": values.records,
    "ledger events": values.events,
    "ledger checkpoint": values.checkpoints().map(lambda point: (point,)),
    "segment": st.tuples(st.just(samples.ENCODED_CERTIFICATE), values.blob),
    "segment inner": contents.segments(),
    "snapshot": st.tuples(st.just(samples.ENCODED_CERTIFICATE), values.blob, values.blob),
    "snapshot facts": contents.facts,
    "snapshot root": contents.roots(),
    "pack head": contents.heads,
    "pack directory": contents.directories,
    "parity head": contents.shards(),
    "chunk list": contents.chunk_lists,
    "tree": contents.trees,
    "extent list": contents.extent_lists,
    "frame set": values.frame_sets,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_sample_comes_back_and_has_one_encoding(kind: Kind) -> None:
    encoded = kind.encode(kind.sample)
    decoded = kind.decode(encoded)
    assert decoded == kind.sample
    assert kind.encode(decoded) == encoded


@pytest.mark.parametrize("name", [name for name in BY_KIND if name not in OTHERWISE])
def test_any_value_comes_back_and_has_one_encoding(name: str) -> None:
    kind = kinds.BY_NAME[name]

    @given(BY_KIND[name])
    def holds(value: Any) -> None:
        encoded = kind.encode(value)
        decoded = kind.decode(encoded)
        assert decoded == value
        assert kind.encode(decoded) == encoded

    holds()


@given(contents.directories)
def test_any_pack_directory_comes_back(entries: list[frame.FrameEntry]) -> None:
    encoded = pack.encode_directory(entries, contents.PACK_CERTIFICATES)
    assert pack.decode_directory(encoded, contents.PACK_CERTIFICATES) == entries


@given(contents.chunk_lists)
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


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if not kind.signed], ids=lambda kind: kind.name
)
def test_what_is_read_from_damaged_fields_would_be_written_so(kind: Kind) -> None:
    """No second encoding of a value gets through, even behind a seal that fits."""
    fields = kinds.fields_of(kind)

    @given(st.integers(0, len(fields) - 1), st.integers(1, 255))
    def holds(place: int, change: int) -> None:
        damaged = bytearray(fields)
        damaged[place] ^= change
        try:
            value = kinds.decode_fields(kind, bytes(damaged))
        except (FormatError, NewerFormatError):
            return
        again = kind.encode(value)
        if kind.compressed:
            again = codec.expand_small(again, kind.name)
        assert again == bytes(damaged)

    holds()
