"""XOR of byte buffers in plain Python."""

from __future__ import annotations


def xor_into(accumulator: bytearray, data: bytes, offset: int = 0) -> None:
    """Returns nothing; afterwards accumulator[offset + i] has data[i] XORed in, for every i."""
    if offset < 0 or len(data) > len(accumulator) - offset:
        raise ValueError(f"{len(data)} bytes do not fit at {offset} into {len(accumulator)}")
    for i, byte in enumerate(data):
        accumulator[offset + i] ^= byte
