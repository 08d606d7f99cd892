"""Bench: how fast this machine cuts, hashes, compresses and seals, and how fast a disk is."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from functools import partial

import zstandard
from blake3 import blake3

from kluis._native import cut
from kluis.errors import UsageError
from kluis.events import Context, Stage
from kluis.format import crypt
from kluis.options import LEVEL_AUTO, BenchOptions
from kluis.results import BenchResult, Measurement
from kluis.storage.trial import TrialFile

FRAME_BYTES = 1 << 20
CHUNK_BYTES = 16 << 10
SIZE_LEAST_BYTES = FRAME_BYTES
# Cut constants of the preset `default`.
MINIMUM_BYTES, AVERAGE_BYTES, MAXIMUM_BYTES = 4 << 10, 16 << 10, 64 << 10
WORDS = 512
TEXT_SHARE = 4  # of the sample one part in so many cannot be compressed


def bench(options: BenchOptions, context: Context) -> BenchResult:
    """Each part measured once over `size` bytes; the disk only with `folder`.

    No file is left behind, whatever happens.
    """
    if options.size < SIZE_LEAST_BYTES:
        raise UsageError(f"--size must be at least {SIZE_LEAST_BYTES >> 20}M")
    sample = _sample(context)
    measure = Measuring(options.size, context)
    found: list[Measurement] = []
    for part in options.parts:
        context.events(Stage(f"measuring {part}"))
        if part == "disk":
            found += _disk(options, context, sample)
        elif part == "cut":
            found += _cut(measure, sample, context)
        elif part == "hash":
            found.append(measure.frames("hash", _hashing(context), sample, "BLAKE3, 16 KiB each"))
        elif part == "zstd":
            found += _zstd(measure, sample)
        else:
            found += _seal(measure, sample, context)
    return BenchResult(tuple(found))


class Measuring:
    """Runs something over enough bytes and takes the time."""

    def __init__(self, size: int, context: Context) -> None:
        self._rounds = max(1, size // FRAME_BYTES)
        self._context = context

    def frames(
        self, name: str, work: Callable[[bytes], object], frame: bytes, remark: str = ""
    ) -> Measurement:
        """`work` once for each frame of data."""
        machine = self._context.surroundings
        work(frame)  # what is loaded or compiled at first use is not measured
        begun, cpu = machine.monotonic(), time.process_time()
        for _ in range(self._rounds):
            self._context.cancel.check()
            work(frame)
        seconds = machine.monotonic() - begun
        spent = time.process_time() - cpu
        return Measurement(name, self._rounds * len(frame), seconds, spent, remark)


def _sample(context: Context) -> bytes:
    """A frame of words and noise, which compresses about as office files do."""
    noise = context.surroundings.random(FRAME_BYTES // TEXT_SHARE)
    words = [blake3(struct.pack("<I", n)).hexdigest(length=2 + n % 5) for n in range(WORDS)]
    picked = struct.unpack(f"<{len(noise) // 2}H", noise)
    text = " ".join(words[number % WORDS] for number in picked).encode()
    return (text[: FRAME_BYTES - len(noise)] + noise).ljust(FRAME_BYTES, b"\0")


def _cut(measure: Measuring, sample: bytes, context: Context) -> list[Measurement]:
    table = context.surroundings.random(2048)
    found = []
    for kernel in cut.kernels():
        cutter = cut.Cutter(table, MINIMUM_BYTES, AVERAGE_BYTES, MAXIMUM_BYTES, kernel)
        found.append(measure.frames("cut", partial(cutter.cut, final=True), sample, kernel))
    return found


def _hashing(context: Context) -> Callable[[bytes], object]:
    key = context.surroundings.random(32)

    def work(data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(data), CHUNK_BYTES):
            blake3(view[start : start + CHUNK_BYTES], key=key).digest(16)

    return work


def _zstd(measure: Measuring, sample: bytes) -> list[Measurement]:
    packer = zstandard.ZstdCompressor(level=LEVEL_AUTO, write_checksum=False)
    packed = packer.compress(sample)
    unpacker = zstandard.ZstdDecompressor()
    share = f"to {len(packed) * 100 // len(sample)} %"
    return [
        measure.frames("zstd", packer.compress, sample, f"level {LEVEL_AUTO}, {share}"),
        measure.frames("expand", lambda _: unpacker.decompress(packed), sample, "zstd"),
    ]


def _seal(measure: Measuring, sample: bytes, context: Context) -> list[Measurement]:
    key, nonce = context.surroundings.random(32), context.surroundings.random(32)
    found = []
    for name, algorithm in (("AEGIS-256", crypt.AEGIS256), ("XChaCha20", crypt.XCHACHA20)):
        sealing = partial(crypt.seal, key, algorithm, nonce, context=b"")
        found.append(measure.frames("seal", sealing, sample, name))
    return found


def _disk(options: BenchOptions, context: Context, sample: bytes) -> list[Measurement]:
    if options.folder is None:
        return []
    machine = context.surroundings
    noise = machine.random(len(sample))  # some disks compress what they are given
    with TrialFile(options.folder) as file:
        times = [(machine.monotonic(), time.process_time())]
        file.write(noise, options.size, context.cancel.check)
        times.append((machine.monotonic(), time.process_time()))
        size = file.read(context.cancel.check)
        times.append((machine.monotonic(), time.process_time()))
    return [
        Measurement(name, amount, now[0] - before[0], now[1] - before[1], remark)
        for name, amount, before, now, remark in (
            ("disk write", options.size, times[0], times[1], "with fsync"),
            ("disk read", size, times[1], times[2], "may come from memory"),
        )
    ]
