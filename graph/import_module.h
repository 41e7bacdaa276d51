// An HLO module with resolved references. Only graph/import*.cc use this file.
//
// Model: Instructions are numbered within their computation. Operands come before their readers; Read checks this. A
//        called computation may be anywhere in the module. In hostile input, computations may call each other in a
//        cycle, so every walk along calls must limit its depth.
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
  std::vector<int> operands;     // indices of instructions in the same computation
  std::vector<int> called;       // indices of computations
  std::vector<int64_t> offsets;  // only for a tuple: the first leaf of each element
  int64_t leaves = 1;
  int64_t parameter_base = 0;  // only for a parameter: its first leaf among the leaves of all parameters
  bool live = false;           // the root or a side effect depends on it
};

struct Computation {
  const hlo::Computation* proto = nullptr;
  std::vector<Instruction> instructions;
  std::vector<int> parameters;  // one entry per parameter number: the index of the instruction
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
  // Returns a description such as `dot "dot.5" of computation "main" at model.py:42 (jit(step)/attention)`.
  std::string Describe(const Computation& computation, const Instruction& instruction,
                       const std::string& location) const;
  // Returns a location such as "model.py:42 (jit(step)/attention)", or "" if unknown. `prefix`: op names of the
  // enclosing calls. `caller`: the position of the innermost call, for an instruction that has no position.
  std::string Location(const Instruction& instruction, const std::string& prefix = "",
                       const std::string& caller = "") const;
  std::string Position(const Instruction& instruction, const std::string& caller) const;  // such as "model.py:42"

 private:
  absl::Status ReadComputation(const hlo::Computation& proto, const ImportLimits& limits,
                               Computation* out) const;
  absl::Status ResolveCalls();

  const hlo::Module* proto_ = nullptr;
  std::vector<Computation> computations_;
  int entry_ = 0;
};

// Returns `status` with the description of the instruction in front of the message.
absl::Status At(const absl::Status& status, const Module& module, const Computation& computation,
                const Instruction& instruction, const std::string& location);

}  // namespace alpa::graph::internal
