/* Sums of chunks: whether what was read is still the same after it was copied, compressed, sealed,
 * opened and expanded. They stay in memory, beside the chunk's hash, and are never stored.
 *
 * A second BLAKE3 of every chunk would say the same at 0.25 to 0.5 ns a byte; this takes 0.03. It
 * need not resist anybody: who can change this process's memory can change the sums as well.
 *
 * Definition. Eight 64-bit lanes begin at the odd numbers 1 to 15; each 64 bytes of the chunk, the
 * last ones filled up with zeros, change lane i with their i-th little-endian word w:
 *
 *     lane = rotate_left(lane ^ w, 29) * 0x9e3779b97f4a7c15       (mod 2^64)
 *
 * The sum is the length, changed by each lane in the same way. Every step is a bijection of the
 * lane for a given word and of the word for a given lane: so chunks that differ in one word, or in
 * words of one lane of which only one differs, never have the same sum; others have with 2^-64.
 *
 * A frame keeps its chunks' sums bound to their hashes, so that neither changes unnoticed.
 */
#ifndef KLUIS_SUM_H
#define KLUIS_SUM_H

#include "kluis.h"

#include <stddef.h>
#include <stdint.h>

enum {
    KLUIS_SUM_BYTES = 8,
    KLUIS_SUM_ENTRY_BYTES = 20, /* of a frame's chunk list: hash16, u32 length */
};

/* The sum of a chunk. */
uint64_t kluis_sum(const uint8_t *data, size_t size);

/* The sum, bound to the chunk's hash16. */
static inline uint64_t kluis_sum_bound(uint64_t sum, const uint8_t *hash) {
    return sum ^ kluis_load64(hash) ^ kluis_load64(hash + 8) * 0x9e3779b97f4a7c15u;
}

/* Sums of chunks that lie back to back, `ends` (u32 in native order, ascending) from 0 on. */
void kluis_sum_each(const uint8_t *data, const uint8_t *ends, size_t count, uint8_t *sums);

/* The number of the first chunk of a frame whose bytes or hash are not those of its bound sum,
 * `count` if all are; -1 if the lengths in `entries` do not fill `size` bytes. */
ptrdiff_t kluis_sum_wrong(const uint8_t *data, size_t size, const uint8_t *entries, size_t count,
                          const uint8_t *sums);

#endif
