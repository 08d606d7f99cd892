"""Writing files back: stretches of a buffer to many files, many small files in one call."""

from os import strerror

from core cimport (
    KLUIS_PART_SIZE,
    KLUIS_SMALL_CHOWN,
    KLUIS_SMALL_HIDDEN,
    KLUIS_SMALL_RESULT_SIZE,
    KLUIS_SMALL_SIZE,
    KLUIS_SPARSE_BLOCK_BYTES,
    kluis_exchange,
    kluis_finish,
    kluis_get_flags,
    kluis_make_link,
    kluis_open_beneath,
    kluis_parts_check,
    kluis_place,
    kluis_rename_noreplace,
    kluis_scatter,
    kluis_set_flags,
    kluis_set_times_at,
    kluis_small_batch,
    kluis_small_check,
    kluis_write_at,
    kluis_write_small,
)
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

PART_SIZE = KLUIS_PART_SIZE
PART_FORMAT = "=iIQII"
SMALL_SIZE = KLUIS_SMALL_SIZE
SMALL_FORMAT = "=HHIIIqIIII"
SMALL_RESULT_SIZE = KLUIS_SMALL_RESULT_SIZE
SMALL_RESULT_FORMAT = "=ii"
SMALL_CHOWN = KLUIS_SMALL_CHOWN
SMALL_HIDDEN = KLUIS_SMALL_HIDDEN
SPARSE_BLOCK_BYTES = KLUIS_SPARSE_BLOCK_BYTES
STEPS = ("", "name", "open", "write", "owner", "mode", "times")


cdef int check(int failed) except -1:
    if failed < 0:
        raise OSError(-failed, strerror(-failed))
    return 0


cdef const char *c_name(bytes name) except NULL:
    if b"\0" in name:
        raise ValueError("a file name holds no zero byte")
    return PyBytes_AS_STRING(name)


cdef size_t records_in(Py_buffer *view, size_t size) except? 0:
    if <size_t>view.len % size:
        raise ValueError(f"{view.len} bytes are no whole records of {size}")
    return <size_t>view.len // size


def write_at(int fd, buffer not None, uint64_t offset):
    """Returns once all bytes of the buffer are written from `offset` on; OSError otherwise."""
    cdef Py_buffer view
    cdef int failed
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            failed = kluis_write_at(fd, <const uint8_t *>view.buf, <size_t>view.len, offset)
    finally:
        PyBuffer_Release(&view)
    check(failed)


cdef list scatter_views(Py_buffer *data, Py_buffer *parts, bint sparse):
    cdef size_t count = records_in(parts, KLUIS_PART_SIZE), failures, i
    cdef const uint8_t *from_ = <const uint8_t *>data.buf
    cdef const uint8_t *to = <const uint8_t *>parts.buf
    if kluis_parts_check(to, count, <size_t>data.len):
        raise ValueError(f"a part lies outside the {data.len} bytes or beyond what a file holds")
    cdef int32_t *errors = <int32_t *>calloc(count + 1, sizeof(int32_t))
    if errors is NULL:
        raise MemoryError
    try:
        with nogil:
            failures = kluis_scatter(from_, to, count, sparse, errors)
        return [(i, errors[i]) for i in range(count) if errors[i]] if failures else []
    finally:
        free(errors)


def scatter(buffer not None, parts not None, bint sparse):
    """Returns the failures as (number of the part, errno); every other part is written.

    Each part is PART_FORMAT: fd, 0, offset in the file, start in the buffer, length. ValueError,
    and nothing written, if one lies outside the buffer. `sparse` leaves out whole blocks of zeros
    of SPARSE_BLOCK_BYTES: for new files, whose size the caller sets.
    """
    cdef Py_buffer data, places
    memset(&data, 0, sizeof(data))
    memset(&places, 0, sizeof(places))
    try:
        PyObject_GetBuffer(buffer, &data, PyBUF_SIMPLE)
        PyObject_GetBuffer(parts, &places, PyBUF_SIMPLE)
        return scatter_views(&data, &places, sparse)
    finally:
        PyBuffer_Release(&places)
        PyBuffer_Release(&data)


def open_beneath(int dirfd, bytes path not None, int flags, uint32_t mode):
    """Returns a descriptor of `path`, which stays beneath `dirfd` and passes through no link.

    Close-on-exec. OSError: EXDEV for a path that leaves, ELOOP for a link; ENOSYS (EPERM under
    an old container filter) where the kernel cannot promise it, for the caller to find another way.
    """
    cdef const char *name = c_name(path)
    cdef int fd
    with nogil:
        fd = kluis_open_beneath(dirfd, name, flags, mode)
    check(fd)
    return fd


def rename_noreplace(int dirfd1, bytes name1 not None, int dirfd2, bytes name2 not None):
    """Returns once name1 is called name2; FileExistsError if there is one already.

    OSError EINVAL where the file system cannot promise that, or for more than one component.
    """
    cdef kluis_place source, target
    cdef int failed
    source.fd, source.name = dirfd1, c_name(name1)
    target.fd, target.name = dirfd2, c_name(name2)
    with nogil:
        failed = kluis_rename_noreplace(source, target)
    check(failed)


