// How often a loop runs and how large it is unrolled, found by following integer scalars through HLO.
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

  // Iterations of a `while` whose carried leaves begin as `initial` (nothing where not a known integer
  // scalar); nothing where its condition depends on more than known scalars, or after `max_trips`.
  std::optional<int64_t> TripCount(const Instruction& loop,
                                   const std::vector<std::optional<Literal>>& initial, int64_t max_trips);
  // About how many ops a computation becomes, inner loops unrolled where their count shows; saturates.
  int64_t Size(int computation);

 private:
  struct Frame;
  std::optional<Literal> Evaluate(Frame& frame, int instruction, int64_t leaf, int depth);
  std::optional<Literal> EvaluatePlain(Frame& frame, const Instruction& instruction, int depth);
  int64_t Size(int computation, int depth);
  int64_t LoopSize(int computation, const Instruction& loop, int depth);

  const Module& module_;
  const ImportLimits& limits_;
  int64_t steps_left_ = 5'000'000;  // of evaluation, for the whole import
  absl::flat_hash_map<int, int64_t> sizes_;
};

}  // namespace alpa::graph::internal
