from typing_extensions import Buffer

DONE: int
GROUP: int
FRAME: int
HOLE: int
UNKNOWN: int
PLACE_FORMAT: str

class Chunks:
    entries: bytearray
    sums: bytearray

class Fill:
    places: bytes
    wanted: int
    def __init__(
        self,
        data: Buffer,
        ends: Buffer,
        hashes: bytes,
        known: tuple[bytes, bytes],
        zeros: bytes,
    ) -> None: ...
    def start(self) -> int: ...
    def into(
        self,
        buffer: Buffer,
        size: int,
        target: int,
        number: tuple[int, int],
        chunks: Chunks,
        group_end: int,
    ) -> int: ...
    def fresh(self) -> bytes: ...
