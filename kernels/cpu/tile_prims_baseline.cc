// The build compiles this file for any x86-64, or for its own target if that is another architecture.
#define ALPA_TILE_ISA baseline
#include "kernels/cpu/tile_prims.inc"
