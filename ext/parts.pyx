"""What trees hold of files, made many at a time; ext/c/parts.h says how."""

from core cimport (
    KLUIS_ENTRY_SIZE,
    KLUIS_FILL_PLACE_BYTES,
    KLUIS_PARTS_AGAIN,
    KLUIS_PARTS_CHUNK_BYTES,
    KLUIS_PARTS_EXTENT_BYTES,
    KLUIS_PARTS_EXTRAS,
    KLUIS_PARTS_MERGED_BYTES,
    KLUIS_PARTS_MORE,
    KLUIS_PARTS_NONE,
    KLUIS_PARTS_ONE,
    KLUIS_PARTS_RECORD_BYTES,
    KLUIS_READ_RESULT_SIZE,
    kluis_merge_places,
    kluis_batch,
    kluis_small_records,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

ONE = KLUIS_PARTS_ONE
NONE = KLUIS_PARTS_NONE
MORE = KLUIS_PARTS_MORE
EXTRAS = KLUIS_PARTS_EXTRAS
AGAIN = KLUIS_PARTS_AGAIN
MERGED_FORMAT = "<IIIII"
CHUNK_BYTES = KLUIS_PARTS_CHUNK_BYTES


cdef const uint8_t *start(bytes data):
    return <const uint8_t *>PyBytes_AS_STRING(data)


cdef size_t whole(bytes data, size_t item_bytes) except? 0:
    """How many items the data has; ValueError if that is no whole number."""
    if <size_t>len(data) % item_bytes:
        raise ValueError(f"{len(data)} bytes are no whole items of {item_bytes}")
    return <size_t>len(data) // item_bytes


def merge(bytes places not None):
    """(merged, chunks): extents of one content, and what its digest takes in.

    `merged` is MERGED_FORMAT: run, frame, offset, length, number of chunks; neighbours are one,
    a hole is by itself. `chunks` is hash16 and u64 length of each place.
    """
    cdef size_t count = whole(places, KLUIS_FILL_PLACE_BYTES)
    cdef bytes merged = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>(count * KLUIS_PARTS_MERGED_BYTES))
    cdef bytes chunks = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>(count * KLUIS_PARTS_CHUNK_BYTES))
    cdef const uint8_t *given = start(places)
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(merged)
    cdef uint8_t *listed = <uint8_t *>PyBytes_AS_STRING(chunks)
    cdef size_t made
    with nogil:
        made = kluis_merge_places(given, count, to, listed)
    return merged[:made * KLUIS_PARTS_MERGED_BYTES], chunks


def small(bytes records not None, tuple read not None, tuple stored not None,
          uint32_t inode_flags):
    """(states, records, extents) for trees, of small files that were read and stored.

    `read` is (wanted numbers, results) of `read_small` for the listing `records`; `stored` is
    (u32 bounds: places up to the end of each file, places, runs of 16 bytes each). A state is ONE
    or NONE where a record was made, of so many chunks; else MORE, EXTRAS or AGAIN. ValueError if
    they do not fit together.
    """
    cdef kluis_batch batch
    cdef Py_ssize_t record_count
    cdef bytes wanted, results, bounds, places, runs
    wanted, results = read
    bounds, places, runs = stored
    cdef size_t count = whole(wanted, 4)
    if count != whole(results, KLUIS_READ_RESULT_SIZE) or count != whole(bounds, 4):
        raise ValueError("wanted numbers, results and bounds are of as many files")
    cdef bytes states = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count)
    cdef bytes made = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>(count * KLUIS_PARTS_RECORD_BYTES))
    cdef bytes extents = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>(count * KLUIS_PARTS_EXTENT_BYTES))
    batch.count, batch.inode_flags = count, inode_flags
    batch.entries, batch.entry_count = start(records), whole(records, KLUIS_ENTRY_SIZE)
    batch.wanted, batch.results, batch.bounds = start(wanted), start(results), start(bounds)
    batch.places, batch.place_count = start(places), whole(places, KLUIS_FILL_PLACE_BYTES)
    batch.runs, batch.run_count = start(runs), whole(runs, 16)
    batch.states = <uint8_t *>PyBytes_AS_STRING(states)
    batch.records = <uint8_t *>PyBytes_AS_STRING(made)
    batch.extents = <uint8_t *>PyBytes_AS_STRING(extents)
    cdef size_t extent_count = 0
    with nogil:
        record_count = kluis_small_records(&batch, &extent_count)
    if record_count < 0:
        raise ValueError("files, bounds, places and runs do not fit together")
    return (
        states,
        made[:record_count * KLUIS_PARTS_RECORD_BYTES],
        extents[:extent_count * KLUIS_PARTS_EXTENT_BYTES],
    )
