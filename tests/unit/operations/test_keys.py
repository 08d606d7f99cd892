from __future__ import annotations

from dataclasses import replace

import pytest

from kluis.errors import AlreadyExistsError, NotFoundError, PasswordError, RefusedError
from kluis.format.domain import META
from kluis.format.keyring import Keyring
from kluis.format.ledger import OPERATOR
from kluis.operations.keys import key_add, key_list, key_passwd, key_remove
from kluis.operations.snapshots import snapshots
from kluis.options import (
    KeyAddOptions,
    KeyListOptions,
    KeyPasswdOptions,
    KeyRemoveOptions,
    SnapshotsOptions,
)
from kluis.repository.keys import restricted, stretch
from tests.repositories import KDF_MEMORY_BYTES, PASSPHRASE, Place

SECOND = b"a second one"


def add(place: Place, passphrase: bytes = SECOND, name: str = "partner") -> None:
    with place.open() as repository:
        options = KeyAddOptions(passphrase, name, KDF_MEMORY_BYTES)
        key_add(repository, options, place.context())


def change(place: Place, old: bytes, new: bytes) -> None:
    with place.open(old) as repository:
        key_passwd(repository, KeyPasswdOptions(new, KDF_MEMORY_BYTES), place.context())


def remove(place: Place, with_passphrase: bytes, name: str) -> list[str]:
    with place.open(with_passphrase) as repository:
        result = key_remove(repository, KeyRemoveOptions(name), place.context())
    return [key.name for key in result.keys]


def opens(place: Place, passphrase: bytes) -> bool:
    try:
        with place.open(passphrase) as repository:
            snapshots(repository, SnapshotsOptions(), place.context())
    except PasswordError:
        return False
    return True


def test_the_list_names_the_key_in_use(place: Place) -> None:
    add(place)
    with place.open(SECOND) as repository:
        keys = key_list(repository, KeyListOptions(), place.context()).keys
    assert [(key.name, key.role, key.current) for key in keys] == [
        ("first", "owner", False),
        ("partner", "owner", True),
    ]
    assert len({key.id for key in keys}) == 2


def test_one_passphrase_more_opens_and_the_others_go_on(place: Place) -> None:
    place.backup()
    add(place)
    add(place, b"third", "")
    for passphrase, wanted in ((PASSPHRASE, True), (SECOND, True), (b"third", True), (b"x", False)):
        assert opens(place, passphrase) is wanted
    assert place.backup().exit_status == 0


def test_a_changed_passphrase_opens_nothing_any_more(place: Place) -> None:
    place.backup()
    change(place, PASSPHRASE, SECOND)
    assert (opens(place, PASSPHRASE), opens(place, SECOND)) == (False, True)
    add_other = KeyAddOptions(b"third", "", KDF_MEMORY_BYTES)
    with place.open(SECOND) as repository:
        key_add(repository, add_other, place.context())
    change(place, SECOND, b"fourth")
    found = [opens(place, word) for word in (PASSPHRASE, SECOND, b"third", b"fourth")]
    assert found == [False, False, True, True]


def test_only_the_newest_epoch_is_left_with_its_twin(place: Place) -> None:
    change(place, PASSPHRASE, SECOND)
    change(place, SECOND, PASSPHRASE)
    for folder in ("keyring", "twins/keyring"):
        assert [path.name for path in (place.location / folder).iterdir()] == ["00000003"]
    (place.location / "keyring" / "00000003").unlink()
    assert opens(place, PASSPHRASE)


def test_a_session_goes_on_after_its_passphrase_was_changed(place: Place) -> None:
    with place.open() as repository:
        for word in (SECOND, b"third"):
            key_passwd(repository, KeyPasswdOptions(word, KDF_MEMORY_BYTES), place.context())
        assert repository.session.epoch == 3
    assert opens(place, b"third")


