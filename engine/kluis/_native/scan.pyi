RECORD_SIZE: int
RECORD_FORMAT: str
BTIME_UNKNOWN_NS: int
NO_ENTRY: int

def scan_directory(fd: int) -> tuple[bytes, bytes, list[tuple[bytes, int]]]: ...
def stat_entry(fd: int, name: bytes) -> bytes: ...
def select(records: bytes, names: bytes, keep: bytes) -> tuple[bytes, bytes]: ...
def diff_entries(
    old_records: bytes,
    old_names: bytes,
    new_records: bytes,
    new_names: bytes,
    racy_s: int,
    racy_ns: int,
) -> bytes: ...
def any_racy(records: bytes, racy_s: int, racy_ns: int) -> bool: ...
