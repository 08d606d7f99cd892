/* What every module of ext/c shares: fixed little-endian access and a few limits of the compiler.
 *
 * Functions return 0 or a count on success and -1 on refusal; those that make system calls return
 * -errno. None of them calls into Python, so callers hold the interpreter lock or not as they like.
 */
#ifndef KLUIS_H
#define KLUIS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KLUIS_LIKELY(x) __builtin_expect(!!(x), 1)
#define KLUIS_UNLIKELY(x) __builtin_expect(!!(x), 0)

static inline uint32_t kluis_load32(const void *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t kluis_load64(const void *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline void kluis_store32(void *at, uint32_t value) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(at, &value, sizeof value);
}

static inline void kluis_store64(void *at, uint64_t value) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(at, &value, sizeof value);
}

#endif
