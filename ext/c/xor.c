#include "xor.h"
#include "cpu.h"
#include "kluis.h"

#include <stdbool.h>

/* Becomes two or one instructions, by the target of the function that uses it. */
typedef uint64_t lane __attribute__((vector_size(32), aligned(1), may_alias));

static inline __attribute__((always_inline)) void
xor_lanes(uint8_t *restrict accumulator, const uint8_t *restrict data, size_t size) {
    size_t at = 0;
    for (; size - at >= 2 * sizeof(lane); at += 2 * sizeof(lane)) {
        lane *to = (lane *)(accumulator + at);
        const lane *from = (const lane *)(data + at);
        to[0] ^= from[0];
        to[1] ^= from[1];
    }
    for (; at < size; at++)
        accumulator[at] ^= data[at];
}

static void xor_portable(uint8_t *restrict accumulator, const uint8_t *restrict data, size_t size) {
    xor_lanes(accumulator, data, size);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void xor_avx2(uint8_t *restrict accumulator,
                                                     const uint8_t *restrict data, size_t size) {
    xor_lanes(accumulator, data, size);
}
#endif

static const struct {
    const char *name;
    kluis_xor_kernel *kernel;
    uint32_t needs;
} kernels[] = {
#if defined(__x86_64__)
    {"avx2", xor_avx2, KLUIS_CPU_AVX2},
#endif
    {"portable", xor_portable, 0},
};

enum { KERNELS = sizeof kernels / sizeof kernels[0], TEST_BYTES = 200 };

/* Whether the kernel does what the definition says, at odd alignments and lengths. */
static bool self_test(kluis_xor_kernel *kernel) {
    uint8_t accumulator[TEST_BYTES], data[TEST_BYTES];
    for (size_t offset = 0; offset < 8; offset++) {
        for (size_t i = 0; i < TEST_BYTES; i++) {
            accumulator[i] = (uint8_t)(i * 7);
            data[i] = (uint8_t)(i * 13 + offset);
        }
        size_t size = TEST_BYTES - 2 * offset;
        kernel(accumulator + offset, data, size);
        for (size_t i = 0; i < TEST_BYTES; i++) {
            bool inside = i >= offset && i - offset < size;
            uint8_t expected = (uint8_t)(i * 7);
            if (inside)
                expected ^= data[i - offset];
            if (accumulator[i] != expected)
                return false;
        }
    }
    return true;
}

/* Asked once for each kernel; two threads that ask at once get the same answer. */
static bool works(size_t n) {
    static int8_t known[KERNELS]; /* 0 not asked, 1 works, -1 does not */
    int8_t state = __atomic_load_n(&known[n], __ATOMIC_RELAXED);
    if (state == 0) {
        uint32_t needs = kernels[n].needs;
        bool can_run = (kluis_cpu_features() & needs) == needs;
        state = can_run && self_test(kernels[n].kernel) ? 1 : -1;
        __atomic_store_n(&known[n], state, __ATOMIC_RELAXED);
    }
    return state > 0;
}

kluis_xor_kernel *kluis_xor_find(const char *name) {
    for (size_t i = 0; i < KERNELS; i++)
        if ((strcmp(name, "auto") == 0 || strcmp(name, kernels[i].name) == 0) && works(i))
            return kernels[i].kernel;
    return NULL;
}

const char *kluis_xor_kernel_name(size_t n) {
    for (size_t i = 0; i < KERNELS; i++)
        if (works(i) && n-- == 0)
            return kernels[i].name;
    return NULL;
}
