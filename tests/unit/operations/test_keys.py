from __future__ import annotations

from dataclasses import replace

import pytest

from kluis.errors import AlreadyExistsError, PasswordError, RefusedError
from kluis.format.domain import META
from kluis.format.ledger import OPERATOR
from kluis.operations.keys import key_add, key_list, key_passwd
from kluis.operations.snapshots import snapshots
from kluis.options import KeyAddOptions, KeyListOptions, KeyPasswdOptions, SnapshotsOptions
from kluis.repository.keys import restricted
from tests.repositories import KDF_MEMORY_BYTES, PASSPHRASE, Place

SECOND = b"a second one"


def add(place: Place, passphrase: bytes = SECOND, name: str = "partner") -> None:
    with place.open() as repository:
        options = KeyAddOptions(passphrase, name, KDF_MEMORY_BYTES)
        key_add(repository, options, place.context())


def change(place: Place, old: bytes, new: bytes) -> None:
    with place.open(old) as repository:
        key_passwd(repository, KeyPasswdOptions(new, KDF_MEMORY_BYTES), place.context())


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
