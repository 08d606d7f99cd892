/* New chunks of one buffer go into frames; of every chunk it is told where it lies. */
#ifndef KLUIS_FILL_H
#define KLUIS_FILL_H

#include <stddef.h>
#include <stdint.h>

#define KLUIS_FILL_UNKNOWN 0xffffffffu /* as a run: nobody has the chunk. As in table.h */
#define KLUIS_FILL_HOLE 0xfffffffeu    /* as a run: the chunk is zeros and lies nowhere */

enum {
    KLUIS_FILL_PLACE_BYTES = 32, /* hash16; u32 run, frame, offset, length: a record of table.h */
    KLUIS_FILL_ENTRY_BYTES = 20, /* hash16, u32 length: an entry of a frame's chunk list */
};

/* What the next call needs. */
enum {
    KLUIS_FILL_DONE = 0,
    KLUIS_FILL_GROUP = 1,    /* the next chunk is new and begins at or behind `group_end` */
    KLUIS_FILL_FRAME = 2,    /* the next chunk is new, and the frame is full */
    KLUIS_FILL_NO_ROOM = -1, /* the frame cannot take a chunk before it is full: its buffer is too
                                small, or it would end where u32 cannot say */
    KLUIS_FILL_NO_MEMORY = -2,
};

/* A frame that takes chunks until `size` has reached `target`. */
struct kluis_frame {
    uint8_t *buffer;
    size_t capacity, size, target;
    uint32_t run, number;
    uint8_t *entries; /* room for an entry of each chunk of the buffer; those of this call */
    uint8_t *sums;    /* and for the bound sum of each (sum.h) */
    size_t entry_count;
};

/* The chunks of one buffer. Fill in the first block, zero the rest; finish in any case. */
struct kluis_fill {
    const uint8_t *data;
    const uint8_t *ends;   /* u32 in native order, at any address: ascending, within the data */
    const uint8_t *hashes; /* hash16 of each chunk */
    const uint8_t *found;  /* what table.h's lookup says of each */
    const uint8_t *sums;   /* sum.h's of each, native u64 */
    size_t count;
    const uint8_t *zeros; /* the hash of the chunk of zeros that is stored nowhere */
    uint8_t *places;      /* room for a place of each chunk; those before `next` are valid */

    size_t next;
    uint32_t *fresh; /* by hash: number + 1 of each new chunk of this buffer, or 0 */
    size_t mask;
};

/* Returns 0, or -1 if the ends do not ascend or leave the data, of `size` bytes. */
int kluis_fill_check(const struct kluis_fill *fill, size_t size);

/* Where the next chunk begins. */
size_t kluis_fill_start(const struct kluis_fill *fill);

/* Places chunks until something is needed (see above). A chunk that is there twice is new once. */
int kluis_fill_run(struct kluis_fill *fill, struct kluis_frame *frame, size_t group_end);

/* Copies the places of the chunks that were new, each once, to `records`; returns their number. */
size_t kluis_fill_fresh(const struct kluis_fill *fill, uint8_t *records);

void kluis_fill_finish(struct kluis_fill *fill);

#endif
