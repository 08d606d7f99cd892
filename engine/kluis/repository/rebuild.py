"""A damaged or lost pack rebuilt from the parity of its set, and compared with its name."""

from __future__ import annotations

from kluis._native.xor import xor_into
from kluis.errors import DamageError, MediumGoneError, NotFoundError, StorageError
from kluis.format import crypt, names, parity
from kluis.format.ledger import PackName
from kluis.format.parity import BLOCK_BYTES, CHECK_BYTES, Member, Shard
from kluis.format.segment import ParitySet
from kluis.storage.base import Storage

SHARD_LIMIT_BYTES = 1 << 30


def read_shard(storage: Storage, parity_set: ParitySet) -> tuple[Shard, bytes]:
    """The shard of a set and its parity bytes; the head is checked, the bytes are not yet."""
    name = names.numbered(names.PARITY, parity_set.parity_run, parity_set.parity_k)
    try:
        data = storage.get(name, SHARD_LIMIT_BYTES)
    except NotFoundError:
        raise DamageError(f"{name} is missing") from None
    except MediumGoneError:
        raise
    except StorageError as error:
        raise DamageError(str(error)) from error
    shard = parity.decode_shard(data)
    return shard, data[shard.data_offset :]


def rebuild_pack(storage: Storage, parity_set: ParitySet | None, pack: PackName) -> bytes:
    """The pack's bytes as they were when it was named; `DamageError` if that cannot be.

    Works block by block: each 64 KiB column may miss one block of one member, wrong or
    refused by the medium alike. `MediumGoneError` if it is not there at all.
    """
    if parity_set is None or parity_set.parity_digest is None:
        raise DamageError("no parity protects it")
    shard, shard_data = read_shard(storage, parity_set)
    wanted = _member_number(shard, pack)
    damaged = bytearray(_read_member(storage, shard.members[wanted]))
    size = shard.members[wanted].size
    damaged = damaged[:size] + bytearray(max(0, size - len(damaged)))
    bad = _bad_blocks(damaged, shard.checks[wanted])
    rebuilt = {block: _shard_block(shard, shard_data, block) for block in bad}
    for number, member in enumerate(shard.members):
        if number != wanted:
            _fold_member(storage, member, shard.checks[number], rebuilt)
    for block, data in rebuilt.items():
        damaged[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = data
    if crypt.digest(damaged) != pack.digest:
        raise DamageError("what parity gives is not what the pack is named after")
    return bytes(damaged)


def _member_number(shard: Shard, pack: PackName) -> int:
    for number, member in enumerate(shard.members):
        if (member.shelf, member.digest) == (pack.shelf, pack.digest):
            return number
    raise DamageError("its parity shard does not know it")


def _read_member(storage: Storage, member: Member) -> bytes:
    """What can be read of it: a block that the medium refuses to give is zeros."""
    name = parity.describe(member)
    try:
        return storage.get(name, SHARD_LIMIT_BYTES)
    except NotFoundError:
        return b""
    except MediumGoneError:
        raise
    except (DamageError, StorageError):
        return b"".join(
            _read_block(storage, name, offset) for offset in range(0, member.size, BLOCK_BYTES)
        )


def _read_block(storage: Storage, name: str, offset: int) -> bytes:
    try:
        return storage.read(name, offset, BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")
    except MediumGoneError:
        raise
    except (DamageError, NotFoundError, StorageError):
        return bytes(BLOCK_BYTES)


def _bad_blocks(data: bytes | bytearray, checks: bytes) -> list[int]:
    actual = parity.block_checks(data)
    return [
        block
        for block in range(len(checks) // CHECK_BYTES)
        if actual[block * CHECK_BYTES :][:CHECK_BYTES]
        != checks[block * CHECK_BYTES :][:CHECK_BYTES]
    ]


def _shard_block(shard: Shard, data: bytes, block: int) -> bytearray:
    piece = bytearray(data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])
    if parity.block_checks(piece) != shard.checks[-1][block * CHECK_BYTES :][:CHECK_BYTES]:
        raise DamageError(f"block {block} of its parity shard is damaged too")
    return piece


def _fold_member(
    storage: Storage, member: Member, checks: bytes, rebuilt: dict[int, bytearray]
) -> None:
    """XORs the other member's blocks into those that are being rebuilt."""
    needed = [block for block in rebuilt if block * BLOCK_BYTES < member.size]
    if not needed:
        return
    name = parity.describe(member)
    try:
        pieces = storage.ranges(name, [(block * BLOCK_BYTES, BLOCK_BYTES) for block in needed])
    except NotFoundError:
        raise DamageError(f"{name} of the same parity set is missing too") from None
    except MediumGoneError:
        raise
    except StorageError as error:
        raise DamageError(f"{name} of the same parity set: {error}") from error
    for block, piece in zip(needed, pieces, strict=True):
        if parity.block_checks(piece) != checks[block * CHECK_BYTES :][:CHECK_BYTES]:
            raise DamageError(f"block {block} of {name} of the same parity set is damaged too")
        xor_into(rebuilt[block], piece)
