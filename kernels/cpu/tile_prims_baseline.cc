// If the build targets x86-64, it compiles this file for any x86-64 processor. Otherwise it compiles this file for its
// target architecture.
#define ALPA_TILE_ISA baseline
#include "kernels/cpu/tile_prims.inc"
