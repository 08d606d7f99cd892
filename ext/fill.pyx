"""New chunks of one buffer go into frames; ext/c/fill.h says how."""

from core cimport (
    KLUIS_FILL_DONE,
    KLUIS_FILL_ENTRY_BYTES,
    KLUIS_FILL_FRAME,
    KLUIS_FILL_GROUP,
    KLUIS_FILL_HOLE,
    KLUIS_FILL_NO_MEMORY,
    KLUIS_FILL_NO_ROOM,
    KLUIS_FILL_PLACE_BYTES,
    KLUIS_FILL_UNKNOWN,
    kluis_fill,
    kluis_fill_check,
    kluis_fill_finish,
    kluis_fill_fresh,
    kluis_fill_run,
    kluis_fill_start,
    kluis_frame,
)
from frames cimport KLUIS_SUM_BYTES
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

DONE = KLUIS_FILL_DONE
GROUP = KLUIS_FILL_GROUP
FRAME = KLUIS_FILL_FRAME
HOLE = <uint32_t>KLUIS_FILL_HOLE
UNKNOWN = <uint32_t>KLUIS_FILL_UNKNOWN
PLACE_FORMAT = "<16sIIII"


cdef int check_frame(kluis_frame *frame, Py_buffer *data) except -1:
    cdef uint8_t *start = <uint8_t *>data.buf
    if frame.size > frame.capacity:
        raise ValueError("the frame is larger than its buffer")
    if frame.buffer < start + data.len and start < frame.buffer + frame.capacity:
        raise ValueError("the frame's buffer lies in the data")
    return 0


cdef class Chunks:
    """What is known of the new chunks of one frame: its chunk list, and the sum of each."""

    cdef readonly bytearray entries
    cdef readonly bytearray sums

    def __cinit__(self):
        self.entries, self.sums = bytearray(), bytearray()

    cdef int grow(self, kluis_frame *frame, Py_ssize_t count) except -1:
        """Room for so many more; the frame's pointers are to it."""
        cdef Py_ssize_t lists = PyByteArray_GET_SIZE(self.entries)
        cdef Py_ssize_t sums = PyByteArray_GET_SIZE(self.sums)
        PyByteArray_Resize(self.entries, lists + count * KLUIS_FILL_ENTRY_BYTES)
        PyByteArray_Resize(self.sums, sums + count * KLUIS_SUM_BYTES)
        frame.entries = <uint8_t *>PyByteArray_AS_STRING(self.entries) + lists
        frame.sums = <uint8_t *>PyByteArray_AS_STRING(self.sums) + sums
        return 0

    cdef int shrink(self, Py_ssize_t count) except -1:
        """So many less: those at the end."""
        cdef Py_ssize_t lists = PyByteArray_GET_SIZE(self.entries)
        cdef Py_ssize_t sums = PyByteArray_GET_SIZE(self.sums)
        PyByteArray_Resize(self.entries, lists - count * KLUIS_FILL_ENTRY_BYTES)
        PyByteArray_Resize(self.sums, sums - count * KLUIS_SUM_BYTES)
        return 0


cdef class Fill:
    """The chunks of one buffer: DONE, GROUP or FRAME is what `into` wants before it goes on."""

    cdef kluis_fill fill
    cdef Py_buffer data
    cdef bytes ends
    cdef bytes hashes
    cdef bytes found
    cdef bytes sums
    cdef bytes zeros
    cdef readonly bytes places
    cdef readonly int wanted

    def __cinit__(self, data not None, ends not None, bytes hashes not None, tuple known not None,
                  bytes zeros not None):
        """`ends` are native u32, `known` is what `Table.lookup` says of the `hashes`, and the sums.

        ValueError if they do not fit together.
        """
        cdef bytes found, sums
        found, sums = known
        PyObject_GetBuffer(data, &self.data, PyBUF_SIMPLE)
        # A copy: what was checked here has to hold in every call of `into`.
        self.ends = memoryview(ends).tobytes()
        cdef Py_ssize_t count = len(self.ends) // 4
        if len(self.ends) % 4 or len(hashes) != 16 * count or len(found) != 16 * count \
                or len(sums) != KLUIS_SUM_BYTES * count:
            raise ValueError("ends, hashes and places are of as many chunks")
        if len(zeros) != 16:
            raise ValueError("the hash of the zeros has 16 bytes")
        self.hashes, self.found, self.sums, self.zeros = hashes, found, sums, zeros
        self.places = PyBytes_FromStringAndSize(NULL, count * KLUIS_FILL_PLACE_BYTES)
        self.fill.data = <const uint8_t *>self.data.buf
        self.fill.ends = <const uint8_t *>PyBytes_AS_STRING(self.ends)
        self.fill.hashes = <const uint8_t *>PyBytes_AS_STRING(hashes)
        self.fill.found = <const uint8_t *>PyBytes_AS_STRING(found)
        self.fill.sums = <const uint8_t *>PyBytes_AS_STRING(sums)
        self.fill.zeros = <const uint8_t *>PyBytes_AS_STRING(zeros)
        self.fill.places = <uint8_t *>PyBytes_AS_STRING(self.places)
        self.fill.count = <size_t>count
        if kluis_fill_check(&self.fill, <size_t>self.data.len):
            raise ValueError("the ends of chunks do not ascend, or leave the data")

    def __dealloc__(self):
        kluis_fill_finish(&self.fill)
        PyBuffer_Release(&self.data)

    def start(self):
        """Where the next chunk begins in the data."""
        return kluis_fill_start(&self.fill)

    def into(self, buffer not None, size_t size, size_t target, tuple number not None,
             Chunks chunks not None, size_t group_end):
        """The frame's new size: new chunks are copied to the buffer, from `size` on.

        `number` is (run as the table counts runs, frame). What is known of them grows in `chunks`.
        `wanted` is what stopped it. ValueError if a chunk does not fit into the buffer, or if that
        lies in the data. One thread at a time.
        """
        cdef kluis_frame frame
        cdef Py_buffer view
        frame.run, frame.number = number
        frame.target = target
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        cdef Py_ssize_t left = <Py_ssize_t>(self.fill.count - self.fill.next)
        try:
            frame.buffer, frame.capacity = <uint8_t *>view.buf, <size_t>view.len
            frame.size = size
            check_frame(&frame, &self.data)
            chunks.grow(&frame, left)
            with nogil:
                self.wanted = kluis_fill_run(&self.fill, &frame, group_end)
            chunks.shrink(left - <Py_ssize_t>frame.entry_count)
        finally:
            PyBuffer_Release(&view)
        if self.wanted == KLUIS_FILL_NO_MEMORY:
            raise MemoryError
        if self.wanted == KLUIS_FILL_NO_ROOM:
            raise ValueError("a chunk does not fit into the buffer of its frame")
        return frame.size

    def fresh(self):
        """PLACE_FORMAT of each chunk that was new, once, back to back: records for the table."""
        cdef bytes records = PyBytes_FromStringAndSize(NULL, len(self.places))
        cdef size_t count = kluis_fill_fresh(
            &self.fill, <uint8_t *>PyBytes_AS_STRING(records))
        return records[:count * KLUIS_FILL_PLACE_BYTES]
