"""XOR of byte buffers, for parity shards."""

from libc.stdint cimport uint8_t

from core cimport kluis_xor_find, kluis_xor_kernel, kluis_xor_kernel_name


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
    cdef uint8_t[::1] target = memoryview(accumulator).cast("B")
    cdef const uint8_t[::1] source = memoryview(data).cast("B")
    cdef size_t size = <size_t>source.shape[0]
    if offset < 0 or source.shape[0] > target.shape[0] - offset:
        raise ValueError(f"{size} bytes do not fit at {offset} into {target.shape[0]}")
    if size == 0:
        return
    cdef uint8_t *to = &target[0] + offset
    cdef const uint8_t *start = &source[0]
    if to < start + size and start < to + size:
        raise ValueError("the data lies in the memory that it would change")
    with nogil:
        run(to, start, size)
