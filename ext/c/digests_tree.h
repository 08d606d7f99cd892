/* Whether bytes are a tree that kluis writes; docs/format.md says which are. */
#ifndef KLUIS_DIGESTS_TREE_H
#define KLUIS_DIGESTS_TREE_H

#include "digests.h"

#include <stdbool.h>

enum {
    HASH = 16,
    RUN = 16,
    DIGEST = 32,
    HEADER = 32,
    RECORD = 104,
    EXTENT = 28,
    /* kinds */
    FILE_KIND = 1,
    DIRECTORY_KIND = 2,
    SYMLINK_KIND = 3,
    CHARACTER_KIND = 5,
    BLOCK_KIND = 6,
    LAST_KIND = 7,
    /* flags */
    LINKED = 1,
    LISTED = 2,
    INCOMPLETE = 4,
    /* where the fields of a record are */
    KIND_AT = 0,
    FLAGS_AT = 1,
    NAME_BYTES_AT = 2,
    MODE_AT = 4,
    EXTENT_COUNT_AT = 16,
    EXTRAS_BYTES_AT = 20,
    SIZE_AT = 24,
    BIRTH_S_AT = 40,
    MTIME_NS_AT = 48,
    BIRTH_NS_AT = 52,
    INODE_AT = 56,
    DEVICE_AT = 64,
    DIGEST_AT = 72,
    /* and of an extent */
    N_AT = 16,
    OFFSET_AT = 20,
    LENGTH_AT = 24,
};

/* Where the parts of a tree begin, as its header says: they all lie in it. */
typedef struct {
    size_t records, extents_at, names_at, extras_at, owners_at;
} tree_layout;

static inline bool is_zero(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return false;
    return true;
}

static inline size_t name_bytes_of(const uint8_t *record) {
    return (size_t)record[NAME_BYTES_AT] | (size_t)record[NAME_BYTES_AT + 1] << 8;
}

/* True for a tree, `found` telling its layout; its names ascend from behind `before`. */
bool tree_is_sound(tree_layout *found, const uint8_t *data, size_t size, const uint8_t *before,
                   size_t before_bytes);

#endif