def test_refusals_write_nothing(place: Place) -> None:
    add(place)
    before = sorted(str(path) for path in place.location.rglob("*"))
    for options, error in (
        (KeyAddOptions(SECOND, "other"), AlreadyExistsError),
        (KeyAddOptions(b"third", "partner"), AlreadyExistsError),
        (KeyAddOptions(b"", "empty"), PasswordError),
    ):
        with place.open() as repository, pytest.raises(error):
            key_add(repository, options, place.context())
    with pytest.raises(AlreadyExistsError):
        change(place, PASSPHRASE, SECOND)
    with place.open() as repository:
        signer = repository.session.signer
        repository.session = restricted(repository.session, META, OPERATOR, signer)
        with pytest.raises(RefusedError):
            key_add(repository, KeyAddOptions(b"third"), place.context())
        repository.session = replace(repository.session, slot=None)
        with pytest.raises(RefusedError):
            key_passwd(repository, KeyPasswdOptions(b"third"), place.context())
    assert sorted(str(path) for path in place.location.rglob("*")) == before


def test_two_who_change_keys_at_once_both_succeed(place: Place) -> None:
    with place.open() as one, place.open() as other:
        key_add(one, KeyAddOptions(b"one", "one"), place.context())
        result = key_add(other, KeyAddOptions(b"other", "other"), place.context())
    assert [key.name for key in result.keys] == ["first", "one", "other"]
    assert opens(place, b"one")
    assert opens(place, b"other")


def test_a_removed_passphrase_opens_nothing_any_more(place: Place) -> None:
    place.backup()
    add(place)
    add(place, b"third", "third")
    assert remove(place, b"third", "partner") == ["first", "third"]
    with place.open(b"third") as repository:
        first, current = key_list(repository, KeyListOptions(), place.context()).keys
    assert current.current
    assert remove(place, b"third", first.id) == ["third"]
    found = [opens(place, word) for word in (PASSPHRASE, SECOND, b"third")]
    assert found == [False, False, True]


def test_the_last_passphrase_the_one_in_use_and_unknown_ones_stay(place: Place) -> None:
    before = sorted(str(path) for path in place.location.rglob("*"))
    for name, error in (("first", RefusedError), ("nobody", NotFoundError), ("", NotFoundError)):
        with pytest.raises(error):
            remove(place, PASSPHRASE, name)
    with place.open() as repository:
        repository.session = replace(repository.session, slot=None)
        with pytest.raises(RefusedError, match="only passphrase"):
            key_remove(repository, KeyRemoveOptions("first"), place.context())
    assert sorted(str(path) for path in place.location.rglob("*")) == before
    add(place)
    with pytest.raises(RefusedError, match="was given"):
        remove(place, PASSPHRASE, "first")
    assert opens(place, PASSPHRASE)


def test_two_who_remove_one_another_leave_one_passphrase(place: Place) -> None:
    add(place)
    with place.open() as one, place.open(SECOND) as other:
        key_remove(one, KeyRemoveOptions("partner"), place.context())
        with pytest.raises(RefusedError, match="only passphrase"):
            key_remove(other, KeyRemoveOptions("first"), place.context())
    assert (opens(place, PASSPHRASE), opens(place, SECOND)) == (True, False)


def test_a_passphrase_that_others_removed_is_not_confused_with_its_neighbour(place: Place) -> None:
    for word in (SECOND, b"third"):
        add(place, word, word.decode())
    with place.open(SECOND) as one, place.open(b"third") as other:
        key_remove(other, KeyRemoveOptions("first"), place.context())
        key_passwd(one, KeyPasswdOptions(b"changed", KDF_MEMORY_BYTES), place.context())
        key_remove(other, KeyRemoveOptions(SECOND.decode()), place.context())
        with pytest.raises(RefusedError, match="changed or removed"):
            key_passwd(one, KeyPasswdOptions(b"again"), place.context())
    words = (PASSPHRASE, SECOND, b"changed", b"third")
    assert [opens(place, word) for word in words] == [False, False, False, True]


def test_a_change_by_others_while_a_key_is_stretched_is_not_undone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[bytes] = [b"third"]

    def slow(ring: Keyring, passphrase: bytes) -> bytes:
        while others:
            add(place, others.pop(), "third")
        return stretch(ring, passphrase)

    monkeypatch.setattr("kluis.repository.keychange.stretch", slow)
    add(place)
    assert opens(place, SECOND)
    assert opens(place, b"third")
