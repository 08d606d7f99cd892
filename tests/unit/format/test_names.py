"""Names of objects: one spelling each, and nothing else is taken for one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kluis.errors import FormatError
from kluis.format import names
from tests.unit.format import values

STORED = re.compile(r"[a-z0-9/.-]+")


@given(values.key, values.run, values.u32, st.integers(0, (1 << 64) - 1))
def test_every_name_is_read_back_and_has_few_characters(
    digest: bytes, run: bytes, k: int, n: int
) -> None:
    pack = names.pack(names.shelf(run), digest)
    assert names.parse_pack(pack) == (names.shelf(run), digest)
    snapshot = names.numbered(names.SNAPSHOTS, run, k)
    assert names.parse_numbered(snapshot) == (run, k)
    assert names.parse_numbered(names.twin(snapshot)) == (run, k)
    assert names.parse_numbered(names.domain(run, k)) == (run, k)
    assert names.parse_number(names.ledger(n)) == n
    assert names.parse_number(names.keyring(n)) == n
    for name in (pack, names.twin(snapshot), names.ledger(n), names.domain(run, k)):
        assert STORED.fullmatch(name)
    assert len(names.base32(run)) == names.RUN_CHARACTERS
    assert len(names.base32(digest)) == names.DIGEST_CHARACTERS


RUN = "a" * 26


@pytest.mark.parametrize(
    "name",
    [
        f"index/{RUN}-0000001",
        f"index/{RUN}-000000001",
        f"index/{RUN}-4294967296",
        f"index/{RUN}-00000001\n",
        f"index/{RUN}-00000001.tmp",
        f"index/{RUN.upper()}-00000001",
        f"index/{RUN[:-1]}-00000001",
        f"index/{RUN[:-1]}b-00000001",
        f"index/{RUN}-0000000\u0661",
    ],
)
def test_another_spelling_of_a_numbered_name_is_refused(name: str) -> None:
    assert names.parse_numbered(f"index/{RUN}-00000001") == (bytes(16), 1)
    with pytest.raises(FormatError):
        names.parse_numbered(name)


@pytest.mark.parametrize(
    "name",
    [
        "packs/a",
        f"packs/1/{'a' * 52}",
        f"packs/A/{'a' * 52}",
        f"packs/aa/{'a' * 52}",
        f"packs/a/{'a' * 51}",
        f"packs/a/{'a' * 51}b",
        f"twins/packs/a/{'a' * 52}",
        f"packs/a/{'a' * 52}/",
    ],
)
def test_another_spelling_of_a_packs_name_is_refused(name: str) -> None:
    assert names.parse_pack(f"packs/a/{'a' * 52}") == ("a", bytes(32))
    with pytest.raises(FormatError):
        names.parse_pack(name)


@pytest.mark.parametrize(
    "name", ["ledger/1", "ledger/000000001", "ledger/18446744073709551616", "ledger/-0000001"]
)
def test_another_spelling_of_a_number_is_refused(name: str) -> None:
    assert names.parse_number("ledger/18446744073709551615") == (1 << 64) - 1
    with pytest.raises(FormatError):
        names.parse_number(name)
