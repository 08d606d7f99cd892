"""XOR of byte buffers, for parity shards."""

from core cimport kluis_xor_find, kluis_xor_kernel, kluis_xor_kernel_name
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t


def kernels():
    """Names of the kernels that work on this machine, fastest first; all give the same bytes."""
    names = []
    cdef const char *name = kluis_xor_kernel_name(0)
    while name != NULL:
        names.append(name.decode("ascii"))
        name = kluis_xor_kernel_name(<size_t>len(names))
    return names


def xor_into(accumulator not None, data not None, Py_ssize_t offset=0, str kernel not None="auto"):
    """Returns nothing; afterwards accumulator[offset + i] has data[i] XORed in, for every i.

    ValueError if the data does not fit, shares memory with the place it would change, or if a
    kernel that was asked for cannot run here.
    """
    cdef bytes name = kernel.encode()
    cdef kluis_xor_kernel *run = kluis_xor_find(name)
    if run == NULL:
        raise ValueError(f"no xor kernel {kernel!r} on this machine; it has {kernels()}")
    cdef Py_buffer to, data_view
    PyObject_GetBuffer(accumulator, &to, PyBUF_WRITABLE)
    try:
        PyObject_GetBuffer(data, &data_view, PyBUF_SIMPLE)
        try:
            xor_views(run, &to, &data_view, offset)
        finally:
            PyBuffer_Release(&data_view)
    finally:
        PyBuffer_Release(&to)


cdef int xor_views(kluis_xor_kernel *run, Py_buffer *to, Py_buffer *data,
                   Py_ssize_t offset) except -1:
    cdef size_t size = <size_t>data.len
    if offset < 0 or data.len > to.len - offset:
        raise ValueError(f"{data.len} bytes do not fit at {offset} into {to.len}")
    cdef uint8_t *place = <uint8_t *>to.buf + offset
    cdef const uint8_t *start = <const uint8_t *>data.buf
    if place < start + size and start < place + size:
        raise ValueError("the data lies in the memory that it would change")
    with nogil:
        run(place, start, size)
    return 0
