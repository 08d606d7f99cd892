"""The keyring of an epoch: who can open the vault. Signed by the owner.

What a key may sign is decided by the ledger alone; a keyring decides only who can open.
"""

from __future__ import annotations

from kluis.errors import FormatError, NewerFormatError
from kluis.format import envelope
from kluis.format.codec import Reader, Writer, in_order, read_list, sorted_strictly, write_list
from kluis.format.crypt import KEY_BYTES, SEALED_KEY_BYTES, digest
from kluis.frozen import frozen

SALT_BYTES = 16
MEMORY_LEAST_BYTES = 8 << 10
MEMORY_LIMIT_BYTES = 64 << 20
MEMORY_UNIT_BYTES = 1 << 10  # Argon2 counts in KiB
PASSES_LIMIT = 64
SLOTS_LIMIT = 64
# XChaCha20-Poly1305 around the owner's secret: algorithm, nonce, secret, tag.
WRAPPED_SECRET_BYTES = 1 + 24 + KEY_BYTES + 16

FEATURES_KNOWN = 0
WRAP_CONTEXT = b"kluis owner secret\0"


@frozen
class Features:
    """Masks: may be ignored; must be known to write; must be known to read."""

    compatible: int = 0
    read_compatible: int = 0
    incompatible: int = 0

    def check(self, what: str) -> None:
        """Raises if reading needs something that this version does not know."""
        self._check(what, self.incompatible)

    def check_write(self, what: str) -> None:
        """Raises if writing needs something that this version does not know."""
        self._check(what, self.incompatible | self.read_compatible)

    @staticmethod
    def _check(what: str, needed: int) -> None:
        if needed & ~FEATURES_KNOWN:
            raise NewerFormatError(
                f"{what} uses features that this kluis does not know "
                f"(mask {needed:#x}). Nothing was changed. Install a newer kluis."
            )


@frozen
class VaultBox:
    """K_vault, sealed for the holder of one X25519 key."""

    box_key: bytes
    sealed: bytes


@frozen
class ChunkSizes:
    """The cut constants of a preset, bytes."""

    minimum: int
    average: int
    maximum: int


@frozen
class Private:
    """What is sealed under K_vault: names of the passphrases, cut constants."""

    slot_names: tuple[str, ...]
    chunk_sizes: tuple[tuple[str, ChunkSizes], ...]


@frozen
class Keyring:
    """One epoch."""

    features: Features
    owner_verify: bytes
    owner_box: bytes
    epoch: int
    salt: bytes
    passes: int
    memory_bytes: int
    slots: tuple[bytes, ...]  # the owner's secret wrapped under each passphrase's key
    vault_boxes: tuple[VaultBox, ...]
    private: bytes  # sealed `Private`
    # Roles in the ledger of a lower sequence are replayed: they name keys since removed.
    roles_sequence: int = 0

    def vault(self) -> bytes:
        """The vault's id: it names its owner."""
        return digest(self.owner_verify)


def write_features(writer: Writer, features: Features) -> None:
    """The three masks."""
    writer.u32(features.compatible)
    writer.u32(features.read_compatible)
    writer.u32(features.incompatible)


def read_features(reader: Reader) -> Features:
    """What `write_features` wrote; not yet checked."""
    return Features(reader.u32(), reader.u32(), reader.u32())


def read_signed_features(reader: Reader, data: bytes, what: str) -> tuple[Features, bytes]:
    """The masks and the owner's verify key, with which an owner's object begins.

    His signature is checked first: a damaged mask is damage, not a newer version.
    """
    features, owner_verify = read_features(reader), reader.raw(KEY_BYTES)
    envelope.check_signature(data, owner_verify, what)
    features.check(what)
    return features, owner_verify


def _write_box(writer: Writer, box: VaultBox) -> None:
    writer.raw(box.box_key, KEY_BYTES)
    writer.raw(box.sealed, SEALED_KEY_BYTES)


def _read_box(reader: Reader) -> VaultBox:
    return VaultBox(reader.raw(KEY_BYTES), reader.raw(SEALED_KEY_BYTES))


