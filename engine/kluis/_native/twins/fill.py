"""kluis._native.fill in plain Python; whether a buffer lies in the data is unknown to it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kluis._native.twins.sum import SUM_BYTES, bound

if TYPE_CHECKING:
    from typing_extensions import Buffer

DONE = 0
GROUP = 1
FRAME = 2
NO_ROOM = -1
UNKNOWN = 0xFFFFFFFF
HOLE = 0xFFFFFFFE
PLACE_FORMAT = "<16sIIII"
FOUND_FORMAT = "<IIII"
ENTRY_FORMAT = "<16sI"
HASH_BYTES = 16
OFFSET_LIMIT = 0xFFFFFFFF


def _view(buffer: Buffer, writable: bool = False) -> memoryview:
    view = memoryview(buffer)
    if not view.c_contiguous or (writable and view.readonly):
        raise BufferError("no contiguous memory, or it cannot be written")
    return view.cast("B")


class Chunks:
    """What is known of the new chunks of one frame: its chunk list, and the sum of each."""

    def __init__(self) -> None:
        self.entries, self.sums = bytearray(), bytearray()


class Fill:
    """The chunks of one buffer: DONE, GROUP or FRAME is what `into` wants before it goes on."""

    def __init__(
        self,
        data: Buffer,
        ends: Buffer,
        hashes: bytes,
        known: tuple[bytes, bytes],
        zeros: bytes,
    ) -> None:
        found, self._sums = known
        self._data = _view(data)
        packed = memoryview(ends).tobytes()
        count = len(packed) // 4
        place_bytes = struct.calcsize(FOUND_FORMAT)
        if len(packed) % 4 or {len(hashes), len(found)} != {count * place_bytes}:
            raise ValueError("ends, hashes and places are of as many chunks")
        if len(self._sums) != count * SUM_BYTES:
            raise ValueError("ends, hashes and places are of as many chunks")
        if len(zeros) != HASH_BYTES:
            raise ValueError("the hash of the zeros has 16 bytes")
        self._ends = struct.unpack(f"={count}I", packed)
        if list(self._ends) != sorted({*self._ends} - {0}) or self._ends[-1:] > (len(self._data),):
            raise ValueError("the ends of chunks do not ascend, or leave the data")
        self._hashes = [h for (h,) in struct.iter_unpack("16s", hashes)]
        self._found = list(struct.iter_unpack(FOUND_FORMAT, found))
        self._zeros = zeros
        self._places: list[bytes] = []
        self._fresh: dict[bytes, bytes] = {}
        self.wanted = DONE

    @property
    def places(self) -> bytes:
        """PLACE_FORMAT of each chunk; of those that have none yet, anything."""
        return b"".join(self._places).ljust(
            len(self._ends) * struct.calcsize(PLACE_FORMAT), b"\xff"
        )

    def start(self) -> int:
        """Where the next chunk begins in the data."""
        return self._ends[len(self._places) - 1] if self._places else 0

    def into(
        self,
        buffer: Buffer,
        size: int,
        target: int,
        number: tuple[int, int],
        *rest: *tuple[Chunks, int],
    ) -> int:
        """The frame's new size: new chunks are copied to the buffer, from `size` on.

        `rest` is what is known of its chunks, which grows, and the group's end.
        """
        chunks, group_end = rest
        room = _view(buffer, writable=True)
        if size > len(room):
            raise ValueError("the frame is larger than its buffer")
        while len(self._places) < len(self._ends):
            start, hash16 = self.start(), self._hashes[len(self._places)]
            length = self._ends[len(self._places)] - start
            place = self._known(length)
            if place is None:
                self.wanted = self._obstacle(start >= group_end, size >= target)
                if self.wanted != DONE:
                    return size
                if size + length > min(len(room), OFFSET_LIMIT):
                    self.wanted = NO_ROOM
                    raise ValueError("a chunk does not fit into the buffer of its frame")
                room[size : size + length] = self._data[start : start + length]
                chunks.entries.extend(struct.pack(ENTRY_FORMAT, hash16, length))
                at = len(self._places) * SUM_BYTES
                chunks.sums.extend(bound(self._sums[at : at + SUM_BYTES], hash16))
                place = struct.pack(PLACE_FORMAT, hash16, *number, size, length)
                self._fresh[hash16] = place
                size += length
            self._places.append(place)
        self.wanted = DONE
        return size

    def fresh(self) -> bytes:
        """PLACE_FORMAT of each chunk that was new, once, back to back: records for the table."""
        return b"".join(self._fresh.values())

    def _known(self, length: int) -> bytes | None:
        """The place of the next chunk if it needs no room."""
        hash16, found = self._hashes[len(self._places)], self._found[len(self._places)]
        if hash16 in self._fresh:
            return self._fresh[hash16]
        if found[0] != UNKNOWN and found[3] == length:
            return struct.pack(PLACE_FORMAT, hash16, *found)
        if hash16 == self._zeros:
            return struct.pack(PLACE_FORMAT, hash16, HOLE, 0, 0, length)
        return None

    @staticmethod
    def _obstacle(behind_group: bool, full: bool) -> int:
        if behind_group:
            return GROUP
        return FRAME if full else DONE
