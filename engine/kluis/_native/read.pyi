from typing_extensions import Buffer

RESULT_SIZE: int
RESULT_FORMAT: str
CHANGED: int
GREW: int
XATTRS: int
LIMIT_MAX: int

def read_small(
    fd: int, records: bytes, names: bytes, wanted: Buffer, limit: int
) -> tuple[bytearray, bytes]: ...
def read_at(fd: int, buffer: Buffer, offset: int) -> int: ...
def data_ranges(fd: int, size: int) -> list[tuple[int, int]]: ...
