#include "sum.h"

enum { LANES = 8, WORD = 8, BLOCK = LANES * WORD, HASH = 16 };

static inline uint64_t mixed(uint64_t lane, uint64_t word) {
    lane ^= word;
    return (lane << 29 | lane >> 35) * 0x9e3779b97f4a7c15u;
}

static inline void take_block(uint64_t lanes[LANES], const uint8_t *block) {
#pragma GCC unroll 8 /* else the lanes live in memory: 0.12 instead of 0.04 ns a byte */
    for (size_t i = 0; i < LANES; i++)
        lanes[i] = mixed(lanes[i], kluis_load64(block + i * WORD));
}

uint64_t kluis_sum(const uint8_t *data, size_t size) {
    uint64_t lanes[LANES] = {1, 3, 5, 7, 9, 11, 13, 15};
    size_t at = 0;
    for (; size - at >= BLOCK; at += BLOCK)
        take_block(lanes, data + at);
    if (at < size) {
        uint8_t last[BLOCK] = {0};
        memcpy(last, data + at, size - at);
        take_block(lanes, last);
    }
    uint64_t sum = size;
    for (size_t i = 0; i < LANES; i++)
        sum = mixed(sum, lanes[i]);
    return sum;
}

void kluis_sum_each(const uint8_t *data, const uint8_t *ends, size_t count, uint8_t *sums) {
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t end;
        memcpy(&end, ends + i * sizeof end, sizeof end);
        uint64_t sum = kluis_sum(data + start, end - start);
        memcpy(sums + i * KLUIS_SUM_BYTES, &sum, KLUIS_SUM_BYTES);
        start = end;
    }
}

ptrdiff_t kluis_sum_wrong(const uint8_t *data, size_t size, const uint8_t *entries, size_t count,
                          const uint8_t *sums) {
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = entries + i * KLUIS_SUM_ENTRY_BYTES;
        size_t length = kluis_load32(entry + HASH);
        if (length > size - start)
            return -1;
        uint64_t expected;
        memcpy(&expected, sums + i * KLUIS_SUM_BYTES, KLUIS_SUM_BYTES);
        if (kluis_sum_bound(kluis_sum(data + start, length), entry) != expected)
            return (ptrdiff_t)i;
        start += length;
    }
    return start == size ? (ptrdiff_t)count : -1;
}
