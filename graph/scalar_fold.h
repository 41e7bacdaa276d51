// Computes integer and pred scalars that are known while a graph is built, such as loop counters and slice starts.
#pragma once

#include <optional>
#include <span>

#include "graph/graph.h"

namespace alpa::graph {

// Returns the result of an op on known scalars. Returns nothing if an operand is null or not an integer or pred scalar,
// if the opcode is not supported, or if the result is undefined (division by zero). Arithmetic wraps as in XLA.
std::optional<Literal> FoldScalar(Opcode opcode, const Attributes& attrs,
                                  std::span<const Literal* const> operands, const Shape& result);

// Returns the value of an integer or pred scalar, sign-extended if the type is signed. Returns nothing for any other
// literal. A u64 above the largest int64_t becomes negative.
std::optional<int64_t> ScalarValue(const Literal& literal);

}  // namespace alpa::graph
