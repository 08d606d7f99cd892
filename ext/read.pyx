"""Reading file contents: many small files in one call, or one file by offset."""

from os import strerror

from core cimport (
    KLUIS_ENTRY_SIZE,
    KLUIS_READ_CHANGED,
    KLUIS_READ_GREW,
    KLUIS_READ_LIMIT_MAX,
    KLUIS_READ_RESULT_SIZE,
    KLUIS_READ_XATTRS,
    kluis_data_ranges,
    kluis_range,
    kluis_read_at,
    kluis_reader,
    kluis_reader_finish,
    kluis_reader_prepare,
    kluis_reader_run,
)
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_FromStringAndSize,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

RESULT_SIZE = KLUIS_READ_RESULT_SIZE
RESULT_FORMAT = "=iII4x"
CHANGED = KLUIS_READ_CHANGED
GREW = KLUIS_READ_GREW
XATTRS = KLUIS_READ_XATTRS
LIMIT_MAX = KLUIS_READ_LIMIT_MAX


cdef int check(int64_t failed) except -1:
    if failed < 0:
        raise OSError(-failed, strerror(-failed))
    return 0


cdef bytearray run(kluis_reader *reader, size_t expected):
    """All data of the batch; grows where files have grown since they were scanned."""
    cdef size_t capacity = expected + 1  # an empty file takes one byte to see that it still is
    cdef uint8_t *to
    cdef int more = 1
    cdef bytearray data = PyByteArray_FromStringAndSize(NULL, <Py_ssize_t>capacity)
    while more:
        to = <uint8_t *>PyByteArray_AS_STRING(data)
        with nogil:
            more = kluis_reader_run(reader, to, capacity)
        if more:
            capacity += capacity // 2 + reader.limit + 1
            PyByteArray_Resize(data, <Py_ssize_t>capacity)
    PyByteArray_Resize(data, <Py_ssize_t>reader.used)
    return data


def read_small(
    int fd, bytes records not None, bytes names not None, wanted not None, uint32_t limit
):
    """Returns (data, results) of the wanted entries of a listing in the directory `fd`.

    `wanted` holds u32 numbers of records. The contents lie back to back in `data`, in that order;
    each result is RESULT_FORMAT: length or -errno, flags CHANGED | GREW | XATTRS, inode flags.
    A file of more than `limit` bytes is GREW and gives no data. Takes time linear in the records.
    """
    cdef kluis_reader reader
    cdef Py_buffer numbers
    cdef size_t expected = 0
    cdef int failed
    if len(records) % KLUIS_ENTRY_SIZE:
        raise ValueError(f"{len(records)} bytes are no whole records of {KLUIS_ENTRY_SIZE}")
    memset(&reader, 0, sizeof(reader))
    PyObject_GetBuffer(wanted, &numbers, PyBUF_SIMPLE)
    try:
        if numbers.len % sizeof(uint32_t):
            raise ValueError(f"{numbers.len} bytes are no whole numbers of 4")
        reader.fd, reader.limit = fd, limit
        reader.records = <const uint8_t *>PyBytes_AS_STRING(records)
        reader.count = <size_t>len(records) // KLUIS_ENTRY_SIZE
        reader.names = <const uint8_t *>PyBytes_AS_STRING(names)
        reader.names_size = <size_t>len(names)
        reader.wanted = <const uint8_t *>numbers.buf
        reader.wanted_count = <size_t>numbers.len // sizeof(uint32_t)
        results = PyBytes_FromStringAndSize(
            NULL, <Py_ssize_t>(reader.wanted_count * KLUIS_READ_RESULT_SIZE)
        )
        reader.results = <uint8_t *>PyBytes_AS_STRING(results)
        failed = kluis_reader_prepare(&reader, &expected)
        if failed == -1:
            raise ValueError("names, records, wanted numbers and limit do not fit together")
        check(failed)
        return run(&reader, expected), results
    finally:
        kluis_reader_finish(&reader)
        PyBuffer_Release(&numbers)


def read_at(int fd, buffer not None, uint64_t offset):
    """Returns how many bytes from `offset` on are now in the buffer: all it holds, or to the end.

    OSError with the errno of the failure.
    """
    cdef Py_buffer view
    cdef int64_t done
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        with nogil:
            done = kluis_read_at(fd, <uint8_t *>view.buf, <size_t>view.len, offset)
    finally:
        PyBuffer_Release(&view)
    check(done)
    return done


def data_ranges(int fd, uint64_t size):
    """Returns (start, end) of what is no hole in the first `size` bytes, in ascending order.

    One range where the file system does not tell. Moves the descriptor's position.
    """
    cdef kluis_range *ranges = NULL
    cdef size_t count = 0, i
    cdef int failed
    try:
        with nogil:
            failed = kluis_data_ranges(fd, size, &ranges, &count)
        check(failed)
        return [(ranges[i].start, ranges[i].end) for i in range(count)]
    finally:
        free(ranges)