def exchange(int dirfd1, bytes name1 not None, int dirfd2, bytes name2 not None):
    """Returns once the two names are swapped, in one step; OSError as rename_noreplace."""
    cdef kluis_place one, other
    cdef int failed
    one.fd, one.name = dirfd1, c_name(name1)
    other.fd, other.name = dirfd2, c_name(name2)
    with nogil:
        failed = kluis_exchange(one, other)
    check(failed)


def set_times_at(int dirfd, bytes name not None, int64_t mtime_s, uint32_t mtime_ns):
    """Returns once the modification time is set, of a link itself; the access time stays.

    An empty name means `dirfd` itself.
    """
    cdef const char *to = c_name(name)
    cdef int failed
    with nogil:
        failed = kluis_set_times_at(dirfd, to, mtime_s, mtime_ns)
    check(failed)


def get_flags(int fd):
    """Returns the inode flags of chattr(1); OSError ENOTTY or EOPNOTSUPP where there are none."""
    cdef uint32_t flags = 0
    cdef int failed
    with nogil:
        failed = kluis_get_flags(fd, &flags)
    check(failed)
    return flags


def set_flags(int fd, uint32_t flags):
    """Returns once the inode flags are set, all of them; OSError if one is not allowed here."""
    cdef int failed
    with nogil:
        failed = kluis_set_flags(fd, flags)
    check(failed)


cdef const uint8_t *one_small(bytes entry) except NULL:
    if len(entry) != KLUIS_SMALL_SIZE:
        raise ValueError(f"{len(entry)} bytes are no entry")
    return <const uint8_t *>PyBytes_AS_STRING(entry)


def finish(int fd, bytes entry not None):
    """Returns the mode of a file or folder once it has the owner, mode and time of SMALL_FORMAT.

    OSError if one cannot be set; those after it are set nevertheless.
    """
    cdef const uint8_t *wanted = one_small(entry)
    cdef uint32_t mode = 0
    cdef int failed
    with nogil:
        failed = kluis_finish(fd, wanted, &mode)
    check(failed)
    return mode


def make_link(int dirfd, bytes name not None, bytes points_to not None, bytes entry not None):
    """Whether a symlink that was made has the owner and time of SMALL_FORMAT; else it has not all.

    OSError if it could not be made.
    """
    cdef const uint8_t *wanted = one_small(entry)
    cdef const char *to = c_name(points_to)
    cdef kluis_place place
    cdef int failed, made
    place.fd, place.name = dirfd, c_name(name)
    with nogil:
        failed = kluis_make_link(place, to, wanted, &made)
    if not made:
        check(failed)
    return not failed


cdef bytes write_views(int dirfd, Py_buffer *names, Py_buffer *entries, Py_buffer *data):
    cdef kluis_small_batch batch
    batch.dirfd = dirfd
    batch.names, batch.names_size = <const uint8_t *>names.buf, <size_t>names.len
    batch.entries = <const uint8_t *>entries.buf
    batch.count = records_in(entries, KLUIS_SMALL_SIZE)
    batch.data, batch.data_size = <const uint8_t *>data.buf, <size_t>data.len
    if kluis_small_check(&batch):
        raise ValueError("an entry lies outside the names or the data")
    results = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(batch.count * KLUIS_SMALL_RESULT_SIZE))
    cdef uint8_t *to = <uint8_t *>PyBytes_AS_STRING(results)
    with nogil:
        kluis_write_small(&batch, to)
    return results


def write_small(int dirfd, names not None, entries not None, data not None):
    """Returns SMALL_RESULT_FORMAT for each entry: errno or 0, and which of STEPS failed first.

    Creates the files, each new, from SMALL_FORMAT: name length, 0, mode, start in `data`, length,
    mtime, its nanoseconds, uid, gid, flags (SMALL_CHOWN, and SMALL_HIDDEN where nobody else reaches
    the folder). Names lie back to back. A file that could not be written whole is removed again; a
    failure of owner, mode or times leaves it there.
    """
    cdef Py_buffer view_names, view_entries, view_data
    memset(&view_names, 0, sizeof(view_names))
    memset(&view_entries, 0, sizeof(view_entries))
    memset(&view_data, 0, sizeof(view_data))
    try:
        PyObject_GetBuffer(names, &view_names, PyBUF_SIMPLE)
        PyObject_GetBuffer(entries, &view_entries, PyBUF_SIMPLE)
        PyObject_GetBuffer(data, &view_data, PyBUF_SIMPLE)
        return write_views(dirfd, &view_names, &view_entries, &view_data)
    finally:
        PyBuffer_Release(&view_data)
        PyBuffer_Release(&view_entries)
        PyBuffer_Release(&view_names)
