RECORD_BYTES: int
EXTENT_BYTES: int
DIGEST_BYTES: int
CHUNK_BYTES: int
SPAN_FORMAT: str
OTHER_FORMAT: str
BOUND_FORMAT: str
RIGHT: int
UNALIGNED: int
WRONG: int
DIFFERENT: int
SEVERAL: int

def fitting(records: bytes, limit: int) -> tuple[int, int, int, int]: ...
def window(
    parts: tuple[bytes, bytes, bytes],
    owners: tuple[bytes, bytes],
    rules: tuple[int, int, int],
) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def locate(starts: bytes, stretches: bytes, step: int, at: int) -> tuple[bytes, bytes]: ...
def check(bounds: bytes, digests: bytes, chunks: bytes, right: bytes) -> bytes: ...
