#include "cut.h"
#include "kluis.h"

static size_t scan_scalar(const uint64_t *table, const uint8_t *data, size_t from, size_t to,
                          uint64_t limit, uint64_t *hash) {
    uint64_t h = *hash;
    size_t found = 0;
    for (size_t i = from; i < to && found == 0; i++) {
        h = (h << 1) + table[data[i]];
        if (h < limit)
            found = i + 1;
    }
    *hash = h;
    return found;
}

#define STEP(k)                                                                                    \
    h = (h << 1) + table[data[i + (k)]];                                                           \
    if (KLUIS_UNLIKELY(h < limit)) {                                                               \
        *hash = h;                                                                                 \
        return i + (k) + 1;                                                                        \
    }

static size_t scan_unrolled(const uint64_t *table, const uint8_t *data, size_t from, size_t to,
                            uint64_t limit, uint64_t *hash) {
    uint64_t h = *hash;
    size_t i = from;
    for (; to - i >= 8; i += 8) {
        STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
    }
    *hash = h;
    return scan_scalar(table, data, i, to, limit, hash);
}

static const struct {
    const char *name;
    kluis_cut_kernel *kernel;
} kernels[] = {{"unrolled", scan_unrolled}, {"scalar", scan_scalar}};

enum { KERNELS = sizeof kernels / sizeof kernels[0], TEST_BYTES = 1024 };

static uint64_t next_random(uint64_t *state) { /* splitmix64 (Vigna) */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Whether the kernel finds what the scalar one finds, at all alignments and with hits of all
 * distances, in about 40 us. */
static bool agrees_with_scalar(kluis_cut_kernel *kernel) {
    uint64_t table[256], state = 1;
    uint8_t data[TEST_BYTES];
    for (size_t i = 0; i < 256; i++)
        table[i] = next_random(&state);
    for (size_t i = 0; i < TEST_BYTES; i++)
        data[i] = (uint8_t)next_random(&state);
    for (size_t trial = 0; trial < 64; trial++) {
        size_t from = KLUIS_CUT_WINDOW_BYTES + trial % 16, to = TEST_BYTES - trial;
        uint64_t limit = UINT64_MAX >> (trial % 13), expected = state, hash = state;
        while (from != 0) {
            size_t next = scan_scalar(table, data, from, to, limit, &expected);
            if (kernel(table, data, from, to, limit, &hash) != next || hash != expected)
                return false;
            from = next;
        }
    }
    return true;
}

/* Asked once for each kernel; two threads that ask at once get the same answer. */
static bool works(size_t n) {
    static int8_t known[KERNELS]; /* 0 not asked, 1 works, -1 does not */
    int8_t state = __atomic_load_n(&known[n], __ATOMIC_RELAXED);
    if (state == 0) {
        state = agrees_with_scalar(kernels[n].kernel) ? 1 : -1;
        __atomic_store_n(&known[n], state, __ATOMIC_RELAXED);
    }
    return state > 0;
}

const char *kluis_cut_kernel_name(size_t n) {
    for (size_t i = 0; i < KERNELS; i++)
        if (works(i) && n-- == 0)
            return kernels[i].name;
    return NULL;
}

int kluis_cut_init(kluis_cutter *cutter, const uint8_t table[KLUIS_CUT_TABLE_BYTES], size_t minimum,
                   size_t average, size_t maximum, const char *kernel) {
    if (minimum < KLUIS_CUT_WINDOW_BYTES || minimum > average || average > maximum ||
        maximum > KLUIS_CUT_MAXIMUM_BYTES || (average & (average - 1)) != 0)
        return KLUIS_CUT_BAD_SIZES;
    for (size_t i = 0; i < 256; i++)
        cutter->table[i] = kluis_load64(table + 8 * i);
    cutter->minimum = minimum;
    cutter->average = average;
    cutter->maximum = maximum;
    int bits = __builtin_ctzll(average);
    cutter->limit_early = UINT64_C(1) << (64 - (bits + 2));
    cutter->limit_late = UINT64_C(1) << (64 - (bits - 2));
    for (size_t i = 0; i < KERNELS; i++) {
        if ((strcmp(kernel, "auto") == 0 || strcmp(kernel, kernels[i].name) == 0) && works(i)) {
            cutter->kernel = kernels[i].kernel;
            return KLUIS_CUT_OK;
        }
    }
    return KLUIS_CUT_NO_KERNEL;
}

/* Length of the chunk that data starts with; 0 if it cannot be decided yet. */
static size_t first_chunk(const kluis_cutter *cutter, const uint8_t *data, size_t size,
                          bool final) {
    size_t minimum = cutter->minimum, average = cutter->average;
    if (size <= minimum)
        return final ? size : 0;
    size_t stop = size < cutter->maximum ? size : cutter->maximum;
    uint64_t hash = 0;
    size_t window = minimum - KLUIS_CUT_WINDOW_BYTES;
    cutter->kernel(cutter->table, data, window, minimum, 0, &hash); /* limit 0: warms up only */
    if (hash < (minimum < average ? cutter->limit_early : cutter->limit_late))
        return minimum;
    size_t from = minimum, found = 0;
    if (from < average - 1) {
        size_t to = stop < average - 1 ? stop : average - 1;
        found = cutter->kernel(cutter->table, data, from, to, cutter->limit_early, &hash);
        from = to;
    }
    if (found == 0)
        found = cutter->kernel(cutter->table, data, from, stop, cutter->limit_late, &hash);
    if (found != 0)
        return found;
    return stop == cutter->maximum || final ? stop : 0;
}

size_t kluis_cut(const kluis_cutter *cutter, const uint8_t *data, size_t size, bool final,
                 uint64_t *ends, size_t capacity) {
    size_t start = 0, count = 0;
    while (count < capacity && start < size) {
        size_t length = first_chunk(cutter, data + start, size - start, final);
        if (length == 0)
            break;
        start += length;
        ends[count++] = start;
    }
    return count;
}
