/* One entry of the dedup cache: 32 bytes, everywhere laid out as on disk (table.h). */
#ifndef KLUIS_TABLE_ENTRY_H
#define KLUIS_TABLE_ENTRY_H

#include "kluis.h"

#include <stdbool.h>

enum { ENTRY_HASH = 16, ENTRY_BYTES = 32, ENTRY_COPIES = 8 /* kept of one hash */ };

static inline uint32_t entry_run(const uint8_t *entry) { return kluis_load32(entry + 16); }

static inline uint32_t entry_frame(const uint8_t *entry) { return kluis_load32(entry + 20); }

static inline bool same_hash(const uint8_t *a, const uint8_t *b) {
    return kluis_load64(a) == kluis_load64(b) && kluis_load64(a + 8) == kluis_load64(b + 8);
}

/* The first eight bytes as a number that sorts as the bytes do. */
static inline uint64_t hash_prefix(const uint8_t *hash) {
    return __builtin_bswap64(kluis_load64(hash));
}

/* Well mixed also where hashes are not, as in tests. */
static inline uint64_t hash_mix(const uint8_t *hash) {
    uint64_t x = kluis_load64(hash) ^ (kluis_load64(hash + 8) * UINT64_C(0x9e3779b97f4a7c15));
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

#endif
