// Random programs for comparing an implementation with the reference evaluator.
//
// Model:   a seed gives a verified graph of `ops` random ops of every family, with arguments. Next to every float value
//          the generator keeps a bound of its magnitude and of how far an implementation may be off after rounding every
//          op by a few units (first-order error analysis), in absolute terms; the bound of a result is its tolerance.
//          Values stay finite. Ops that jump (compare, floor, convert to integer, sort, gather by a value) only read
//          exact values: integers, and floats that were moved or selected, never rounded.
#pragma once

#include <cstdint>

#include "tests/conformance/program.h"

namespace alpa::conformance {

struct RandomGraphOptions {
  int ops = 40;
  int max_elements = 4096;  // of any value
};

Program RandomProgram(uint64_t seed, const RandomGraphOptions& options = {});

}  // namespace alpa::conformance
