"""Frames into packs: compress, seal, open again and compare, and lay out in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import zstandard
from blake3 import blake3

from kluis._native import sum as sums
from kluis._native.fill import Chunks
from kluis.errors import DamageError, FormatError
from kluis.format import crypt, frame, pack
from kluis.format.frame import FrameEntry
from kluis.format.pack import PackHead
from kluis.format.segment import FrameGroup, PackPlace
from kluis.frozen import frozen
from kluis.options import LEVEL_AUTO
from kluis.repository.run import Run
from kluis.surroundings import Surroundings

# So much of what is to be stored is compressed to see whether that gains anything.
PROBE_BYTES = 4 << 10
PROBE_SAMPLE_BYTES = 512
# Less gain than this is not worth expanding at every restore.
GAIN_SHARE = 0.97

# Instead of a zstd level: for what hardly shrinks, as programs do, where a search in one table
# finds 97 % of what a search in two does, in two thirds of the time.
QUICK = -1
# The same for what looked incompressible, if these samples of the frame say otherwise.
DENSE = -2
DENSE_SAMPLES, DENSE_SAMPLE_BYTES = 4, 16 << 10
# Match tables of half the size that zstd takes for level 3: they stay in the 512 KiB that a core
# has for itself. A tenth less CPU for 1 % more bytes (decision 8).
_FAST = {"hash_log": 16, "min_match": 5, "strategy": zstandard.STRATEGY_FAST}
_SETTINGS: dict[int, dict[str, int]] = {
    LEVEL_AUTO: {"hash_log": 16, "chain_log": 15},
    QUICK: _FAST,
    DENSE: _FAST,
}

_THREAD = threading.local()


@frozen
class PlainFrame:
    """Chunks that are to become one frame; the buffer is not touched any more."""

    n: int
    kind: int
    plain: bytes | bytearray | memoryview
    chunks: Chunks  # their list, encoded, and the sum of each
    level: int  # zstd's, 0 to store it as it is, QUICK or DENSE


@frozen
class SealedFrame:
    """A frame as stored, its entry in a directory, and its sealed chunk list."""

    entry: FrameEntry
    stored: bytes | bytearray
    chunk_list: bytes

    def size(self) -> int:
        """Bytes that it takes in a pack."""
        return len(self.stored) + len(self.chunk_list) + pack.ENTRY_BYTES


def seal_frame(run: Run, plain: PlainFrame, surroundings: Surroundings) -> SealedFrame:
    """Compresses and seals; opens and sums again before it is trusted (any thread)."""
    payload, compression = _compress(plain)
    sort = (plain.kind, compression)
    place = frame.context(run.vault, (run.id, plain.n), sort)
    nonces = surroundings.random(2 * crypt.NONCE_LIMIT_BYTES)
    algorithm = run.domain.algorithm
    stored = crypt.seal_large(run.key, algorithm, nonces, payload, place)
    listing = bytes(plain.chunks.entries)
    chunk_list = crypt.seal(
        crypt.derive(run.domain.dedup(), "chunk lists"),
        algorithm,
        nonces[crypt.NONCE_LIMIT_BYTES :],
        listing,
        frame.list_context(run.vault, (run.id, plain.n)),
    )
    _compare_again(run, plain, stored, chunk_list, compression)
    number, lengths = (run.id, plain.n), (len(stored), len(plain.plain), len(chunk_list))
    digests = (crypt.digest(stored), crypt.digest(listing))
    message = frame.signed_message(number, sort, lengths, digests)
    signature = crypt.sign(run.signer.signing, frame.SIGN_CONTEXT, message)
    entry = FrameEntry(*number, *sort, *lengths, *digests, signature)
    return SealedFrame(entry, stored, chunk_list)


def looks_compressible(data: bytes | bytearray | memoryview) -> bool:
    """False if samples from all over `data` hardly shrink."""
    view = memoryview(data)
    if len(view) > PROBE_BYTES:
        step = (len(view) - PROBE_SAMPLE_BYTES) // (PROBE_BYTES // PROBE_SAMPLE_BYTES - 1)
        starts = range(0, len(view) - PROBE_SAMPLE_BYTES + 1, step)
        sample = b"".join([view[at : at + PROBE_SAMPLE_BYTES] for at in starts])
    else:
        sample = bytes(view)
    if sample.isascii():  # each byte has a bit that says nothing
        return True
    return len(_compressor(1).compress(sample)) < len(sample) * GAIN_SHARE


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """This thread's compressor of a level: its tables of some MB are made once."""
    known: dict[int, zstandard.ZstdCompressor] | None = getattr(_THREAD, "compressors", None)
    if known is None:
        known = _THREAD.compressors = {}
    if level not in known:
        known[level] = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                LEVEL_AUTO if level in (QUICK, DENSE) else level,
                write_content_size=True,
                write_checksum=False,
                **_SETTINGS.get(level, {}),
            )
        )
    return known[level]


def _compress(plain: PlainFrame) -> tuple[bytes | bytearray | memoryview, int]:
    if plain.level and not (plain.level == DENSE and _is_dense(memoryview(plain.plain))):
        squeezed = _compressor(plain.level).compress(plain.plain)
        if len(squeezed) < len(plain.plain) * GAIN_SHARE:
            return squeezed, frame.ZSTD
    return plain.plain, frame.PLAIN


