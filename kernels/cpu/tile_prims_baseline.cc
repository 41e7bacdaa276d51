// Compiled for any x86-64, or for the build's own target.
#define ALPA_TILE_ISA baseline
#include "kernels/cpu/tile_prims.inc"
