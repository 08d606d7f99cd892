"""Digests of what trees name, computed again without an object an entry; see digests.h."""

from frames cimport (
    KLUIS_DIGESTS_CHUNK_BYTES,
    KLUIS_DIGESTS_ENTRY_BYTES,
    KLUIS_DIGESTS_FOLDER,
    KLUIS_DIGESTS_ITEM_BYTES,
    KLUIS_DIGESTS_KIND,
    KLUIS_DIGESTS_LAST,
    KLUIS_DIGESTS_LISTED,
    KLUIS_DIGESTS_NEEDED,
    KLUIS_DIGESTS_PART,
    KLUIS_DIGESTS_SPLIT,
    KLUIS_DIGESTS_WRONG,
    kluis_digests,
    kluis_digests_open,
    kluis_digests_run,
    kluis_digests_skip,
    kluis_lists,
    kluis_lists_add,
    kluis_lists_chunks,
    kluis_lists_free,
    kluis_lists_new,
    kluis_told,
)
from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EINVAL
from libc.stdint cimport uint8_t, uint32_t

FOLDER = KLUIS_DIGESTS_FOLDER
PART = KLUIS_DIGESTS_PART
LAST = KLUIS_DIGESTS_LAST
LISTED = KLUIS_DIGESTS_LISTED
NEEDED = KLUIS_DIGESTS_NEEDED
WRONG = KLUIS_DIGESTS_WRONG
SPLIT = KLUIS_DIGESTS_SPLIT
KIND = KLUIS_DIGESTS_KIND
ITEM_FORMAT = "<IIIIIIII"
FRAME_BYTES = 20
LEAST_ROOM = 2


cdef const uint8_t *start(bytes data):
    return <const uint8_t *>PyBytes_AS_STRING(data)


cdef class Digests:
    """Chunk lists of frames, and one tree at a time whose digests are computed from them.

    For one thread at a time. `limit` is the number of chunks beyond which lists are let go;
    `room` how many items, and how many chunks for digests, one `run` gives at most.
    """

    cdef kluis_lists *lists
    cdef kluis_digests walk
    cdef bytes data
    cdef bytearray items
    cdef bytearray gathered

    def __cinit__(self, size_t limit, size_t room=1 << 10):
        if room < LEAST_ROOM:
            raise ValueError("there is no room for what is told")
        if kluis_lists_new(&self.lists, limit) < 0:
            raise MemoryError
        self.items = bytearray(room * KLUIS_DIGESTS_ITEM_BYTES)
        self.gathered = bytearray(room * KLUIS_DIGESTS_CHUNK_BYTES)

    def __dealloc__(self):
        kluis_lists_free(self.lists)

    @property
    def chunks(self):
        """Of how many chunks lists are kept."""
        return kluis_lists_chunks(self.lists)

    @property
    def files(self):
        """How many files of the tree were looked at."""
        return self.walk.files

    def add(self, bytes frame not None, uint32_t kind, bytes entries not None):
        """Keeps the chunk list of a frame (run and u32 number, as extents begin).

        ValueError for one that no frame has.
        """
        if len(frame) != FRAME_BYTES or len(entries) % KLUIS_DIGESTS_ENTRY_BYTES:
            raise ValueError("no frame, or no chunk list")
        cdef size_t count = <size_t>len(entries) // KLUIS_DIGESTS_ENTRY_BYTES
        cdef int status = kluis_lists_add(self.lists, start(frame), kind, start(entries), count)
        if status == -EINVAL:
            raise ValueError("no chunk list of a frame")
        if status < 0:
            raise MemoryError

    def open(self, bytes data not None, bytes before not None=b""):
        """Where the owners begin in this tree, which is looked at from now on.

        ValueError unless it is one that kluis writes, owners apart, whose names come after
        `before`; the one before is looked at no longer.
        """
        cdef size_t size = <size_t>len(data), before_bytes = <size_t>len(before)
        cdef const uint8_t *tree = start(data)
        cdef const uint8_t *name = start(before)
        cdef kluis_digests walk
        cdef int status
        with nogil:
            status = kluis_digests_open(&walk, tree, size, name, before_bytes)
        if status < 0:
            self.data = None
            raise ValueError("not a tree that kluis writes")
        self.walk, self.data = walk, data
        return self.walk.owners_at

    def run(self):
        """(items, gathered, done): more of the tree, an item for whatever is to be told.

        An item is ITEM_FORMAT: what; offsets in the tree of the record, the name, its end, the
        extents, their end; and of a part of `gathered`, or of the extent that is needed.
        """
        if self.data is None:
            raise ValueError("no tree is open")
        cdef kluis_told told
        told.items, told.item_count = self.items, 0
        told.item_room = <size_t>len(self.items) // KLUIS_DIGESTS_ITEM_BYTES
        told.gathered, told.gathered_bytes = self.gathered, 0
        told.gathered_room = <size_t>len(self.gathered)
        cdef int done = kluis_digests_run(&self.walk, self.lists, &told)
        cdef Py_ssize_t size = <Py_ssize_t>(told.item_count * KLUIS_DIGESTS_ITEM_BYTES)
        return (
            told.items[:size],
            told.gathered[:<Py_ssize_t>told.gathered_bytes],
            done == 1,
        )

    def skip(self):
        """Leaves the entry whose chunk list was asked for."""
        if self.data is None:
            raise ValueError("no tree is open")
        kluis_digests_skip(&self.walk)
