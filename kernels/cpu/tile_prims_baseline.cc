// Compiled for any x86-64 (or whatever the build is for).
#define ALPA_TILE_ISA baseline
#include "kernels/cpu/tile_prims.inc"
