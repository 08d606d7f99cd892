"""P20: a bit that flips in memory between reading and storing is caught while the source exists."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from kluis.errors import DamageError, FormatError
from kluis.format import crypt, frame
from kluis.format.frame import HASH_BYTES
from kluis.operations.repair import repair
from kluis.operations.verify import verify
from kluis.options import RepairOptions, VerifyOptions
from kluis.repository import packer
from kluis.repository.packer import PlainFrame
from kluis.storage.between import Unsynced
from kluis.storage.faulty import Fault, FaultyCalls
from kluis.storage.memory import MemoryStorage
from tests.contents import live
from tests.promises.aftermath import check_aftermath
from tests.promises.house import quiet
from tests.promises.scenes import Scene, lived_in

Trials = Callable[[int, int], int]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return lived_in(tmp_path_factory.mktemp("house"), 31, 40_000)


def flipped(data: bytes | bytearray | memoryview, chance: random.Random) -> bytes:
    wrong = bytearray(data)
    bit = chance.randrange(len(wrong) * 8)
    wrong[bit // 8] ^= 1 << bit % 8
    return bytes(wrong)


def expands_alike(payload: bytes, plain: PlainFrame) -> bool:
    """True if the flip is in one of the few bits of a zstd frame that mean nothing."""
    try:
        return frame.expand_frame(payload, frame.ZSTD, len(plain.plain)) == bytes(plain.plain)
    except FormatError:
        return False


class Bad:
    """Memory that flips one bit, in the frame of one number, at one stage of its making."""

    def __init__(self, stage: str, frame: int, chance: random.Random) -> None:
        self.stage, self.frame, self.chance = stage, frame, chance
        self.met = False
        self._seen = 0
        self._compress = packer._compress
        crypt_seal_large = crypt.seal_large
        self._seals: dict[str, Callable[..., bytes]] = {
            "seal": crypt.seal,
            "seal_large": lambda *given: bytes(crypt_seal_large(*given)),
        }

    def compress(self, plain: PlainFrame) -> tuple[bytes | bytearray | memoryview, int]:
        """The bytes that were read are others by now, or what became of them is."""
        self._seen += 1
        if self._seen - 1 != self.frame or self.stage not in ("read", "compressed", "hashes"):
            return self._compress(plain)
        self.met = True
        if self.stage == "read":
            return self._compress(replace(plain, plain=flipped(plain.plain, self.chance)))
        if self.stage == "hashes":
            entries = plain.chunks.entries
            entries[:HASH_BYTES] = flipped(entries[:HASH_BYTES], self.chance)
            return self._compress(plain)
        payload, compression = self._compress(plain)
        other = flipped(payload, self.chance)
        while compression == frame.ZSTD and expands_alike(other, plain):
            other = flipped(payload, self.chance)  # a bit that zstd does not look at does no harm
        return other, compression

    def seal(self, which: str, *given: Any) -> bytes:
        """The ciphertext of a frame or of a chunk list is another, or its key was."""
        seal = self._seals[which]
        if self.stage in ("sealed", "key"):
            self._seen += 1
            if self._seen - 1 == self.frame:
                self.met = True
                if self.stage == "key":
                    return seal(flipped(given[0], self.chance), *given[1:])
                return flipped(seal(*given), self.chance)
        return seal(*given)


@pytest.mark.parametrize("stage", ["read", "compressed", "hashes", "sealed", "key"])
def test_no_snapshot_is_made_of_a_frame_that_is_not_what_was_read(
    intact: Scene, stage: str, seed: int, trials: Trials
) -> None:
    house = intact.house
    met = 0
    for number in range(trials(12, 400)):
        chance = random.Random(f"{seed} {stage} {number}")
        case = f"{stage}, seed {seed}, number {number}"
        bad = Bad(stage, chance.randrange(4 if stage in ("sealed", "key") else 2), chance)
        intact.set_up_cache()
        storage = MemoryStorage(intact.files)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packer, "_compress", bad.compress)
            for name in ("seal", "seal_large"):
                patch.setattr(f"kluis.repository.packer.crypt.{name}", partial(bad.seal, name))
            try:
                house.store(storage=storage)
            except DamageError as error:
                assert "memory" in str(error), case
                assert bad.met, case
                met += 1
            else:
                assert not bad.met, f"{case}: a snapshot was made all the same"
                continue
        with house.reach("cache", storage) as repository:
            assert set(live(repository)) == intact.acknowledged.keys(), case
        check_aftermath(house, storage, "cache", intact.promised(case))
    assert met >= trials(3, 100)
    house.acknowledged = dict(intact.acknowledged)


def test_a_bit_that_flips_on_the_way_to_the_medium_is_found_and_healed(
    intact: Scene, seed: int, trials: Trials
) -> None:
    """After the check only the medium can say: its copy is told from the name, and mended."""
    found = 0
    for number in range(trials(15, 300)):
        house = intact.set_up()
        calls = FaultyCalls([Fault("write", number, flip=True)], seed=number, inner=Unsynced())
        house.calls = calls
        house.store()
        if not calls.hit:
            break
        house.calls = Unsynced()
        case = f"bit flipped in write {number}"
        with house.reach() as repository:
            damages = verify(repository, VerifyOptions(level=1), quiet(house)).damages
        if damages:
            found += 1
            with house.reach() as repository:
                result = repair(repository, RepairOptions(), quiet(house))
            assert result.exit_status == 0, f"{case}: {result.unhealed}"
        with house.reach() as repository:
            assert verify(repository, VerifyOptions(level=2), quiet(house)).exit_status == 0, case
    assert found >= 3
