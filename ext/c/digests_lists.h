/* Chunk lists of frames, as many as are worth keeping. */
#ifndef KLUIS_DIGESTS_LISTS_H
#define KLUIS_DIGESTS_LISTS_H

#include "digests.h"

/* Where the chunks of a frame begin, and their hashes. */
typedef struct kluis_list {
    struct kluis_list *next;
    uint8_t run[16];
    uint32_t n;
    uint32_t kind;
    size_t count;
    const uint8_t *hashes; /* hash16 of each chunk */
    uint32_t starts[];     /* count + 1: the last one is where the frame ends */
} kluis_list;

/* The list of the frame, NULL if it is not kept. It stands until another one is added. */
const kluis_list *kluis_lists_find(const kluis_lists *lists, const uint8_t *run, uint32_t n);

#endif
