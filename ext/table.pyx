"""The local dedup cache: hash16 -> (run, frame, offset, length); ext/c/table.h is its contract."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

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

NO_RUN = 0xFFFFFFFF


cdef const uint8_t[::1] records_of(object buffer, Py_ssize_t size):
    """The bytes of a buffer that has to hold whole records of that size."""
    cdef const uint8_t[::1] view = memoryview(buffer).cast("B")
    if view.shape[0] % size != 0:
        raise ValueError(f"{view.shape[0]} bytes are not whole records of {size}")
    return view


cdef class Table:
    """Tells where a chunk is stored already; may forget, and then costs space only.

    Any thread may call any method, and `close` once no other call is under way. Entries that were
    added are pending until settled; permanent ones are kept for the next process by `flush` alone.
    Pending entries beyond twice `memory_entries` are forgotten.
    """

    cdef kluis_table *table
    cdef readonly str folder

    def __cinit__(self, str folder not None, size_t memory_entries=1 << 18):
        """Creates the folder if need be; removes files of its own naming that are torn or foreign."""
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
        cdef const uint8_t[::1] view = memoryview(bitmap).cast("B")
        cdef const uint8_t *bits = &view[0] if view.shape[0] else NULL
        cdef size_t size = <size_t>view.shape[0]
        cdef int status
        with nogil:  # also where little is done: another thread may hold the table for long
            status = kluis_table_set_usable(table, run, bits, size)
        self.check(status)

    def lookup(self, hashes not None):
        """One record of four u32, little endian, for each hash: run, frame, offset, length.

        The run is NO_RUN where nothing usable is known.
        """
        cdef kluis_table *table = self.opened()
        cdef const uint8_t[::1] view = records_of(hashes, KLUIS_TABLE_HASH_BYTES)
        cdef size_t count = <size_t>view.shape[0] // KLUIS_TABLE_HASH_BYTES
        if count == 0:
            return b""
        cdef const uint8_t *first = &view[0]
        cdef bytes places = PyBytes_FromStringAndSize(NULL, count * KLUIS_TABLE_PLACE_BYTES)
        cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(places)
        with nogil:
            kluis_table_lookup(table, first, count, to)
        return places

    def add_pending(self, records not None):
        """Returns nothing; the records (hash16, run, frame, offset, length) can be looked up at once.

        They count as usable without `set_usable` while they are pending. ValueError, and none is
        added, if one names NO_RUN.
        """
        cdef kluis_table *table = self.opened()
        cdef const uint8_t[::1] view = records_of(records, KLUIS_TABLE_RECORD_BYTES)
        cdef size_t count = <size_t>view.shape[0] // KLUIS_TABLE_RECORD_BYTES
        if count == 0:
            return
        cdef const uint8_t *first = &view[0]
        cdef int status
        with nogil:
            status = kluis_table_add_pending(table, first, count)
        if status == -22:  # EINVAL
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
