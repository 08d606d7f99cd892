/* What trees hold of files, made from places (fill.h), stat records (scan.h) and what reading told
 * (read.h), without an object for each. docs/format.md has the bytes of a tree. */
#ifndef KLUIS_PARTS_H
#define KLUIS_PARTS_H

#include <stddef.h>
#include <stdint.h>

enum {
    KLUIS_PARTS_MERGED_BYTES = 20, /* u32 run, frame, offset, length, number of chunks */
    KLUIS_PARTS_CHUNK_BYTES = 24,  /* hash16, u64 length: what a content's digest takes in */
    KLUIS_PARTS_RECORD_BYTES = 104,
    KLUIS_PARTS_EXTENT_BYTES = 28,
};

/* What became of a small file. */
enum {
    KLUIS_PARTS_ONE = 0,    /* one chunk: its record and its extent are made */
    KLUIS_PARTS_NONE = 1,   /* empty: its record is made */
    KLUIS_PARTS_MORE = 2,   /* several chunks, a hole, or several names */
    KLUIS_PARTS_EXTRAS = 3, /* has xattrs or inode flags that are kept */
    KLUIS_PARTS_AGAIN = 4,  /* not read, or not as it was scanned */
};

/* Places that go on from one another become one, as far as its length is a u32; a hole stays by
 * itself. Writes those to `merged`, and of every place its hash and length to `chunks`, both with
 * room for each place. Little endian. Returns how many were merged. */
size_t kluis_merge_places(const uint8_t *places, size_t count, uint8_t *merged, uint8_t *chunks);

/* A batch of small files that were read. */
struct kluis_batch {
    const uint8_t *entries; /* a listing as in scan.h */
    size_t entry_count;
    const uint8_t *wanted;  /* u32 numbers of its entries, native order, at any address */
    const uint8_t *results; /* a kluis_read_result for each */
    const uint8_t *bounds;  /* u32 for each: how many places there are up to its end */
    size_t count;
    const uint8_t *places;
    size_t place_count;
    const uint8_t *runs; /* 16 bytes each: what the places' numbers of runs mean */
    size_t run_count;
    uint32_t inode_flags; /* those that are kept */

    uint8_t *states;  /* room for a byte each */
    uint8_t *records; /* room for KLUIS_PARTS_RECORD_BYTES each; those made lie back to back */
    uint8_t *extents; /* the same for KLUIS_PARTS_EXTENT_BYTES */
};

/* Returns how many records were made, *extent_count extents; -1 if the parts of the batch do not
 * fit together. */
int kluis_small_records(const struct kluis_batch *batch, size_t *extent_count);

#endif
