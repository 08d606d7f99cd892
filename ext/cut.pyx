"""Content-defined cut points; ext/c/cut.h holds their frozen definition."""

from core cimport (
    KLUIS_CUT_BAD_SIZES,
    KLUIS_CUT_MAXIMUM_BYTES,
    KLUIS_CUT_NO_KERNEL,
    KLUIS_CUT_TABLE_BYTES,
    kluis_cut,
    kluis_cut_init,
    kluis_cut_kernel_name,
    kluis_cutter,
)
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    ENDS_PER_CALL = 256  # 2 KiB of stack


def kernels():
    """Names of the kernels that work on this machine, fastest first; all cut alike."""
    names = []
    cdef const char *name = kluis_cut_kernel_name(0)
    while name != NULL:
        names.append(name.decode("ascii"))
        name = kluis_cut_kernel_name(<size_t>len(names))
    return names


cdef class Cutter:
    """Finds chunk ends for one secret table and one set of sizes; holds no state between calls.

    Any number of threads may use one Cutter at once.
    """

    cdef kluis_cutter cutter
    cdef readonly size_t minimum
    cdef readonly size_t average
    cdef readonly size_t maximum

    def __cinit__(self, table not None, size_t minimum, size_t average, size_t maximum,
                  str kernel not None="auto"):
        """ValueError for sizes or a table that are not allowed, or a kernel that cannot run."""
        cdef Py_buffer numbers
        cdef bytes name = kernel.encode()
        cdef int status
        PyObject_GetBuffer(table, &numbers, PyBUF_SIMPLE)
        try:
            if numbers.len != KLUIS_CUT_TABLE_BYTES:
                raise ValueError(f"a cut table has 2048 bytes, this one {numbers.len}")
            status = kluis_cut_init(
                &self.cutter, <const uint8_t *>numbers.buf, minimum, average, maximum, name)
        finally:
            PyBuffer_Release(&numbers)
        if status == KLUIS_CUT_BAD_SIZES:
            raise ValueError(
                f"chunk sizes must be 64 <= minimum <= average <= maximum <= 2**30 with a power of "
                f"two as average, not {minimum}, {average}, {maximum}"
            )
        if status == KLUIS_CUT_NO_KERNEL:
            raise ValueError(f"no cut kernel {kernel!r} on this machine; it has {kernels()}")
        self.minimum = minimum
        self.average = average
        self.maximum = maximum

    def cut(self, data not None, bint final):
        """Ends of all chunks that are decided within `data`, which starts where a chunk starts.

        Ends are counted from the start of `data`. Bytes after the last one belong to a chunk that
        is not decided yet: present them again, with what follows them. With `final` nothing
        follows, and the last end is the length of `data`. Scanning an undecided tail again costs
        little if buffers are several times the maximum.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.cut_view(&view, final)
        finally:
            PyBuffer_Release(&view)

    cdef list cut_view(self, Py_buffer *view, bint final):
        cdef uint64_t ends[ENDS_PER_CALL]
        cdef const uint8_t *data = <const uint8_t *>view.buf
        cdef size_t size = <size_t>view.len
        cdef size_t start = 0
        cdef size_t count = ENDS_PER_CALL
        cdef size_t n
        cdef list found = []
        while count == ENDS_PER_CALL and start < size:
            with nogil:
                count = kluis_cut(
                    &self.cutter, data + start, size - start, final, ends, ENDS_PER_CALL)
            for n in range(count):
                found.append(start + ends[n])
            if count:
                start += ends[count - 1]
        return found
