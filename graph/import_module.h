// An HLO module with its references resolved: what graph/import*.cc work on.
//
// Model: instructions are numbered in their computation; operands stand before their users (checked). Called
// computations
//        may stand anywhere and, in hostile input, call each other in circles: walkers bound their depth.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/import.h"
#include "graph/literal.h"
#include "proto/hlo.pb.h"

namespace alpa::graph::internal {

struct Instruction {
  const hlo::Instruction* proto = nullptr;
  std::vector<int> operands;     // instructions of the same computation
  std::vector<int> called;       // computations
  std::vector<int64_t> offsets;  // of a tuple: the first leaf of each element
  int64_t leaves = 1;
  int64_t parameter_base = 0;  // of a parameter: its first leaf among all parameters' leaves
  bool live = false;           // the root needs it, or it has an effect
};

struct Computation {
  const hlo::Computation* proto = nullptr;
  std::vector<Instruction> instructions;
  std::vector<int> parameters;  // instructions, by parameter number
  int64_t parameter_leaves = 0;
  int root = 0;
};

class Module {
 public:
  // `proto` must outlive the result.
  static absl::StatusOr<Module> Read(const hlo::Module& proto, const ImportLimits& limits);

  const hlo::Module& proto() const { return *proto_; }
  const Computation& computation(int i) const { return computations_[i]; }
  int size() const { return static_cast<int>(computations_.size()); }
  int entry() const { return entry_; }
  // `dot "dot.5" of computation "main" at model.py:42 (jit(step)/attention)`.
  std::string Describe(const Computation& computation, const Instruction& instruction,
                       const std::string& location) const;
  // "model.py:42 (jit(step)/attention)", "" where unknown. `prefix`: names of the calls that led to the
  // instruction; `caller`: the position of the innermost of them, for instructions that have none.
  std::string Location(const Instruction& instruction, const std::string& prefix = "",
                       const std::string& caller = "") const;
  std::string Position(const Instruction& instruction, const std::string& caller) const;  // "model.py:42"

 private:
  absl::Status ReadComputation(const hlo::Computation& proto, const ImportLimits& limits,
                               Computation* out) const;
  absl::Status ResolveCalls();

  const hlo::Module* proto_ = nullptr;
  std::vector<Computation> computations_;
  int entry_ = 0;
};

// `status` with where it happened in front.
absl::Status At(const absl::Status& status, const Module& module, const Computation& computation,
                const Instruction& instruction, const std::string& location);

}  // namespace alpa::graph::internal
