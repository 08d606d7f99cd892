ONE: int
NONE: int
MORE: int
EXTRAS: int
AGAIN: int
MERGED_FORMAT: str
CHUNK_BYTES: int

def merge(places: bytes) -> tuple[bytes, bytes]: ...
def small(
    records: bytes,
    read: tuple[bytes, bytes],
    stored: tuple[bytes, bytes, bytes],
    inode_flags: int,
) -> tuple[bytes, bytes, bytes]: ...
