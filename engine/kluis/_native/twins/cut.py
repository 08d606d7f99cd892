"""Content-defined cut points in plain Python, after the definition in ext/c/cut.h."""

from __future__ import annotations

import struct

WINDOW_BYTES = 64
MASK_64_BITS = (1 << 64) - 1


def gear(table: tuple[int, ...], window: bytes) -> int:
    """h of a position, from the 64 bytes before it: the defining sum."""
    newest_first = reversed(window)
    return sum(table[byte] << k for k, byte in enumerate(newest_first)) & MASK_64_BITS


class Cutter:
    """Finds chunk ends for one table and one set of sizes."""

    def __init__(self, table: bytes, minimum: int, average: int, maximum: int) -> None:
        allowed = WINDOW_BYTES <= minimum <= average <= maximum <= 1 << 30
        if len(table) != 2048 or not allowed or average.bit_count() != 1:
            raise ValueError("table or sizes are not allowed")
        self.table: tuple[int, ...] = struct.unpack("<256Q", table)
        self.minimum, self.average, self.maximum = minimum, average, maximum
        self.bits = average.bit_length() - 1

    def cut(self, data: bytes, final: bool) -> list[int]:
        """Ends of all chunks that are decided within `data`, which starts where a chunk starts."""
        ends: list[int] = []
        start = 0
        while start < len(data):
            length = self._first(data[start : start + self.maximum + 1])
            if length is None:
                if final:
                    ends.append(len(data))
                break
            start += length
            ends.append(start)
        return ends

    def _first(self, data: bytes) -> int | None:
        """Length of the chunk that `data` starts with; None if what follows could change it."""
        if len(data) <= self.minimum:
            return None
        for length in range(self.minimum, min(len(data), self.maximum) + 1):
            zero_bits = self.bits + 2 if length < self.average else self.bits - 2
            h = gear(self.table, data[length - WINDOW_BYTES : length])
            if h >> (64 - zero_bits) == 0:
                return length
        return self.maximum if len(data) >= self.maximum else None
