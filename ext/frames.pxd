# Declarations of ext/c for Cython, of modules that know frames and trees; as core.pxd.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


# ---- sum ----

cdef extern from "sum.h" nogil:
    enum:
        KLUIS_SUM_BYTES
        KLUIS_SUM_ENTRY_BYTES

    void kluis_sum_each(const uint8_t *data, const uint8_t *ends, size_t count, uint8_t *sums)
    Py_ssize_t kluis_sum_wrong(const uint8_t *data, size_t size, const uint8_t *entries,
                               size_t count, const uint8_t *sums)


# ---- digests ----

cdef extern from "digests.h" nogil:
    enum:
        KLUIS_DIGESTS_ENTRY_BYTES, KLUIS_DIGESTS_CHUNK_BYTES, KLUIS_DIGESTS_ITEM_BYTES
        KLUIS_DIGESTS_FOLDER, KLUIS_DIGESTS_PART, KLUIS_DIGESTS_LAST, KLUIS_DIGESTS_LISTED
        KLUIS_DIGESTS_NEEDED, KLUIS_DIGESTS_WRONG, KLUIS_DIGESTS_SPLIT, KLUIS_DIGESTS_KIND

    ctypedef struct kluis_lists:
        pass

    ctypedef struct kluis_digests:
        size_t owners_at
        size_t files

    ctypedef struct kluis_told:
        uint8_t *items
        size_t item_room
        size_t item_count
        uint8_t *gathered
        size_t gathered_room
        size_t gathered_bytes

    int kluis_lists_new(kluis_lists **lists, size_t limit)
    void kluis_lists_free(kluis_lists *lists)
    size_t kluis_lists_chunks(const kluis_lists *lists)
    int kluis_lists_add(kluis_lists *lists, const uint8_t *frame, uint32_t kind,
                        const uint8_t *entries, size_t count)
    int kluis_digests_open(kluis_digests *walk, const uint8_t *data, size_t size,
                           const uint8_t *before, size_t before_bytes)
    int kluis_digests_run(kluis_digests *walk, const kluis_lists *lists, kluis_told *told)
    void kluis_digests_skip(kluis_digests *walk)


# ---- plan ----

cdef extern from "plan.h" nogil:
    enum:
        KLUIS_PLAN_RECORD_BYTES
        KLUIS_PLAN_EXTENT_BYTES
        KLUIS_PLAN_DIGEST_BYTES
        KLUIS_PLAN_SPAN_BYTES
        KLUIS_PLAN_OTHER_BYTES
        KLUIS_PLAN_CHUNK_BYTES
        KLUIS_PLAN_RIGHT
        KLUIS_PLAN_UNALIGNED
        KLUIS_PLAN_WRONG
        KLUIS_PLAN_DIFFERENT
        KLUIS_PLAN_SEVERAL

    struct kluis_plan_sizes:
        uint64_t extents
        uint64_t names
        uint64_t extras

    struct kluis_plan_owners:
        const uint8_t *pairs
        size_t count

    struct kluis_plan:
        const uint8_t *records
        size_t count
        const uint8_t *extents
        size_t extents_size
        const uint8_t *names
        size_t names_size
        kluis_plan_owners users
        kluis_plan_owners groups
        uint64_t size_limit
        uint32_t modes
        uint32_t flags
        uint8_t *files
        uint8_t *digests
        uint8_t *file_names
        uint8_t *spans
        uint8_t *others
        size_t file_count
        size_t file_names_size
        size_t span_count
        size_t other_count

    struct kluis_plan_frame:
        const uint8_t *starts
        size_t chunk_count

    struct kluis_plan_checked:
        const uint8_t *bounds
        const uint8_t *digests
        size_t count
        const uint8_t *chunks
        const uint8_t *right
        size_t chunk_count

    size_t kluis_plan_fitting(const uint8_t *records, size_t count, uint64_t limit,
                              kluis_plan_sizes *sizes)
    int kluis_plan_window(kluis_plan *plan)
    void kluis_plan_locate(const kluis_plan_frame *frame, const uint8_t *stretches, size_t step,
                           size_t count, uint8_t *bounds, uint8_t *marks)
    int kluis_plan_check(const kluis_plan_checked *check, uint8_t *states)
