"""One bit or byte more or less in what proves itself is refused: as damage, not as newer."""

from __future__ import annotations

import pytest

from kluis.errors import FormatError, NewerFormatError
from kluis.format import certificate, crypt, envelope, keyring, segment, snapshot
from tests.unit.format import samples
from tests.unit.format.kinds import BY_NAME, SIGNED, Kind, replace

ENVELOPES = ("keyring", "domain", "store", "ledger record", "segment", "snapshot")
PLACE = b"place"


def refused(kind: Kind, data: bytes) -> bool:
    try:
        kind.decode(data)
    except FormatError:
        return True
    return False


@pytest.mark.parametrize("kind", SIGNED, ids=lambda kind: kind.name)
def test_every_flipped_bit_is_damage(kind: Kind) -> None:
    data = bytearray(kind.encode(kind.sample))
    accepted = []
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        if not refused(kind, bytes(data)):
            accepted.append(bit)
        data[bit // 8] ^= 1 << bit % 8
    assert accepted == []
    assert kind.decode(bytes(data)) == kind.sample


@pytest.mark.parametrize("kind", SIGNED, ids=lambda kind: kind.name)
def test_every_truncation_and_extension_is_damage(kind: Kind) -> None:
    data = kind.encode(kind.sample)
    assert [size for size in range(len(data)) if not refused(kind, data[:size])] == []
    assert refused(kind, data + b"\0")
    assert refused(kind, data + data)
    assert refused(kind, b"\0" + data)


@pytest.mark.parametrize("algorithm", [crypt.AEGIS256, crypt.XCHACHA20])
def test_every_flipped_bit_of_a_sealed_part_is_damage(algorithm: int) -> None:
    key, nonce = samples.pattern("key", 32), samples.pattern("nonce", 32)
    sealed = bytearray(crypt.seal(key, algorithm, nonce, b"what is sealed", PLACE))
    assert len(sealed) == len(b"what is sealed") + crypt.overhead(algorithm)
    for bit in range(8 * len(sealed)):
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            crypt.unseal(key, bytes(sealed), PLACE, "part")
        sealed[bit // 8] ^= 1 << bit % 8
    assert crypt.unseal(key, bytes(sealed), PLACE, "part") == b"what is sealed"
    for size in range(len(sealed)):
        with pytest.raises(FormatError):
            crypt.unseal(key, bytes(sealed[:size]), PLACE, "part")
    with pytest.raises(FormatError):
        crypt.unseal(key, bytes(sealed) + b"\0", PLACE, "part")
    with pytest.raises(FormatError):
        crypt.unseal(key, bytes(sealed), b"another place", "part")
    with pytest.raises(FormatError):
        crypt.unseal(nonce, bytes(sealed), PLACE, "part")


def test_a_sealed_box_opens_for_its_holder_only_and_whole() -> None:
    box = bytearray(crypt.seal_to(samples.OWNER_BOX, b"secret"))
    pair = samples.OWNER_BOX, samples.OWNER_BOX_SECRET
    assert crypt.open_box(*pair, bytes(box), "box") == b"secret"
    with pytest.raises(FormatError):
        crypt.open_box(samples.DOMAIN_PUBLIC, samples.DOMAIN_SECRET, bytes(box), "box")
    for place in range(len(box)):
        box[place] ^= 0x10
        with pytest.raises(FormatError):
            crypt.open_box(*pair, bytes(box), "box")
        box[place] ^= 0x10


@pytest.mark.parametrize("name", ENVELOPES)
def test_no_object_passes_for_one_of_another_kind(name: str) -> None:
    data = BY_NAME[name].encode(BY_NAME[name].sample)
    for other in ENVELOPES:
        assert refused(BY_NAME[other], data) == (other != name)


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_later_version_is_newer_not_damaged(name: str) -> None:
    data = bytearray(BY_NAME[name].encode(BY_NAME[name].sample))
    data[6:8] = 2, 2 ^ 0xFF
    with pytest.raises(NewerFormatError, match="Install a newer kluis"):
        BY_NAME[name].decode(bytes(data))


@pytest.mark.parametrize("name", ["keyring", "store"])
def test_an_unknown_feature_is_newer_only_under_the_owners_signature(name: str) -> None:
    kind = BY_NAME[name]
    features = keyring.Features(incompatible=1 << 31)
    data = kind.encode(replace(kind.sample, features=features))
    with pytest.raises(NewerFormatError, match="features"):
        kind.decode(data)
    damaged = bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(FormatError):
        kind.decode(bytes(damaged))


def test_an_unknown_feature_may_forbid_writing_alone() -> None:
    keyring.Features(compatible=1 << 31).check_write("store")
    features = keyring.Features(read_compatible=1)
    features.check("store")
    with pytest.raises(NewerFormatError):
        features.check_write("store")


def test_a_signature_fits_its_context_alone() -> None:
    message = b"message"
    signature = crypt.sign(samples.OWNER_SIGNING, b"kluis object", message)
    assert crypt.signed_by(samples.OWNER_VERIFY, b"kluis object", message, signature)
    assert not crypt.signed_by(samples.OWNER_VERIFY, b"kluis frame", message, signature)
    assert not crypt.signed_by(samples.RUN_VERIFY, b"kluis object", message, signature)
    assert not crypt.signed_by(samples.OWNER_VERIFY, b"kluis object", message, signature[:-1])
    assert not crypt.signed_by(samples.OWNER_VERIFY[:-1], b"kluis object", message, signature)


def test_a_segment_or_snapshot_of_a_run_with_another_key_is_forged() -> None:
    forged = segment.wrap(samples.ENCODED_CERTIFICATE, b"sealed", samples.AGENT_SIGNING)
    assert refused(BY_NAME["segment"], forged)
    forged = snapshot.wrap(samples.ENCODED_CERTIFICATE, b"facts", b"root", samples.AGENT_SIGNING)
    assert refused(BY_NAME["snapshot"], forged)
    forged = certificate.encode(samples.CERTIFICATE, samples.AGENT_SIGNING)
    assert refused(BY_NAME["certificate"], forged)


def test_an_object_that_no_reader_takes_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "OBJECT_LIMIT_BYTES", 100)
    with pytest.raises(ValueError):
        envelope.wrap(envelope.STORE, bytes(25), samples.OWNER_SIGNING)
    assert len(envelope.wrap(envelope.STORE, bytes(24), samples.OWNER_SIGNING)) == 100
