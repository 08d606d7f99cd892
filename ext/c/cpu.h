/* Which optional instructions this processor has, asked once.
 *
 * A kernel for an instruction set is compiled with __attribute__((target(...))) and may be called
 * only if its bit is set here. Off x86-64 no bit is ever set.
 */
#ifndef KLUIS_CPU_H
#define KLUIS_CPU_H

#include <stdint.h>

#define KLUIS_CPU_AVX2 1u /* with the operating system saving the wide registers */

uint32_t kluis_cpu_features(void);

#endif
