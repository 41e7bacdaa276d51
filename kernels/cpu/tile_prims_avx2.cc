// The build compiles this file for AVX2 and FMA (x86-64-v3) if it targets x86-64. Programs use its loops if the
// processor supports AVX2, FMA and F16C.
#define ALPA_TILE_ISA avx2
#include "kernels/cpu/tile_prims.inc"
