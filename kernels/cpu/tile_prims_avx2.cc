// Compiled for AVX2 and FMA (x86-64-v3) where the compiler can; used where the processor has them.
#define ALPA_TILE_ISA avx2
#include "kernels/cpu/tile_prims.inc"
