// Finds the trip count of a loop, and its size after unrolling, by evaluating integer scalars in the HLO.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "graph/import_module.h"

namespace alpa::graph::internal {

class LoopAnalysis {
 public:
  LoopAnalysis(const Module& module, const ImportLimits& limits) : module_(module), limits_(limits) {}

  // Returns the number of iterations of a `while`. `initial`: the initial value of each carried leaf, or nothing if the
  // leaf is not a known integer scalar. Returns nothing if the condition depends on an unknown value, if the loop runs
  // more than `max_trips` times, or if the evaluation budget of the import is used up.
  std::optional<int64_t> TripCount(const Instruction& loop,
                                   const std::vector<std::optional<Literal>>& initial, int64_t max_trips);
  // Returns the approximate number of ops that import creates for a computation. Inner loops count as unrolled if
  // their trip count is known. Saturates at the largest int64_t.
  int64_t Size(int computation);

 private:
  struct Frame;
  std::optional<Literal> Evaluate(Frame& frame, int instruction, int64_t leaf, int depth);
  std::optional<Literal> EvaluatePlain(Frame& frame, const Instruction& instruction, int depth);
  int64_t Size(int computation, int depth);
  int64_t LoopSize(int computation, const Instruction& loop, int depth);

  const Module& module_;
  const ImportLimits& limits_;
  int64_t steps_left_ = 5'000'000;  // remaining evaluation steps, for the whole import
  absl::flat_hash_map<int, int64_t> sizes_;
};

}  // namespace alpa::graph::internal
