"""Whatever a parser is handed, it reads a value or raises one of two errors, and stays small."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.errors import FormatError, NewerFormatError
from kluis.format import codec, crypt, names
from tests.unit.format import samples
from tests.unit.format.kinds import KINDS, Kind, decode_fields, fields_of

# What a parser may hold for a hostile input of some KB, objects of Python included.
MEMORY_LIMIT_BYTES = 4 << 20
NAME_PARSERS: dict[str, Callable[[str], object]] = {
    "pack": names.parse_pack,
    "numbered": names.parse_numbered,
    "number": names.parse_number,
    "base32": lambda text: names.from_base32(text, 16),
}


@contextmanager
def bounded() -> Iterator[None]:
    """Fails if the block holds more than `MEMORY_LIMIT_BYTES` at any time."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT_BYTES


def read(kind: Kind, data: bytes) -> None:
    with suppress(FormatError, NewerFormatError):
        kind.decode(data)


def read_fields(kind: Kind, fields: bytes) -> None:
    if fields:
        with suppress(FormatError, NewerFormatError):
            decode_fields(kind, fields)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_any_bytes_are_read_or_refused(kind: Kind) -> None:
    @given(st.binary(max_size=400))
    def holds(data: bytes) -> None:
        read(kind, data)
        read_fields(kind, data)

    with bounded():
        holds()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_any_mutation_of_a_valid_object_is_read_or_refused(
    kind: Kind, seed: int, trials: Callable[[int, int], int]
) -> None:
    dice = random.Random(f"{seed} {kind.name}")
    whole, fields = kind.encode(kind.sample), fields_of(kind)
    with bounded():
        for _ in range(trials(150, 100_000)):
            read(kind, mutated(dice, whole))
            read_fields(kind, mutated(dice, fields))


def mutated(dice: random.Random, data: bytes) -> bytes:
    """Damage as a medium or an attacker would do it: a few of these, at random places."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(result) + 1)
        match dice.randrange(6):
            case 0:
                result[place : place + 1] = dice.randbytes(1)
            case 1:
                result[place : place + 4] = b"\xff\xff\xff\xff"
            case 2:
                del result[place : place + dice.randint(1, 40)]
            case 3:
                result[place:place] = dice.randbytes(dice.randint(1, 40))
            case 4:
                result[place : place + 4] = dice.randrange(1 << 32).to_bytes(4, "little")
            case _:
                start = dice.randrange(len(result) + 1)
                result[place:place] = result[start : start + dice.randint(1, 60)]
    return bytes(result)


@given(st.binary(max_size=200))
def test_any_bytes_are_unsealed_or_refused(data: bytes) -> None:
    for start in (b"", b"\1", b"\2"):
        with pytest.raises(FormatError):
            crypt.unseal(samples.pattern("key", 32), start + data, b"place", "part")
    with pytest.raises(FormatError):
        crypt.open_box(samples.OWNER_BOX, samples.OWNER_BOX_SECRET, data, "box")


@given(st.binary(max_size=200), st.integers(1, 1 << 16))
def test_any_bytes_are_expanded_within_the_limit_or_refused(data: bytes, limit: int) -> None:
    for start in (b"", b"\x28\xb5\x2f\xfd"):
        try:
            plain = codec.expand(start + data, limit, "part")
        except FormatError:
            continue
        assert 0 < len(plain) <= limit


@pytest.mark.parametrize("parse", NAME_PARSERS.values(), ids=NAME_PARSERS)
def test_any_text_is_a_name_or_refused(parse: Callable[[str], object]) -> None:
    alphabet = st.sampled_from("abz27-/.0189A=\n\u0131\u0660") | st.characters()

    @given(st.text(alphabet, max_size=70))
    def holds(text: str) -> None:
        with suppress(FormatError):
            parse(text)

    holds()
