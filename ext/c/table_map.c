#include "table_map.h"
#include "table_entry.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 1024 };

void kluis_map_init(kluis_map *map, size_t limit) { *map = (kluis_map){.limit = limit}; }

void kluis_map_free(kluis_map *map) {
    free(map->entries);
    free(map->slots);
    kluis_map_init(map, map->limit);
}

static size_t slot_of(uint64_t mixed) { return (size_t)mixed; }

static uint64_t slot_value(uint64_t mixed, size_t index) {
    return (mixed & UINT64_C(0xffffffff00000000)) | (uint64_t)(index + 1);
}

static const uint8_t *entry_at(const kluis_map *map, uint64_t slot) {
    return map->entries + ENTRY_BYTES * ((size_t)(uint32_t)slot - 1);
}

static void link_entry(kluis_map *map, size_t index) {
    uint64_t mixed = hash_mix(map->entries + ENTRY_BYTES * index);
    size_t at = slot_of(mixed) & map->slot_mask;
    while (map->slots[at] != 0)
        at = (at + 1) & map->slot_mask;
    map->slots[at] = slot_value(mixed, index);
}

static int grow(kluis_map *map) {
    size_t capacity = map->capacity == 0 ? FIRST_CAPACITY : 2 * map->capacity;
    size_t slots = 2 * capacity; /* a power of two */
    if (capacity > map->limit)
        capacity = map->limit;
    uint8_t *entries = realloc(map->entries, ENTRY_BYTES * capacity);
    if (entries == NULL)
        return -ENOMEM;
    map->entries = entries;
    uint64_t *fresh = calloc(slots, sizeof *fresh);
    if (fresh == NULL)
        return -ENOMEM;
    free(map->slots);
    map->slots = fresh;
    map->slot_mask = slots - 1;
    map->capacity = capacity;
    for (size_t i = 0; i < map->count; i++)
        link_entry(map, i);
    return 0;
}

int kluis_map_add(kluis_map *map, const uint8_t *entry) {
    if (map->count == map->capacity) {
        if (map->count >= map->limit)
            return 0;
        int status = grow(map);
        if (status < 0)
            return status;
    }
    uint64_t mixed = hash_mix(entry), tag = mixed >> 32;
    size_t at = slot_of(mixed) & map->slot_mask, copies = 0;
    uint8_t *oldest = NULL;
    for (; map->slots[at] != 0; at = (at + 1) & map->slot_mask) {
        if (map->slots[at] >> 32 != tag)
            continue;
        uint8_t *other = map->entries + (entry_at(map, map->slots[at]) - map->entries);
        if (!same_hash(other, entry))
            continue;
        if (memcmp(other, entry, ENTRY_BYTES) == 0)
            return 1;
        copies++;
        if (oldest == NULL || other < oldest)
            oldest = other;
    }
    if (copies >= ENTRY_COPIES) {
        memcpy(oldest, entry, ENTRY_BYTES); /* keeps the old one's age, which only orders answers */
        return 1;
    }
    memcpy(map->entries + ENTRY_BYTES * map->count, entry, ENTRY_BYTES);
    map->slots[at] = slot_value(mixed, map->count);
    map->count++;
    return 1;
}

const uint8_t *kluis_map_find(const kluis_map *map, const uint8_t *hash,
                              const kluis_usable *usable) {
    if (map->count == 0)
        return NULL;
    uint64_t mixed = hash_mix(hash), tag = mixed >> 32;
    const uint8_t *newest = NULL;
    for (size_t at = slot_of(mixed) & map->slot_mask; map->slots[at] != 0;
         at = (at + 1) & map->slot_mask) {
        if (map->slots[at] >> 32 != tag)
            continue;
        const uint8_t *entry = entry_at(map, map->slots[at]);
        if (same_hash(entry, hash) && (newest == NULL || entry > newest) &&
            (usable == NULL || kluis_usable_entry(usable, entry)))
            newest = entry;
    }
    return newest;
}

void kluis_map_prefetch(const kluis_map *map, const uint8_t *hash) {
    if (map->count > 0)
        __builtin_prefetch(&map->slots[slot_of(hash_mix(hash)) & map->slot_mask]);
}

void kluis_map_keep(kluis_map *map, size_t count) {
    map->count = count;
    if (map->slots == NULL)
        return;
    memset(map->slots, 0, (map->slot_mask + 1) * sizeof *map->slots);
    for (size_t i = 0; i < count; i++)
        link_entry(map, i);
}
