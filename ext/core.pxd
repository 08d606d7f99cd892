# Declarations of ext/c for Cython, one section per C module; the headers are the contract.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


# ---- xor ----

cdef extern from "xor.h" nogil:
    ctypedef void kluis_xor_kernel(uint8_t *accumulator, const uint8_t *data, size_t size)

    kluis_xor_kernel *kluis_xor_find(const char *name)
    const char *kluis_xor_kernel_name(size_t n)


# ---- cut ----

cdef extern from "cut.h" nogil:
    enum:
        KLUIS_CUT_OK
        KLUIS_CUT_BAD_SIZES
        KLUIS_CUT_NO_KERNEL
        KLUIS_CUT_TABLE_BYTES
        KLUIS_CUT_MAXIMUM_BYTES

    ctypedef struct kluis_cutter:
        pass

    int kluis_cut_init(kluis_cutter *cutter, const uint8_t *table, size_t minimum, size_t average,
                       size_t maximum, const char *kernel)
    const char *kluis_cut_kernel_name(size_t n)
    size_t kluis_cut(const kluis_cutter *cutter, const uint8_t *data, size_t size, bint final,
                     uint64_t *ends, size_t capacity)


# ---- table ----

cdef extern from "table.h" nogil:
    enum:
        KLUIS_TABLE_HASH_BYTES
        KLUIS_TABLE_PLACE_BYTES
        KLUIS_TABLE_RECORD_BYTES

    ctypedef struct kluis_table:
        pass

    int kluis_table_open(kluis_table **table, const char *folder, size_t memory_entries)
    void kluis_table_close(kluis_table *table)
    int kluis_table_set_usable(kluis_table *table, uint32_t run, const uint8_t *bitmap,
                               size_t bytes)
    void kluis_table_lookup(kluis_table *table, const uint8_t *hashes, size_t count,
                            uint8_t *places)
    int kluis_table_add_pending(kluis_table *table, const uint8_t *records, size_t count)
    int kluis_table_settle(kluis_table *table, uint32_t run, uint32_t frame_limit)
    void kluis_table_discard_pending(kluis_table *table)
    int kluis_table_flush(kluis_table *table)
    int kluis_table_clear(kluis_table *table)
    uint64_t kluis_table_count(kluis_table *table)


# ---- scan ----

cdef extern from "scan.h" nogil:
    enum:
        KLUIS_ENTRY_SIZE

    struct kluis_listed:
        uint64_t offset
        uint32_t length
        int error

    struct kluis_listing:
        kluis_listed *entries
        size_t count
        char *names
        size_t bytes
        int error

    struct kluis_side:
        const uint8_t *records
        size_t count
        const uint8_t *names

    struct kluis_instant:
        int64_t s
        uint32_t ns

    int kluis_listing_read(int fd, kluis_listing *listing)
    int kluis_listing_stat(int fd, kluis_listing *listing, uint8_t *records, uint8_t *names,
                           size_t *kept, size_t *kept_bytes)
    void kluis_listing_free(kluis_listing *listing)
    int kluis_stat_entry(int fd, const char *name, size_t length, uint8_t *record)
    int kluis_records_check(const uint8_t *records, size_t count, size_t names_size)
    void kluis_select_size(const uint8_t *records, size_t count, const uint8_t *keep, size_t *kept,
                           size_t *kept_bytes)
    void kluis_select(const uint8_t *records, size_t count, const uint8_t *names,
                      const uint8_t *keep, uint8_t *kept_records, uint8_t *kept_names)
    void kluis_diff_entries(const kluis_side *old, const kluis_side *new, kluis_instant racy,
                            uint32_t *matches)
    void kluis_hide_device(const uint8_t *records, size_t count, uint64_t device, uint8_t *hidden)
    int kluis_any_racy(const uint8_t *records, size_t count, kluis_instant racy)


# ---- read ----

cdef extern from "read.h" nogil:
    enum:
        KLUIS_READ_RESULT_SIZE
        KLUIS_READ_LIMIT_MAX
        KLUIS_READ_CHANGED
        KLUIS_READ_GREW
        KLUIS_READ_XATTRS

    struct kluis_reader:
        int fd
        const uint8_t *records
        size_t count
        const uint8_t *names
        size_t names_size
        const uint8_t *wanted
        size_t wanted_count
        uint32_t limit
        uint8_t *results
        size_t used

    struct kluis_range:
        uint64_t start
        uint64_t end

    int kluis_reader_prepare(kluis_reader *reader, size_t *expected)
    int kluis_reader_run(kluis_reader *reader, uint8_t *data, size_t capacity)
    void kluis_reader_finish(kluis_reader *reader)
    int64_t kluis_read_at(int fd, uint8_t *data, size_t size, uint64_t offset)
    int kluis_data_ranges(int fd, uint64_t size, kluis_range **ranges, size_t *count)


