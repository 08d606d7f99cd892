"""Directory listings as flat arrays: records of RECORD_SIZE bytes, and the names beside them."""

from os import strerror

from core cimport (
    KLUIS_ENTRY_SIZE,
    kluis_any_racy,
    kluis_diff_entries,
    kluis_hide_device,
    kluis_instant,
    kluis_listing,
    kluis_listing_free,
    kluis_listing_read,
    kluis_listing_stat,
    kluis_records_check,
    kluis_select,
    kluis_select_size,
    kluis_side,
    kluis_stat_entry,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

RECORD_SIZE = KLUIS_ENTRY_SIZE
RECORD_FORMAT = "=QQQQQqqqIIIIIIIIH14x"
BTIME_UNKNOWN_NS = 0xFFFFFFFF  # unsigned in scan.h, which an enum of Cython would not keep
NO_ENTRY = 0xFFFFFFFF


cdef inline const uint8_t *start(bytes data):
    return <const uint8_t *>PyBytes_AS_STRING(data)


cdef inline bytes room(size_t size):
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)


cdef size_t whole_records(bytes records) except? 0:
    """How many records there are."""
    cdef size_t count = <size_t>len(records) // KLUIS_ENTRY_SIZE
    if <size_t>len(records) != count * KLUIS_ENTRY_SIZE or count >= NO_ENTRY:
        raise ValueError(f"{len(records)} bytes are no whole records of {RECORD_SIZE}")
    return count


cdef size_t count_of(bytes records, bytes names) except? 0:
    """How many records there are, once they and the names are known to fit together."""
    cdef size_t count = whole_records(records)
    if kluis_records_check(start(records), count, <size_t>len(names)):
        raise ValueError(f"the records' names do not take {len(names)} bytes")
    return count


cdef int check(int failed) except -1:
    if failed:
        raise OSError(-failed, strerror(-failed))
    return 0


cdef list failures_of(kluis_listing *listing):
    cdef size_t i
    failures = [(b"", listing.error)] if listing.error else []
    for i in range(listing.count):
        if listing.entries[i].error:
            name = listing.names + listing.entries[i].offset
            failures.append((name[: listing.entries[i].length], listing.entries[i].error))
    return failures


def scan_directory(int fd):
    """Returns (records, names, failures) of an open directory, sorted by name.

    A failure is (name, errno) of an entry without status; its name is empty if the listing itself
    broke off, so that later entries are missing. OSError if nothing at all could be listed.
    """
    cdef kluis_listing listing
    cdef size_t kept = 0, kept_bytes = 0
    cdef uint8_t *to_records
    cdef uint8_t *to_names
    cdef int failed
    memset(&listing, 0, sizeof(listing))
    try:
        with nogil:
            failed = kluis_listing_read(fd, &listing)
        check(failed)
        records = room(listing.count * KLUIS_ENTRY_SIZE)
        names = room(listing.bytes)
        to_records = <uint8_t *>start(records)
        to_names = <uint8_t *>start(names)
        with nogil:
            failed = kluis_listing_stat(fd, &listing, to_records, to_names, &kept, &kept_bytes)
        check(failed)
        if kept == listing.count and not listing.error:
            return records, names, []
        return (
            records[: kept * KLUIS_ENTRY_SIZE],
            names[:kept_bytes],
            failures_of(&listing),
        )
    finally:
        kluis_listing_free(&listing)


def stat_entry(int fd, bytes name not None):
    """Returns the record of `name` under the directory `fd`, or of `fd` itself if it is empty.

    A link at the end of the name is not followed. OSError with the errno of the failure.
    """
    cdef const char *c_name = PyBytes_AS_STRING(name)
    cdef size_t length = <size_t>len(name)
    cdef int failed
    if b"\0" in name:
        raise ValueError("a file name holds no zero byte")
    record = room(KLUIS_ENTRY_SIZE)
    cdef uint8_t *to = <uint8_t *>start(record)
    with nogil:
        failed = kluis_stat_entry(fd, c_name, length, to)
    check(failed)
    return record


def select(bytes records not None, bytes names not None, bytes keep not None):
    """Returns (records, names) of the entries whose byte in `keep` is not zero, in order."""
    cdef size_t count = count_of(records, names), kept = 0, kept_bytes = 0
    if <size_t>len(keep) != count:
        raise ValueError(f"{len(keep)} marks for {count} entries")
    kluis_select_size(start(records), count, start(keep), &kept, &kept_bytes)
    kept_records = room(kept * KLUIS_ENTRY_SIZE)
    kept_names = room(kept_bytes)
    kluis_select(
        start(records),
        count,
        start(names),
        start(keep),
        <uint8_t *>start(kept_records),
        <uint8_t *>start(kept_names),
    )
    return kept_records, kept_names


def diff_entries(
    bytes old_records not None,
    bytes old_names not None,
    bytes new_records not None,
    bytes new_names not None,
    int64_t racy_s,
    uint32_t racy_ns,
):
    """Returns a u32 for each new entry: the index of the same, untouched old one, or NO_ENTRY.

    Untouched: name, inode, device, size, mtime, ctime and type are equal, and both times are
    older than the racy instant. Both sides are sorted by name.
    """
    cdef kluis_side old, new
    cdef kluis_instant racy = kluis_instant(racy_s, racy_ns)
    old.count = count_of(old_records, old_names)
    new.count = count_of(new_records, new_names)
    old.records, old.names = start(old_records), start(old_names)
    new.records, new.names = start(new_records), start(new_names)
    matches = room(new.count * sizeof(uint32_t))
    cdef uint32_t *to = <uint32_t *>start(matches)
    with nogil:
        kluis_diff_entries(&old, &new, racy, to)
    return matches


def hide_device(bytes records not None, uint64_t device):
    """Returns the records of a directory on `device`: 0 as device, or 1 for what lies elsewhere.

    Of directories it is 0 in any case. Numbers of devices change; these do not.
    """
    cdef size_t count = whole_records(records)
    hidden = room(count * KLUIS_ENTRY_SIZE)
    kluis_hide_device(start(records), count, device, <uint8_t *>start(hidden))
    return hidden


def any_racy(bytes records not None, int64_t racy_s, uint32_t racy_ns):
    """True if an entry that is no directory has an mtime or ctime not older than the instant."""
    cdef size_t count = whole_records(records)
    return bool(kluis_any_racy(start(records), count, kluis_instant(racy_s, racy_ns)))
