"""What a restore creates of a tree, many small files at a time; ext/c/plan.h says how."""

from errno import EINVAL

from core cimport KLUIS_SMALL_SIZE
from frames cimport (
    KLUIS_PLAN_CHUNK_BYTES,
    KLUIS_PLAN_DIFFERENT,
    KLUIS_PLAN_DIGEST_BYTES,
    KLUIS_PLAN_EXTENT_BYTES,
    KLUIS_PLAN_OTHER_BYTES,
    KLUIS_PLAN_RECORD_BYTES,
    KLUIS_PLAN_RIGHT,
    KLUIS_PLAN_SEVERAL,
    KLUIS_PLAN_SPAN_BYTES,
    KLUIS_PLAN_UNALIGNED,
    KLUIS_PLAN_WRONG,
    kluis_plan,
    kluis_plan_check,
    kluis_plan_checked,
    kluis_plan_fitting,
    kluis_plan_frame,
    kluis_plan_locate,
    kluis_plan_sizes,
    kluis_plan_window,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

RECORD_BYTES = KLUIS_PLAN_RECORD_BYTES
EXTENT_BYTES = KLUIS_PLAN_EXTENT_BYTES
DIGEST_BYTES = KLUIS_PLAN_DIGEST_BYTES
CHUNK_BYTES = KLUIS_PLAN_CHUNK_BYTES
SPAN_FORMAT = "=16sIIIII4xQ"
OTHER_FORMAT = "=IIII"
BOUND_FORMAT = "=II"
RIGHT = KLUIS_PLAN_RIGHT
UNALIGNED = KLUIS_PLAN_UNALIGNED
WRONG = KLUIS_PLAN_WRONG
DIFFERENT = KLUIS_PLAN_DIFFERENT
SEVERAL = KLUIS_PLAN_SEVERAL
cdef enum:
    BOUND_BYTES = 8


cdef const uint8_t *start(bytes data):
    return <const uint8_t *>PyBytes_AS_STRING(data)


cdef uint8_t *room(bytes data):
    return <uint8_t *>PyBytes_AS_STRING(data)


cdef bytes made(size_t size):
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)


cdef size_t whole(bytes data, size_t item_bytes) except? 0:
    """How many items the data has; ValueError if that is no whole number."""
    if <size_t>len(data) % item_bytes:
        raise ValueError(f"{len(data)} bytes are no whole items of {item_bytes}")
    return <size_t>len(data) // item_bytes


def fitting(bytes records not None, uint64_t limit):
    """(count, bytes of extents, of names, of extras) of the records that take up to `limit` bytes.

    All that is theirs is counted; of the first one anything, unless it is more than any that kluis
    writes: then none.
    """
    cdef kluis_plan_sizes sizes
    cdef size_t count = kluis_plan_fitting(
        start(records), whole(records, KLUIS_PLAN_RECORD_BYTES), limit, &sizes)
    return count, sizes.extents, sizes.names, sizes.extras


cdef object window_of(kluis_plan *plan):
    """What `window` returns, once all that goes in is set."""
    cdef int failed
    cdef bytes files = made(plan.count * KLUIS_SMALL_SIZE)
    cdef bytes digests = made(plan.count * KLUIS_PLAN_DIGEST_BYTES)
    cdef bytes names = made(plan.names_size)
    cdef bytes spans = made(plan.count * KLUIS_PLAN_SPAN_BYTES)
    cdef bytes others = made(plan.count * KLUIS_PLAN_OTHER_BYTES)
    plan.files, plan.digests, plan.file_names = room(files), room(digests), room(names)
    plan.spans, plan.others = room(spans), room(others)
    with nogil:
        failed = kluis_plan_window(plan)
    if failed == -EINVAL:
        return None
    if failed:
        raise MemoryError
    return (
        files[:plan.file_count * KLUIS_SMALL_SIZE],
        digests[:plan.file_count * KLUIS_PLAN_DIGEST_BYTES],
        names[:plan.file_names_size],
        spans[:plan.span_count * KLUIS_PLAN_SPAN_BYTES],
        others[:plan.other_count * KLUIS_PLAN_OTHER_BYTES],
    )


