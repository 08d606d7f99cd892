/* Content-defined cut points. What is defined here decides stored bytes and is frozen; golden cut
 * points in tests/golden prove it.
 *
 * Definition. `table` is 256 secret 64-bit numbers. For a position i of the stream with at least 64
 * bytes before it, over the bytes b:
 *
 *     h(i) = sum over k = 0..63 of table[b[i - 1 - k]] << k          (mod 2^64)
 *
 * With s the start of a chunk, the chunk ends at the smallest i for which one of these holds:
 *
 *   - i - s >= minimum, and the top (log2(average) + 2) bits of h(i) are zero while
 *     i - s < average, the top (log2(average) - 2) bits from i - s = average on;
 *   - i - s = maximum;
 *   - the stream ends at i.
 *
 * So a stretch of at most `minimum` bytes is one chunk, unscanned; every test is a pure function of
 * the 64 bytes before it, all inside the chunk since minimum >= 64; and cut points depend on
 * content and parameters alone, never on how the stream is split into buffers, on threads, or on
 * the CPU. A strict mask before the average and a loose one after it are the normalisation of
 * FastCDC (Xia and others, 2016).
 *
 * Kernels. All give the same result. "scalar" is the oracle, the definition as a loop. "unrolled"
 * has eight positions a turn: 0.28 instead of 0.30 ns a byte on Zen 3, near the one cycle a
 * position that the chain h = 2 h + t costs. Measured slower there, hence absent: two independent
 * stretches at once (0.35), four in AVX2 lanes (0.40), pairs of positions (0.30).
 */
#ifndef KLUIS_CUT_H
#define KLUIS_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KLUIS_CUT_WINDOW_BYTES 64
#define KLUIS_CUT_TABLE_BYTES 2048
#define KLUIS_CUT_MAXIMUM_BYTES ((size_t)1 << 30) /* lengths stay far from 32 bits */

/* The smallest i in (from, to] with h(i) < limit, or 0; limit 0 finds nothing. *hash is h(from)
 * before the call, and h of the result, else of `to`, after it. */
typedef size_t kluis_cut_kernel(const uint64_t *table, const uint8_t *data, size_t from, size_t to,
                                uint64_t limit, uint64_t *hash);

typedef struct {
    uint64_t table[256];
    size_t minimum, average, maximum;
    uint64_t limit_early, limit_late; /* top bits zero is the same as h < limit */
    kluis_cut_kernel *kernel;
} kluis_cutter;

enum {
    KLUIS_CUT_OK = 0,
    KLUIS_CUT_BAD_SIZES = -1, /* not 64 <= minimum <= average <= maximum <= 2^30, average 2^n */
    KLUIS_CUT_NO_KERNEL = -2, /* no such kernel, or it fails its self-test on this machine */
};

/* Fills the cutter from 256 little-endian numbers; kernel is a name or "auto". */
int kluis_cut_init(kluis_cutter *cutter, const uint8_t table[KLUIS_CUT_TABLE_BYTES], size_t minimum,
                   size_t average, size_t maximum, const char *kernel);

/* Name of the n-th kernel that works here, fastest first, NULL after the last. */
const char *kluis_cut_kernel_name(size_t n);

/* Ends of chunks in data[0..size), which starts at a chunk's start, counted from data[0], for as
 * many as `capacity` holds; returns their number. Without `final` the tail that later bytes could
 * still change is left out; with it the last end is `size`. */
size_t kluis_cut(const kluis_cutter *cutter, const uint8_t *data, size_t size, bool final,
                 uint64_t *ends, size_t capacity);

#endif
