/* XOR of one stretch of memory into another: the whole arithmetic of a parity shard.
 *
 * Kernels, ns a byte on Zen 3 with 16 KiB, 512 KiB, 16 MiB: "portable" (16-byte registers)
 * 0.044, 0.049, 0.092; "avx2" 0.013, 0.034, 0.077.
 */
#ifndef KLUIS_XOR_H
#define KLUIS_XOR_H

#include <stddef.h>
#include <stdint.h>

/* accumulator[i] ^= data[i] for i < size. The two must not overlap; any alignment. */
typedef void kluis_xor_kernel(uint8_t *restrict accumulator, const uint8_t *restrict data,
                              size_t size);

/* The kernel of that name, or for "auto" the fastest; NULL if there is none of that name, this
 * processor lacks its instructions, or it fails its self-test. */
kluis_xor_kernel *kluis_xor_find(const char *name);

/* Name of the n-th kernel that works here, fastest first, NULL after the last. */
const char *kluis_xor_kernel_name(size_t n);

#endif