def window(tuple parts not None, tuple owners not None, tuple rules not None):
    """(files, digests, names, spans, others) of a stretch of a tree; None if it is not right.

    `parts` are its records, extents and names; `owners` users and groups as pairs of u32: here and
    in the snapshot, ascending, where they differ; `rules` the largest size of a small file, the
    mode bits that it may have, and the flags it gets. Files are SMALL_FORMAT of `scatter`, those of
    a frame side by side: a span is SPAN_FORMAT: run, frame, first file, count, start and size in
    `names`, bytes of content. Others are OTHER_FORMAT: number, first extent, start of name and of
    extras.
    """
    cdef kluis_plan plan
    cdef bytes records, extents, names, users, groups
    records, extents, names = parts
    users, groups = owners
    plan.size_limit, plan.modes, plan.flags = rules
    plan.records, plan.count = start(records), whole(records, KLUIS_PLAN_RECORD_BYTES)
    plan.extents, plan.extents_size = start(extents), <size_t>len(extents)
    plan.names, plan.names_size = start(names), <size_t>len(names)
    plan.users.pairs, plan.users.count = start(users), whole(users, BOUND_BYTES)
    plan.groups.pairs, plan.groups.count = start(groups), whole(groups, BOUND_BYTES)
    return window_of(&plan)


def locate(bytes starts not None, bytes stretches not None, uint32_t step, uint32_t at):
    """(bounds, marks): of which chunks the stretches of a frame are made, and which are in one.

    `starts` are u32: of each chunk, ascending, and the frame's end. Stretches are u32 start and
    length, found `at` in each `step` bytes. Bounds are BOUND_FORMAT: the first chunk and the one
    after the last, zeros if it does not begin and end with chunks. Marks are a byte for each chunk.
    """
    cdef kluis_plan_frame frame
    cdef size_t starts_count = whole(starts, 4)
    if not starts_count or <size_t>at + BOUND_BYTES > step:
        raise ValueError("a frame has an end, and stretches lie inside of their items")
    cdef size_t count = whole(stretches, step)
    frame.starts, frame.chunk_count = start(starts), starts_count - 1
    cdef bytes bounds = made(count * BOUND_BYTES), marks = made(frame.chunk_count)
    cdef const uint8_t *given = start(stretches) + at
    cdef uint8_t *to = room(bounds)
    cdef uint8_t *marked = room(marks)
    with nogil:
        kluis_plan_locate(&frame, given, step, count, to, marked)
    return bounds, marks


def check(bytes bounds not None, bytes digests not None, bytes chunks not None,
          bytes right not None):
    """A state for each file: RIGHT, UNALIGNED, WRONG, DIFFERENT, or SEVERAL chunks.

    `bounds` as `locate` gave them, `chunks` hash16 and u64 length, `right` a byte for each: 1 if
    its bytes have its hash. Of SEVERAL the digest is still to be compared. ValueError if they do
    not fit together.
    """
    cdef kluis_plan_checked checked
    cdef int failed
    checked.bounds, checked.count = start(bounds), whole(bounds, BOUND_BYTES)
    checked.digests = start(digests)
    checked.chunks, checked.chunk_count = start(chunks), whole(chunks, KLUIS_PLAN_CHUNK_BYTES)
    checked.right = start(right)
    if checked.count != whole(digests, KLUIS_PLAN_DIGEST_BYTES):
        raise ValueError("there is a digest for each file")
    if checked.chunk_count != <size_t>len(right):
        raise ValueError("there is a byte for each chunk")
    cdef bytes states = made(checked.count)
    cdef uint8_t *to = room(states)
    with nogil:
        failed = kluis_plan_check(&checked, to)
    if failed:
        raise ValueError("a bound lies outside of the chunks")
    return states