def encode(keyring: Keyring, signing: bytes) -> bytes:
    """The keyring as stored; `signing` is the owner's."""
    writer = Writer()
    write_features(writer, keyring.features)
    writer.raw(keyring.owner_verify, KEY_BYTES)
    writer.raw(keyring.owner_box, KEY_BYTES)
    writer.u32(keyring.epoch)
    writer.raw(keyring.salt, SALT_BYTES)
    writer.u32(keyring.passes)
    writer.u32(keyring.memory_bytes)
    write_list(writer, keyring.slots, lambda w, slot: w.raw(slot, WRAPPED_SECRET_BYTES))
    write_list(writer, in_order(keyring.vault_boxes, lambda box: box.box_key), _write_box)
    writer.blob(keyring.private)
    writer.u64(keyring.roles_sequence)
    return envelope.wrap(envelope.KEYRING, writer.bytes(), signing)


def decode(data: bytes, what: str) -> Keyring:
    """The keyring, its signature checked against the owner's key inside it.

    The caller compares `vault()` with the vault that he means.
    """
    reader = Reader(envelope.unwrap(envelope.KEYRING, data, what), what)
    features, owner_verify = read_signed_features(reader, data, what)
    keyring = Keyring(
        features=features,
        owner_verify=owner_verify,
        owner_box=reader.raw(KEY_BYTES),
        epoch=reader.u32(),
        salt=reader.raw(SALT_BYTES),
        passes=reader.u32(),
        memory_bytes=reader.u32(),
        slots=read_list(reader, WRAPPED_SECRET_BYTES, lambda r: r.raw(WRAPPED_SECRET_BYTES)),
        vault_boxes=read_list(reader, KEY_BYTES + SEALED_KEY_BYTES, _read_box),
        private=reader.blob(),
        roles_sequence=reader.u64(),
    )
    reader.finish()
    # Costs beyond these would let a hostile medium exhaust the reader.
    memory_fits = MEMORY_LEAST_BYTES <= keyring.memory_bytes <= MEMORY_LIMIT_BYTES
    if not memory_fits or keyring.memory_bytes % MEMORY_UNIT_BYTES:
        raise FormatError(f"{what} is damaged: a passphrase cost that no kluis writes")
    if not 0 < keyring.passes <= PASSES_LIMIT or len(keyring.slots) > SLOTS_LIMIT:
        raise FormatError(f"{what} is damaged: a passphrase cost that no kluis writes")
    if keyring.epoch == 0:
        raise FormatError(f"{what} is damaged: epochs are counted from 1")
    if not sorted_strictly(keyring.vault_boxes, lambda box: box.box_key):
        raise FormatError(f"{what} is damaged: its keys are out of order")
    return keyring


def private_context(vault: bytes, epoch: int) -> bytes:
    """What the seal of the private part authenticates besides its bytes."""
    return b"kluis keyring\0" + vault + epoch.to_bytes(4, "little")


def encode_private(private: Private) -> bytes:
    """The part to be sealed under K_vault."""
    writer = Writer()
    write_list(writer, private.slot_names, Writer.text)
    write_list(writer, in_order(private.chunk_sizes, lambda item: item[0]), _write_preset)
    return writer.bytes()


def _write_preset(writer: Writer, preset: tuple[str, ChunkSizes]) -> None:
    name, sizes = preset
    writer.text(name)
    writer.u32(sizes.minimum)
    writer.u32(sizes.average)
    writer.u32(sizes.maximum)


def decode_private(data: bytes) -> Private:
    """What `encode_private` was given."""
    reader = Reader(data, "keyring")
    names = read_list(reader, 2, Reader.text)
    sizes = read_list(reader, 14, lambda r: (r.text(), ChunkSizes(r.u32(), r.u32(), r.u32())))
    reader.finish()
    if not sorted_strictly(sizes, lambda item: item[0]):
        raise FormatError("not a valid keyring: its presets are out of order")
    for _, preset in sizes:
        if not 64 <= preset.minimum <= preset.average <= preset.maximum <= 1 << 23:
            raise FormatError("not a valid keyring: cut constants that no kluis writes")
        if preset.average & (preset.average - 1):
            raise FormatError("not a valid keyring: cut constants that no kluis writes")
    return Private(names, sizes)
