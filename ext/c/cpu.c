#include "cpu.h"

uint32_t kluis_cpu_features(void) {
    uint32_t found = 0;
#if defined(__x86_64__)
    __builtin_cpu_init(); /* the compiler caches the answer of cpuid and xgetbv */
    if (__builtin_cpu_supports("avx2"))
        found |= KLUIS_CPU_AVX2;
#endif
    return found;
}
