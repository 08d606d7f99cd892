"""What one core does: cut, hash, compress, expand, seal and open."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

import zstandard
from blake3 import blake3

from kluis._native import cut
from kluis.events import Context
from kluis.format import crypt
from kluis.operations.bench.measuring import FRAME_BYTES, Measuring
from kluis.options import LEVEL_AUTO
from kluis.results import Measurement

CHUNK_BYTES = 16 << 10
# Cut constants of the preset `default`.
MINIMUM_BYTES, AVERAGE_BYTES, MAXIMUM_BYTES = 4 << 10, 16 << 10, 64 << 10
WORDS = 512
NOISE_SHARE = 4  # of a frame one part in so many cannot be compressed

Part = Callable[[Measuring, bytes], list[Measurement]]


def frame(context: Context) -> bytes:
    """Words and noise, which compress about as office files do; different at each call."""
    noise = context.surroundings.random(FRAME_BYTES // NOISE_SHARE)
    words = [blake3(struct.pack("<I", n)).hexdigest(length=2 + n % 5) for n in range(WORDS)]
    picked = struct.unpack(f"<{len(noise) // 2}H", noise)
    text = " ".join(words[number % WORDS] for number in picked).encode()
    return (text[: FRAME_BYTES - len(noise)] + noise).ljust(FRAME_BYTES, b"\0")


def _cut(measure: Measuring, sample: bytes) -> list[Measurement]:
    table = measure.random(2048)
    found = []
    for kernel in cut.kernels():
        cutter = cut.Cutter(table, MINIMUM_BYTES, AVERAGE_BYTES, MAXIMUM_BYTES, kernel)
        found.append(measure.frames("cut", partial(cutter.cut, final=True), sample, kernel))
    return found


def _hash(measure: Measuring, sample: bytes) -> list[Measurement]:
    key = measure.random(32)

    def work(data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(data), CHUNK_BYTES):
            blake3(view[start : start + CHUNK_BYTES], key=key).digest(16)

    return [measure.frames("hash", work, sample, "BLAKE3, 16 KiB each")]


def _zstd(measure: Measuring, sample: bytes) -> list[Measurement]:
    packer = zstandard.ZstdCompressor(level=LEVEL_AUTO, write_checksum=False)
    packed = packer.compress(sample)
    unpacker = zstandard.ZstdDecompressor()
    share = f"to {len(packed) * 100 // len(sample)} %"
    return [
        measure.frames("zstd", packer.compress, sample, f"level {LEVEL_AUTO}, {share}"),
        measure.frames("expand", lambda _: unpacker.decompress(packed), sample, "zstd"),
    ]


def _seal(measure: Measuring, sample: bytes) -> list[Measurement]:
    key, nonce = measure.random(32), measure.random(32)
    found = []
    for name, algorithm in (("AEGIS-256", crypt.AEGIS256), ("XChaCha20", crypt.XCHACHA20)):
        sealed = crypt.seal(key, algorithm, nonce, sample, context=b"")
        sealing = partial(crypt.seal, key, algorithm, nonce, context=b"")
        found.append(measure.frames("seal", sealing, sample, name))
        opening = partial(_open, key, sealed)
        found.append(measure.frames("open", opening, sample, name))
    return found


def _open(key: bytes, sealed: bytes, _: bytes) -> None:
    crypt.unseal_large(key, sealed, b"", "a trial frame")


PARTS: dict[str, Part] = {"cut": _cut, "hash": _hash, "zstd": _zstd, "seal": _seal}
