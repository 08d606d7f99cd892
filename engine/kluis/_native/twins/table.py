"""The dedup cache as its contract states it, in plain Python: all answers that are allowed."""

from __future__ import annotations

import struct

NO_RUN = 0xFFFFFFFF
HASH_BYTES = 16
RECORD_BYTES = 32
UNKNOWN = struct.pack("<4I", NO_RUN, 0, 0, 0)


def split(data: bytes, size: int) -> list[bytes]:
    """The records of that size, in order."""
    if len(data) % size:
        raise ValueError(f"{len(data)} bytes are not whole records of {size}")
    return [data[at : at + size] for at in range(0, len(data), size)]


class Table:
    """Model of one folder over the life of several processes.

    Exact as long as no hash has more than eight places and the limit of pending entries is not
    reached: beyond that, and where files are damaged, the native table may also answer UNKNOWN.
    """

    def __init__(self) -> None:
        self.usable: dict[int, bytes] = {}
        self.pending: list[bytes] = []
        self.memory: list[bytes] = []  # permanent, lost by a restart unless flushed
        self.filed: list[bytes] = []
        self.ever: set[bytes] = set()  # permanent at any time: a flush may have happened unseen

    def set_usable(self, run: int, bitmap: bytes) -> None:
        """Returns nothing; what it makes unusable may be forgotten for good by any later merge."""
        self.usable[run] = bitmap
        self.memory = [record for record in self.memory if not self._is_dead(record)]
        self.filed = [record for record in self.filed if not self._is_dead(record)]

    def lookup(self, hashes: bytes) -> bytes:
        """The place preferred for each hash: pending before permanent, newer before older."""
        return b"".join(self._preferred(hash16) for hash16 in split(hashes, HASH_BYTES))

    def answers(self, hash16: bytes) -> set[bytes]:
        """All places that a native table may give, UNKNOWN among them if it may know none."""
        preferred = self._preferred(hash16)
        permanent = {record for record in self.ever if self._is_usable(record)}
        known = {record for record in {*self.pending, *permanent} if record.startswith(hash16)}
        return {preferred} | {record[HASH_BYTES:] for record in known}

    def add_pending(self, records: bytes) -> None:
        """Returns nothing; the records are known at once."""
        new = split(records, RECORD_BYTES)
        if any(self._place(record)[0] == NO_RUN for record in new):
            raise ValueError("a record names the run that stands for none")
        self.pending += [record for record in new if record not in self.pending]

    def settle(self, run: int, frame_limit: int) -> None:
        """Returns nothing; pending entries of the run below the limit are permanent."""
        settled = [
            record
            for record in self.pending
            if self._place(record)[0] == run and self._place(record)[1] < frame_limit
        ]
        self.pending = [record for record in self.pending if record not in settled]
        self.memory += [record for record in settled if not self._is_dead(record)]
        self.ever.update(settled)

    def discard_pending(self) -> None:
        """Returns nothing; nothing is pending."""
        self.pending = []

    def flush(self) -> None:
        """Returns nothing; permanent entries outlive a restart."""
        self.filed += self.memory
        self.memory = []

    def restart(self) -> None:
        """Returns nothing; as if another process had opened the folder."""
        self.usable, self.pending, self.memory = {}, [], []

    def clear(self) -> None:
        """Returns nothing; nothing is known."""
        self.restart()
        self.filed, self.ever = [], set()

    def _place(self, record: bytes) -> tuple[int, int]:
        run, frame = struct.unpack_from("<2I", record, HASH_BYTES)
        return run, frame

    def _is_usable(self, record: bytes) -> bool:
        run, frame = self._place(record)
        bitmap = self.usable.get(run, b"")
        return frame < 8 * len(bitmap) and bool(bitmap[frame // 8] >> frame % 8 & 1)

    def _is_dead(self, record: bytes) -> bool:
        return self._place(record)[0] in self.usable and not self._is_usable(record)

    def _preferred(self, hash16: bytes) -> bytes:
        usable = [record for record in self.filed + self.memory if self._is_usable(record)]
        for record in reversed(usable + self.pending):
            if record.startswith(hash16):
                return record[HASH_BYTES:]
        return UNKNOWN
