// A graph compiled for one device: kernels in order and the plan of its memory. Regions of loops and conditionals are
// bodies inside bodies.
//
// Ownership: keeps the graph; the arena is the caller's, so that a nested body's is part of its parent's.
// Threads:   Run from one thread at a time.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/kernel.h"

namespace alpa::kernels::cpu {

class Body {
 public:
  // kUnimplemented names the op that no kernel computes, with its location.
  static absl::StatusOr<std::unique_ptr<Body>> Compile(std::shared_ptr<const graph::Graph> graph,
                                                       const CompileOptions& options, int threads);

  Bytes arena_bytes() const { return plan_.arena; }
  const graph::Graph& graph() const { return *graph_; }

  // parameters[i] and results[j] may be the same address where the alias says so; `arena` has arena_bytes(), aligned to
  // kAlignment.
  absl::Status Run(std::span<std::byte* const> parameters, std::span<std::byte* const> results, std::byte* arena,
                   ThreadPool& pool);

  struct Step {
    Kernel run;
    const char* kind;
    std::string where;
    double seconds = 0;
  };
  const std::vector<Step>& steps() const { return steps_; }
  void set_profiling(bool on);

 private:
  Body() = default;
  void Bind(std::span<std::byte* const> parameters, std::span<std::byte* const> results, std::byte* arena);

  std::shared_ptr<const graph::Graph> graph_;
  std::vector<Step> steps_;
  StoragePlan plan_;
  std::vector<std::byte*> slots_;
  struct Binding {
    int slot, index;
  };
  std::vector<Binding> parameter_slots_, result_slots_;
  struct ArenaBinding {
    int slot;
    Bytes offset;
  };
  std::vector<ArenaBinding> arena_slots_;
  std::byte* bound_arena_ = nullptr;
  bool profiling_ = false;
};

}  // namespace alpa::kernels::cpu
