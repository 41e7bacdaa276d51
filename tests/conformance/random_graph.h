// Draws random programs, to compare an implementation with the reference evaluator.
//
// Model:   A seed gives a verified graph with about `ops` random ops from all families, and the arguments of the graph.
//          The generator tracks two bounds for every float value. The first bound limits the magnitude of the value.
//          The second bound limits the absolute error that the value has if an implementation rounds every op by a few
//          units (first-order error analysis). The tolerance of a result is twice its error bound. Values stay finite.
//          The results of some ops jump when an operand changes slightly: compare, floor, conversion to an integer,
//          sort. These ops read only exact values: integers, and floats whose bits are the same in every
//          implementation.
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