def _is_dense(plain: memoryview) -> bool:
    """True if none of some stretches of a frame shrinks: then all of it is not even tried."""
    step = (len(plain) - DENSE_SAMPLE_BYTES) // (DENSE_SAMPLES - 1)
    if step < 2 * DENSE_SAMPLE_BYTES:
        return False
    compress = _compressor(DENSE).compress
    return all(
        len(compress(plain[start : start + DENSE_SAMPLE_BYTES])) >= DENSE_SAMPLE_BYTES * GAIN_SHARE
        for start in range(0, len(plain) - DENSE_SAMPLE_BYTES + 1, step)
    )


def _compare_again(
    run: Run, plain: PlainFrame, stored: bytearray, chunk_list: bytes, compression: int
) -> None:
    """Raises if what would be stored does not open to the chunks that were read.

    A bit that flips in memory is caught here, while the source still exists.
    """
    number, place = (run.id, plain.n), (plain.kind, compression)
    lists = crypt.derive(run.domain.dedup(), "chunk lists")
    list_place = frame.list_context(run.vault, number)
    try:
        context = frame.context(run.vault, number, place)
        payload = crypt.unseal_into(_room(), run.key, stored, context, "frame")
        again: bytes | memoryview = payload  # what was not compressed is not copied either
        if compression != frame.PLAIN:
            again = frame.expand_frame(payload, compression, len(plain.plain))
        listing = crypt.unseal(lists, chunk_list, list_place, "chunk list")
        wrong = sums.wrong(again, listing, plain.chunks.sums)
    except (FormatError, ValueError) as error:
        raise _memory_at_fault() from error
    if wrong is not None:
        raise _memory_at_fault()


def _room() -> bytearray:
    """This thread's place for what it opens again: fresh memory for each frame costs more."""
    room: bytearray | None = getattr(_THREAD, "room", None)
    if room is None:
        room = _THREAD.room = bytearray()
    return room


def _memory_at_fault() -> DamageError:
    return DamageError(
        "a frame did not open to what was read: this machine's memory or processor is at fault. "
        "The snapshot was not made. Next: test the memory, then run the backup again"
    )


@dataclass
class PackBuilder:
    """A pack being laid out in memory; frames are added in order, moved ones included."""

    vault: bytes
    domain: bytes
    domain_epoch: int
    meta_key: bytes
    algorithm: int
    # run -> certificate; the first is that of the run that writes the pack
    certificates: dict[bytes, bytes]
    frames: list[bytes | bytearray] = field(default_factory=list)
    entries: list[FrameEntry] = field(default_factory=list)
    lists: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, sealed: SealedFrame, certificate: bytes) -> None:
        """Takes one more frame, with the certificate of the run that it belongs to."""
        self.certificates.setdefault(sealed.entry.run, certificate)
        self.frames.append(sealed.stored)
        self.entries.append(sealed.entry)
        self.lists.append(sealed.chunk_list)
        self.size += sealed.size()

    def take_all(self, other: PackBuilder) -> None:
        """Adds the frames of another pack of the same run, which is given up."""
        for entry, stored, chunk_list in zip(other.entries, other.frames, other.lists, strict=True):
            self.add(SealedFrame(entry, stored, chunk_list), other.certificates[entry.run])

    def finish(self, shelf: str, surroundings: Surroundings) -> BuiltPack:
        """The whole file as parts, its name and its place in a segment."""
        certificates = tuple(self.certificates.values())
        head = pack.encode_head(PackHead(self.vault, self.domain, self.domain_epoch, certificates))
        directory = crypt.seal(
            self.meta_key,
            self.algorithm,
            surroundings.random(crypt.NONCE_LIMIT_BYTES),
            pack.encode_directory(self.entries, certificates),
            pack.directory_context(self.vault, self.domain),
        )
        lists = b"".join(self.lists)
        filled = sum(map(len, self.frames))
        tail = pack.encode_tail(len(head) + filled, len(lists), len(directory))
        parts: list[bytes | bytearray | memoryview] = [head, *self.frames, lists, directory, tail]
        hasher = blake3()
        for part in parts:
            hasher.update(part)
        size = sum(map(len, parts))
        place = PackPlace(shelf, hasher.digest(), size, len(head), groups_of(self.entries))
        return BuiltPack(parts, place)


@frozen
class BuiltPack:
    """A pack ready to be stored."""

    parts: Sequence[bytes | bytearray | memoryview]
    place: PackPlace


def groups_of(entries: list[FrameEntry]) -> tuple[FrameGroup, ...]:
    """Neighbours with ascending numbers of one run and kind, as segments list them."""
    groups: list[FrameGroup] = []
    start = 0
    for end in range(1, len(entries) + 1):
        first, last = entries[start], entries[end - 1]
        if end < len(entries):
            after = entries[end]
            follows = (last.run, last.n + 1, last.kind) == (after.run, after.n, after.kind)
            if follows:
                continue
        part = entries[start:end]
        groups.append(
            FrameGroup(
                first.run,
                first.n,
                first.kind,
                b"".join(entry.stored_bytes.to_bytes(4, "little") for entry in part),
                b"".join(entry.plain_bytes.to_bytes(4, "little") for entry in part),
            )
        )
        start = end
    return tuple(groups)
