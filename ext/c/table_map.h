/* A bounded hash table of cache entries that remembers the order in which they came. */
#ifndef KLUIS_TABLE_MAP_H
#define KLUIS_TABLE_MAP_H

#include "table_usable.h"

typedef struct {
    uint8_t *entries; /* 32 bytes each, oldest first */
    uint64_t *slots;  /* 0, or 32 bits of the hash above 1 + the index of an entry */
    size_t count, capacity, limit;
    size_t slot_mask; /* at least twice as many slots as entries */
} kluis_map;

void kluis_map_init(kluis_map *map, size_t limit);
void kluis_map_free(kluis_map *map);

/* Adds a copy of the entry. Returns 1; 0 if `limit` entries are there; -ENOMEM. Of an entry that is
 * there already nothing is added; of nine with one hash the oldest is forgotten. */
int kluis_map_add(kluis_map *map, const uint8_t *entry);

/* The newest entry with this hash that may be reused (usable NULL: any); NULL if there is none. It
 * is good until the map is changed. */
const uint8_t *kluis_map_find(const kluis_map *map, const uint8_t *hash,
                              const kluis_usable *usable);

/* Starts to fetch what kluis_map_find will look at. */
void kluis_map_prefetch(const kluis_map *map, const uint8_t *hash);

/* Keeps only the first `count` entries, after the caller has moved those he wants to the front. */
void kluis_map_keep(kluis_map *map, size_t count);

#endif
