"""Sums of chunks, never stored; ext/c/sum.h says what they are."""

from frames cimport KLUIS_SUM_BYTES, KLUIS_SUM_ENTRY_BYTES, kluis_sum_each, kluis_sum_wrong
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

SUM_BYTES = KLUIS_SUM_BYTES


def each(data not None, ends not None):
    """A sum of `SUM_BYTES` for each chunk; `ends`, native u32, cut `data` from 0.

    ValueError if they do not ascend or leave the data.
    """
    cdef bytes packed = memoryview(ends).tobytes()
    cdef size_t count = <size_t>(len(packed) // 4)
    cdef const uint8_t *cuts = <const uint8_t *>PyBytes_AS_STRING(packed)
    cdef bytes sums = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count * KLUIS_SUM_BYTES)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(sums)
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        check_ends(packed, <size_t>view.len)
        with nogil:
            kluis_sum_each(<const uint8_t *>view.buf, cuts, count, out)
    finally:
        PyBuffer_Release(&view)
    return sums


cdef int check_ends(bytes packed, size_t size) except -1:
    cdef const uint32_t *ends = <const uint32_t *>PyBytes_AS_STRING(packed)
    cdef uint32_t before = 0
    if len(packed) % 4:
        raise ValueError("the ends of chunks are of four bytes each")
    for i in range(len(packed) // 4):
        if ends[i] <= before or ends[i] > size:
            raise ValueError("the ends of chunks do not ascend, or leave the data")
        before = ends[i]
    return 0


def wrong(data not None, entries not None, sums not None):
    """The number of the first chunk that is not as it was summed, in bytes or hash; or None.

    `entries` is the frame's chunk list. ValueError if it does not fill `data`, or if there are
    not as many bound sums.
    """
    cdef bytes listed = bytes(entries)
    cdef bytes expected = bytes(sums)
    cdef Py_ssize_t count = len(listed) // KLUIS_SUM_ENTRY_BYTES
    cdef const uint8_t *lists = <const uint8_t *>PyBytes_AS_STRING(listed)
    cdef const uint8_t *numbers = <const uint8_t *>PyBytes_AS_STRING(expected)
    cdef Py_ssize_t found
    cdef Py_buffer view
    if len(listed) % KLUIS_SUM_ENTRY_BYTES or len(expected) != count * KLUIS_SUM_BYTES:
        raise ValueError("a chunk list and its sums are of as many chunks")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            found = kluis_sum_wrong(
                <const uint8_t *>view.buf, <size_t>view.len, lists, <size_t>count, numbers)
    finally:
        PyBuffer_Release(&view)
    if found < 0:
        raise ValueError("the chunk list does not fill the frame")
    return None if found == count else found
