// Arithmetic on integer and pred scalars whose values are known while a graph is made: loop counters, slice
// starts.
#pragma once

#include <optional>
#include <span>

#include "graph/graph.h"

namespace alpa::graph {

// What the op computes from scalars, or nothing where an operand is not an integer or pred scalar, the op is
// none of the plain ones, or its result is not defined (division by zero). Wraps as XLA does.
std::optional<Literal> FoldScalar(Opcode opcode, const Attributes& attrs,
                                  std::span<const Literal* const> operands, const Shape& result);

// The value of an integer or pred scalar, sign-extended.
std::optional<int64_t> ScalarValue(const Literal& literal);

}  // namespace alpa::graph
