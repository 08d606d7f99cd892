/* What a restore has to create of a stretch of a tree: small files, sorted by the frames that hold
 * them, without an object for each; and whether those frames hold what the tree says.
 * docs/format.md has the bytes of a tree, scatter.h what creates the files.
 */
#ifndef KLUIS_PLAN_H
#define KLUIS_PLAN_H

#include <stddef.h>
#include <stdint.h>

enum {
    KLUIS_PLAN_RECORD_BYTES = 104,
    KLUIS_PLAN_EXTENT_BYTES = 28,
    KLUIS_PLAN_DIGEST_BYTES = 32,
    KLUIS_PLAN_SPAN_BYTES = 48,
    KLUIS_PLAN_OTHER_BYTES = 16,
    KLUIS_PLAN_CHUNK_BYTES = 24, /* hash16, u64 length: what a content's digest takes in */
    KLUIS_PLAN_EXTRAS_MAX = 1 << 24,
    KLUIS_PLAN_EXTENTS_MAX = 1 << 20,
    KLUIS_PLAN_FRAME_MAX = 1 << 24, /* plain bytes of a frame */
};

struct kluis_plan_sizes { /* bytes that records have in the other parts of their tree */
    uint64_t extents;
    uint64_t names;
    uint64_t extras;
};

/* How many of the records take, with all that is theirs, up to `limit` bytes; at least one. None if
 * the next one claims more than any that kluis writes. */
size_t kluis_plan_fitting(const uint8_t *records, size_t count, uint64_t limit,
                          struct kluis_plan_sizes *sizes);

struct kluis_plan_span { /* files of one frame; frame and run are zero for empty files */
    uint8_t run[16];
    uint32_t frame;
    uint32_t first; /* number of the file that is its first */
    uint32_t count;
    uint32_t names_start;
    uint32_t names_size;
    uint32_t pad;
    uint64_t bytes; /* of content */
};
_Static_assert(sizeof(struct kluis_plan_span) == KLUIS_PLAN_SPAN_BYTES, "a span has a fixed size");

struct kluis_plan_other { /* an entry that is no small file, or not a right one */
    uint32_t record;      /* its number */
    uint32_t extent;      /* number of its first one */
    uint32_t name_start;
    uint32_t extras_start;
};
_Static_assert(sizeof(struct kluis_plan_other) == KLUIS_PLAN_OTHER_BYTES, "a fixed size");

struct kluis_plan_owners { /* numbers of the snapshot and of this machine, for those that differ */
    const uint8_t *pairs;  /* of u32, native order, ascending */
    size_t count;
};

struct kluis_plan {
    const uint8_t *records;
    size_t count;
    const uint8_t *extents;
    size_t extents_size;
    const uint8_t *names;
    size_t names_size;
    struct kluis_plan_owners users, groups;
    uint64_t size_limit; /* a larger file is no small one */
    uint32_t modes;      /* one with other mode bits neither */
    uint32_t flags;      /* of kluis_small, for each */

    /* Made: room for `count` of each, and for all names. */
    uint8_t *files; /* kluis_small; `start` is that in the frame */
    uint8_t *digests;
    uint8_t *file_names;
    uint8_t *spans;
    uint8_t *others;
    size_t file_count, file_names_size, span_count, other_count;
};

/* A small file is a regular one with one name and of one extent or none, with an ASCII name and
 * nothing besides stat record and content, in which nothing contradicts docs/format.md. Files of a
 * frame become one span, in their order. 0; -EINVAL if records and parts do not account for each
 * other or names do not ascend; -ENOMEM. */
int kluis_plan_window(struct kluis_plan *plan);

struct kluis_plan_frame {
    const uint8_t *starts; /* u32 in native order, ascending: of each chunk, and the end */
    size_t chunk_count;
};

/* For each stretch (u32 start and length, each `step` bytes after the one before) the numbers of
 * its first chunk and of the one after its last, as two u32: zeros if it does not begin and end
 * with chunks. marks[i] becomes 1 for each chunk that one covers. */
void kluis_plan_locate(const struct kluis_plan_frame *frame, const uint8_t *stretches, size_t step,
                       size_t count, uint8_t *bounds, uint8_t *marks);

enum { /* what becomes of a file */
       KLUIS_PLAN_RIGHT = 0,
       KLUIS_PLAN_UNALIGNED = 1, /* no stretch of chunks */
       KLUIS_PLAN_WRONG = 2,     /* a chunk is not right */
       KLUIS_PLAN_DIFFERENT = 3, /* they are right, and not the recorded ones */
       KLUIS_PLAN_SEVERAL = 4,   /* chunks that are right: the digest is over more than one */
};

struct kluis_plan_checked {
    const uint8_t *bounds; /* from kluis_plan_locate */
    const uint8_t *digests;
    size_t count;
    const uint8_t *chunks; /* KLUIS_PLAN_CHUNK_BYTES each */
    const uint8_t *right;  /* 1 for each chunk whose bytes have its hash */
    size_t chunk_count;
};

/* Writes a state for each file. 0; -EINVAL if a bound lies outside the chunks. */
int kluis_plan_check(const struct kluis_plan_checked *check, uint8_t *states);

#endif
