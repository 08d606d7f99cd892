/* Digests of what a tree names, recomputed from the chunk lists of frames without an object for
 * each entry. docs/format.md has the bytes of a tree; whatever it forbids is refused here.
 *
 * Owned by one caller at a time; nothing here is safe for two threads at once. */
#ifndef KLUIS_DIGESTS_H
#define KLUIS_DIGESTS_H

#include <stddef.h>
#include <stdint.h>

enum {
    KLUIS_DIGESTS_ENTRY_BYTES = 20, /* of a frame's chunk list: hash16, u32 length */
    KLUIS_DIGESTS_CHUNK_BYTES = 24, /* what a digest takes in of one chunk: hash16, u64 length */
    KLUIS_DIGESTS_ITEM_BYTES = 32,
};

/* What an item says of an entry. */
enum {
    KLUIS_DIGESTS_FOLDER = 1, /* a directory, whose digest is right */
    KLUIS_DIGESTS_PART = 2,   /* `begin` to `end` of what was gathered: more of it follows */
    KLUIS_DIGESTS_LAST = 3,   /* the same for the end of it: the keyed hash shall be its digest */
    KLUIS_DIGESTS_LISTED = 4, /* its extents are those of a list: not looked at */
    KLUIS_DIGESTS_NEEDED = 5, /* the chunk list of the frame that the extent at `begin` names */
    KLUIS_DIGESTS_WRONG = 6,  /* its digest is another one */
    KLUIS_DIGESTS_SPLIT = 7,  /* an extent does not begin and end with chunks of its frame */
    KLUIS_DIGESTS_KIND = 8,   /* an extent lies in a frame of another kind */
};

/* Chunk lists that are kept, of no more than `limit` chunks. */
typedef struct kluis_lists kluis_lists;

int kluis_lists_new(kluis_lists **lists, size_t limit); /* 0 or -ENOMEM */
void kluis_lists_free(kluis_lists *lists);              /* also of NULL */
size_t kluis_lists_chunks(const kluis_lists *lists);

/* Keeps a chunk list instead of one that the frame already has; if there are too many chunks then,
 * those of all others are let go first. -EINVAL for a list that no frame has, -ENOMEM. */
int kluis_lists_add(kluis_lists *lists, const uint8_t *frame, uint32_t kind, const uint8_t *entries,
                    size_t count);

/* A tree, and how far it was looked at. */
typedef struct kluis_digests {
    const uint8_t *data;
    size_t records, owners_at;
    size_t files; /* that were looked at */
    /* The entry that is next; what of it is done: extents, chunks of the next one, all chunks. */
    size_t record, extents_at, name_at;
    size_t extent, inside, chunks;
} kluis_digests;

/* What one call tells. */
typedef struct kluis_told {
    uint8_t *items;
    size_t item_room, item_count; /* there is room for two items at least */
    uint8_t *gathered;            /* what digests take in, in order; room for one chunk at least */
    size_t gathered_room, gathered_bytes;
} kluis_told;

/* 0 if this is a tree that kluis writes, whose names come behind `before`; else -1. The owners at
 * its end, from `owners_at` on, are not looked at. `data` stays the caller's. */
int kluis_digests_open(kluis_digests *walk, const uint8_t *data, size_t size, const uint8_t *before,
                       size_t before_bytes);

/* Goes on with the tree. 1 if it is done; 0 if there is no more room, or if the last item asks
 * for a chunk list. An item is u32 what; offset in the tree of the record, the name, its end, the
 * extents, their end; begin, end. */
int kluis_digests_run(kluis_digests *walk, const kluis_lists *lists, kluis_told *told);

/* Leaves the entry that is under way, which counts as looked at. */
void kluis_digests_skip(kluis_digests *walk);

#endif
