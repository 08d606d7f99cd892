"""Whatever happens to its files, the dedup cache never gives a wrong place."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.native.tables import filled, known, table_files

BLOCK_BYTES = 4096
ENTRIES_PER_BLOCK = 127


def damage_one(data: bytearray, chance: random.Random) -> None:
    """Changes something, as media, crashes and people do."""
    at = chance.randrange(len(data))
    kind = chance.choice(["bit", "bit", "zeros", "cut", "grow", "swap"])
    if kind == "bit":
        data[at] ^= 1 << chance.randrange(8)
    elif kind == "zeros":
        data[at : at + 512] = bytes(len(data[at : at + 512]))
    elif kind == "cut":
        del data[at:]
    elif kind == "grow":
        data += data[at:] or b"x"
    else:
        blocks = len(data) // BLOCK_BYTES
        one, two = (BLOCK_BYTES * chance.randrange(blocks) for _ in range(2))
        first, second = data[one : one + BLOCK_BYTES], data[two : two + BLOCK_BYTES]
        data[one : one + BLOCK_BYTES], data[two : two + BLOCK_BYTES] = second, first


@given(st.integers(0, 1 << 32))
def test_damaged_files_never_give_a_wrong_place(seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        filled(Path(name), range(700)).close()
        (path,) = table_files(Path(name))
        data = bytearray(path.read_bytes())
        before = bytes(data)
        damage_one(data, chance)
        path.write_bytes(data)
        found = known(Path(name), range(700))
        assert found == 700 or bytes(data) != before
        table = filled(Path(name), range(700, 760))  # merges what is left of the damaged file
        table.close()
        after = known(Path(name), range(760))
        assert found + 60 <= after <= 760


def test_a_flipped_byte_costs_at_most_its_block(tmp_path: Path) -> None:
    filled(tmp_path, range(700)).close()
    (path,) = table_files(tmp_path)
    data = path.read_bytes()
    for at in range(BLOCK_BYTES, 7 * BLOCK_BYTES, 999):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        assert 700 - ENTRIES_PER_BLOCK <= known(tmp_path, range(700)) < 700
    path.write_bytes(data)
    assert known(tmp_path, range(700)) == 700


def test_every_byte_of_the_header_is_checked(tmp_path: Path) -> None:
    filled(tmp_path, range(10)).close()
    (path,) = table_files(tmp_path)
    data = path.read_bytes()
    for at in range(72):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert known(tmp_path, range(10)) == 0
        assert not path.exists()


def test_a_file_of_another_size_than_its_header_says_is_foreign(tmp_path: Path) -> None:
    filled(tmp_path, range(10)).close()
    (path,) = table_files(tmp_path)
    data = path.read_bytes()
    for changed in (data[:-1], data + b"x", data[: BLOCK_BYTES - 1], b""):
        path.write_bytes(changed)
        assert known(tmp_path, range(10)) == 0
        assert not path.exists()


def test_torn_foreign_and_unfinished_files_are_removed_and_others_left_alone(
    tmp_path: Path,
) -> None:
    filled(tmp_path, range(10)).close()
    (good,) = table_files(tmp_path)
    ours = {"00000007.table": good.read_bytes(), "00000008.table": b"", "00000009.tmp": b"half"}
    others = {"notes.table": b"mine", "7.table": b"mine", "00000007.table.bak": b"mine"}
    for name, data in {**ours, **others}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "00000010.table").mkdir()
    assert known(tmp_path, range(10)) == 10
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {good.name, "lock", "00000010.table", *others}
