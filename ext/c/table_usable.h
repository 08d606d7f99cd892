/* Which frames of which local runs may be reused: a bitmap for each run that was named. */
#ifndef KLUIS_TABLE_USABLE_H
#define KLUIS_TABLE_USABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t run;
    size_t bytes;
    uint8_t *bits;
} kluis_run_bitmap;

typedef struct {
    kluis_run_bitmap *runs; /* sorted by run */
    size_t count, capacity;
} kluis_usable;

/* Replaces the bitmap of the run by a copy of this one. 0 or -ENOMEM. */
int kluis_usable_set(kluis_usable *usable, uint32_t run, const uint8_t *bitmap, size_t bytes);

void kluis_usable_free(kluis_usable *usable);

/* The bitmap of the run; NULL if it was never named. */
const kluis_run_bitmap *kluis_usable_find(const kluis_usable *usable, uint32_t run);

static inline bool kluis_run_has(const kluis_run_bitmap *bitmap, uint32_t frame) {
    return frame / 8 < bitmap->bytes && (bitmap->bits[frame / 8] >> (frame % 8) & 1) != 0;
}

/* Whether the entry of 32 bytes may be reused. */
bool kluis_usable_entry(const kluis_usable *usable, const uint8_t *entry);

/* Whether the entry is known never to be of use: its run was named and its frame left out. */
bool kluis_usable_dead(const kluis_usable *usable, const uint8_t *entry);

#endif
