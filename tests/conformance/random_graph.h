// Draws random programs, to compare an implementation with the reference evaluator.
//
// Model:   A seed gives a verified graph of about `ops` random ops of all families, with arguments. The generator
//          tracks two bounds for every float value. The first limits the magnitude. The second limits the absolute
//          error of an implementation that rounds every op by a few units (first-order error analysis). The tolerance
//          of a result is twice its error bound. Values stay finite. The results of some ops jump when an operand
//          changes slightly: compare, floor, conversion to an integer, sort. These ops read only exact values:
//          integers, and floats whose bits are the same in every implementation.
#pragma once

#include <cstdint>

#include "tests/conformance/program.h"

namespace alpa::conformance {

struct RandomGraphOptions {
  int ops = 40;
  int max_elements = 4096;  // limit on the number of elements of every value
};

Program RandomProgram(uint64_t seed, const RandomGraphOptions& options = {});

}  // namespace alpa::conformance
