"""The local dedup cache: hash16 -> (run, frame, offset, length); ext/c/table.h is its contract."""

import os

from core cimport (
    KLUIS_TABLE_HASH_BYTES,
    KLUIS_TABLE_PLACE_BYTES,
    KLUIS_TABLE_RECORD_BYTES,
    kluis_table,
    kluis_table_add_pending,
    kluis_table_clear,
    kluis_table_close,
    kluis_table_count,
    kluis_table_discard_pending,
    kluis_table_flush,
    kluis_table_lookup,
    kluis_table_open,
    kluis_table_set_usable,
    kluis_table_settle,
)
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EINVAL
from libc.stdint cimport uint8_t, uint32_t, uint64_t

NO_RUN = 0xFFFFFFFF


cdef size_t records_in(Py_buffer *view, size_t size) except? 0:
    if <size_t>view.len % size:
        raise ValueError(f"{view.len} bytes are not whole records of {size}")
    return <size_t>view.len // size


cdef class Table:
    """Tells where a chunk is stored already; may forget, and then costs space only.

    Any thread may call any method, and `close` once no other call is under way. Entries that were
    added are pending until settled; permanent ones are kept for the next process by `flush` alone.
    Pending entries beyond twice `memory_entries` are forgotten.
    """

    cdef kluis_table *table
    cdef readonly str folder

    def __cinit__(self, str folder not None, size_t memory_entries=1 << 18):
        """Creates the folder if need be; removes files named as its own but torn or foreign."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        cdef bytes path = os.fsencode(folder)
        if b"\0" in path:
            raise ValueError("a folder's name cannot hold a zero byte")
        cdef const char *name = path
        cdef int status
        with nogil:
            status = kluis_table_open(&self.table, name, memory_entries)
        self.folder = folder
        self.check(status)

    def __dealloc__(self):
        kluis_table_close(self.table)

    cdef int check(self, int status) except -1:
        if status < 0:
            raise OSError(-status, os.strerror(-status), self.folder)
        return 0

    cdef kluis_table *opened(self) except NULL:
        if self.table == NULL:
            raise ValueError("the table is closed")
        return self.table

    def set_usable(self, uint32_t run, bitmap not None):
        """Returns nothing; from now on exactly the frames set in the bitmap of this run are used.

        Bit n, the least significant bit of the first byte first, is frame n. A run that was never
        named is not usable either, but its entries outlive merges; b"" gives a run up for good.
        """
        cdef kluis_table *table = self.opened()
        cdef Py_buffer view
        cdef int status
        PyObject_GetBuffer(bitmap, &view, PyBUF_SIMPLE)
        with nogil:  # also where little is done: another thread may hold the table for long
            status = kluis_table_set_usable(
                table, run, <const uint8_t *>view.buf, <size_t>view.len)
        PyBuffer_Release(&view)
        self.check(status)

    def lookup(self, hashes not None):
        """One record of four u32, little endian, for each hash: run, frame, offset, length.

        The run is NO_RUN where nothing usable is known.
        """
        cdef kluis_table *table = self.opened()
        cdef Py_buffer view
        cdef bytes places
        cdef uint8_t *to
        cdef size_t count
        PyObject_GetBuffer(hashes, &view, PyBUF_SIMPLE)
        try:
            count = records_in(&view, KLUIS_TABLE_HASH_BYTES)
            places = PyBytes_FromStringAndSize(NULL, count * KLUIS_TABLE_PLACE_BYTES)
            to = <uint8_t *>PyBytes_AS_STRING(places)
            with nogil:
                kluis_table_lookup(table, <const uint8_t *>view.buf, count, to)
        finally:
            PyBuffer_Release(&view)
        return places

    def add_pending(self, records not None):
        """Returns nothing; lookup knows the records (hash16, run, frame, offset, length) at once.

        They count as usable without `set_usable` while they are pending. ValueError, and none is
        added, if one names NO_RUN.
        """
        cdef kluis_table *table = self.opened()
        cdef Py_buffer view
        cdef size_t count
        cdef int status
        PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
        try:
            count = records_in(&view, KLUIS_TABLE_RECORD_BYTES)
            with nogil:
                status = kluis_table_add_pending(table, <const uint8_t *>view.buf, count)
        finally:
            PyBuffer_Release(&view)
        if status == -EINVAL:
            raise ValueError("a record names the run that stands for none")
        self.check(status)

    def settle(self, uint32_t run, uint32_t frame_limit):
        """Returns nothing; pending entries of the run with frame < frame_limit become permanent.

        Flushes by itself when memory_entries are reached; what cannot be written then is forgotten.
        """
        cdef kluis_table *table = self.opened()
        cdef int status
        with nogil:
            status = kluis_table_settle(table, run, frame_limit)
        self.check(status)

    def discard_pending(self):
        """Returns nothing; pending entries are forgotten."""
        cdef kluis_table *table = self.opened()
        with nogil:
            kluis_table_discard_pending(table)

    def flush(self):
        """Returns nothing; permanent entries are in files that the next process will read.

        OSError if they cannot be written; they are in memory still, and earlier files as before.
        Not proof against a power cut, which costs the entries.
        """
        cdef kluis_table *table = self.opened()
        cdef int status
        with nogil:
            status = kluis_table_flush(table)
        self.check(status)

    def clear(self):
        """Returns nothing; everything is forgotten, usable frames included, and files removed."""
        cdef kluis_table *table = self.opened()
        cdef int status
        with nogil:
            status = kluis_table_clear(table)
        self.check(status)

    def close(self):
        """Returns nothing; what was not flushed is forgotten. May be called again."""
        cdef kluis_table *table = self.table
        self.table = NULL
        with nogil:
            kluis_table_close(table)

    def __len__(self):
        """Number of permanent entries; those that lie in two files count twice."""
        cdef kluis_table *table = self.opened()
        cdef uint64_t count
        with nogil:
            count = kluis_table_count(table)
        return count
