"""P19: a wrong passphrase is refused with its own code, and nothing at all is written."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kluis.errors import PasswordError
from kluis.options import Credentials
from kluis.repository.access import open_repository
from kluis.storage.memory import MemoryStorage
from kluis.storage.traced import TracedStorage
from tests.crash.states import snapshot
from tests.promises.damages import flip
from tests.promises.scenes import VERBS, Scene, lived_in
from tests.repositories import PASSPHRASE

Trials = Callable[[int, int], int]
READING = {"get", "ranges", "size", "exists", "list", "trust_folders"}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return lived_in(tmp_path_factory.mktemp("house"), 37, 0)


def almost(chance: random.Random) -> bytes:
    """Something near the passphrase that is not it."""
    word = bytearray(PASSPHRASE)
    way = chance.randrange(7)
    if way == 0:
        word[chance.randrange(len(word))] ^= 1 << chance.randrange(8)
    elif way == 1:
        del word[chance.randrange(len(word))]
    elif way == 2:
        word.insert(chance.randrange(len(word) + 1), chance.randrange(256))
    elif way == 3:
        word += chance.choice((b"\n", b"\r\n", b" ", b"\0", bytes(PASSPHRASE)))
    elif way == 4:
        word = bytearray(PASSPHRASE.swapcase())
    elif way == 5:
        word = bytearray(chance.randbytes(chance.randrange(1, 4000)))
    else:
        word = bytearray(reversed(PASSPHRASE))
    return bytes(word)


def check_refused(here: Scene, storage: MemoryStorage, credentials: Credentials) -> None:
    cache = here.house.folder / "nobody"
    traced = TracedStorage(storage)
    before = storage.files()
    with pytest.raises(PasswordError) as caught:
        open_repository(traced, credentials, str(cache), here.house.clock)
    assert caught.value.exit_status == 12
    assert storage.files() == before
    assert {request.method for request in traced.requests} <= READING
    assert not cache.exists()


def test_nothing_but_the_passphrase_opens(intact: Scene, seed: int, trials: Trials) -> None:
    storage = MemoryStorage(intact.files)
    for number in range(trials(100, 1000)):
        word = almost(random.Random(f"{seed} {number}"))
        assert word != PASSPHRASE
        check_refused(intact, storage, Credentials(word))


def test_no_passphrase_is_refused_too(intact: Scene) -> None:
    for credentials in (Credentials(), Credentials(b"")):
        check_refused(intact, MemoryStorage(intact.files), credentials)


def test_a_damaged_keyring_makes_no_other_passphrase_open_it(
    intact: Scene, seed: int, trials: Trials
) -> None:
    for number in range(trials(40, 400)):
        chance = random.Random(f"{seed} keyring {number}")
        files = flip(intact.files, "keyring/00000001", chance)
        check_refused(intact, MemoryStorage(files), Credentials(almost(chance)))


def test_every_verb_refuses_it_before_it_writes(intact: Scene) -> None:
    for verb, act in VERBS.items():
        house = intact.set_up()
        house.passphrase = b"wrong"
        with pytest.raises(PasswordError):
            act(house)
        house.passphrase = PASSPHRASE
        assert snapshot(house.location) == intact.files, verb