# ---- scatter ----

cdef extern from "scatter.h" nogil:
    enum:
        KLUIS_PART_SIZE
        KLUIS_SMALL_SIZE
        KLUIS_SMALL_RESULT_SIZE
        KLUIS_SPARSE_BLOCK_BYTES
        KLUIS_SMALL_CHOWN
        KLUIS_SMALL_HIDDEN

    struct kluis_place:
        int fd
        const char *name

    struct kluis_small_batch:
        int dirfd
        const uint8_t *names
        size_t names_size
        const uint8_t *entries
        size_t count
        const uint8_t *data
        size_t data_size

    int kluis_write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
    int kluis_parts_check(const uint8_t *parts, size_t count, size_t size)
    size_t kluis_scatter(const uint8_t *data, const uint8_t *parts, size_t count, int sparse,
                         int32_t *errors)
    int kluis_open_beneath(int dirfd, const char *path, int flags, uint32_t mode)
    int kluis_rename_noreplace(kluis_place source, kluis_place target)
    int kluis_exchange(kluis_place one, kluis_place other)
    int kluis_set_times_at(int dirfd, const char *name, int64_t mtime_s, uint32_t mtime_ns)
    int kluis_get_flags(int fd, uint32_t *flags)
    int kluis_set_flags(int fd, uint32_t flags)
    int kluis_finish(int fd, const uint8_t *entry, uint32_t *mode)
    int kluis_make_link(kluis_place to, const char *points_to, const uint8_t *entry, int *made)
    int kluis_small_check(const kluis_small_batch *batch)
    void kluis_write_small(const kluis_small_batch *batch, uint8_t *results)


# ---- fill ----

cdef extern from "fill.h" nogil:
    enum:
        KLUIS_FILL_UNKNOWN
        KLUIS_FILL_HOLE
        KLUIS_FILL_PLACE_BYTES
        KLUIS_FILL_ENTRY_BYTES
        KLUIS_FILL_DONE
        KLUIS_FILL_GROUP
        KLUIS_FILL_FRAME
        KLUIS_FILL_NO_ROOM
        KLUIS_FILL_NO_MEMORY

    struct kluis_frame:
        uint8_t *buffer
        size_t capacity
        size_t size
        size_t target
        uint32_t run
        uint32_t number
        uint8_t *entries
        uint8_t *sums
        size_t entry_count

    struct kluis_fill:
        const uint8_t *data
        const uint8_t *ends
        const uint8_t *hashes
        const uint8_t *found
        const uint8_t *sums
        size_t count
        const uint8_t *zeros
        uint8_t *places
        size_t next

    int kluis_fill_check(const kluis_fill *fill, size_t size)
    size_t kluis_fill_start(const kluis_fill *fill)
    int kluis_fill_run(kluis_fill *fill, kluis_frame *frame, size_t group_end)
    size_t kluis_fill_fresh(const kluis_fill *fill, uint8_t *records)
    void kluis_fill_finish(kluis_fill *fill)


# ---- parts ----

cdef extern from "parts.h" nogil:
    enum:
        KLUIS_PARTS_MERGED_BYTES
        KLUIS_PARTS_CHUNK_BYTES
        KLUIS_PARTS_RECORD_BYTES
        KLUIS_PARTS_EXTENT_BYTES
        KLUIS_PARTS_ONE
        KLUIS_PARTS_NONE
        KLUIS_PARTS_MORE
        KLUIS_PARTS_EXTRAS
        KLUIS_PARTS_AGAIN

    struct kluis_batch:
        const uint8_t *entries
        size_t entry_count
        const uint8_t *wanted
        const uint8_t *results
        const uint8_t *bounds
        size_t count
        const uint8_t *places
        size_t place_count
        const uint8_t *runs
        size_t run_count
        uint32_t inode_flags
        uint8_t *states
        uint8_t *records
        uint8_t *extents

    size_t kluis_merge_places(const uint8_t *places, size_t count, uint8_t *merged,
                              uint8_t *chunks)
    int kluis_small_records(const kluis_batch *batch, size_t *extent_count)
