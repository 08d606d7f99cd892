"""The bytes of every stored kind, frozen: whoever changes one changes the format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kluis.format import crypt, frame, names, pack, segment, snapshot
from tests.unit.format import samples
from tests.unit.format.kinds import KINDS, fields_of

GOLDEN = Path(__file__).parents[2] / "golden" / "format_digests.json"

KEY, NONCE, PLAIN = samples.pattern("key", 32), samples.pattern("nonce", 32), b"what is sealed"


def primitives() -> dict[str, bytes]:
    """What the format computes besides its fields."""
    return {
        "derive": crypt.derive(KEY, "data chunks"),
        "keyed": crypt.keyed(KEY, PLAIN),
        "seal aegis-256": crypt.seal(KEY, crypt.AEGIS256, NONCE, PLAIN, b"place"),
        "seal xchacha20": crypt.seal(KEY, crypt.XCHACHA20, NONCE, PLAIN, b"place"),
        "sign": crypt.sign(samples.OWNER_SIGNING, frame.SIGN_CONTEXT, PLAIN),
        "passphrase": crypt.passphrase_key(b"passphrase", samples.pattern("salt", 16), 1, 8 << 10),
        "frame message": samples.ENTRIES[1].message(),
        "frame context": frame.context(samples.VAULT, (samples.RUN, 1), (frame.DATA, frame.ZSTD)),
        "chunk list context": frame.list_context(samples.VAULT, (samples.RUN, 1)),
        "directory context": pack.directory_context(samples.VAULT, samples.DOMAIN),
        "segment context": segment.context(samples.VAULT, samples.RUN, 2),
        "facts context": snapshot.facts_context(samples.VAULT, samples.RUN, 2),
        "root context": snapshot.root_context(samples.VAULT, samples.RUN, 2),
        "path group": samples.FACTS.path_group,
        "run": samples.RUN,
        "pack name": names.pack(names.shelf(samples.RUN), samples.VAULT).encode(),
        "snapshot name": names.numbered(names.SNAPSHOTS, samples.RUN, 3).encode(),
    }


def digests() -> dict[str, str]:
    found = {kind.name: crypt.digest(fields_of(kind)).hex() for kind in KINDS}
    found |= {name: crypt.digest(value).hex() for name, value in primitives().items()}
    return found


def test_every_kind_is_encoded_as_it_always_was() -> None:
    assert digests() == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(
    ("public", "secret_seed"),
    [(samples.OWNER_BOX, "owner box"), (samples.DOMAIN_PUBLIC, "domain box")],
)
def test_key_pairs_follow_from_their_seeds(public: bytes, secret_seed: str) -> None:
    found, secret = crypt.box_key(samples.pattern(secret_seed, 32))
    assert found == public == crypt.box_public(secret)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(digests(), indent=1, sort_keys=True) + "\n")
