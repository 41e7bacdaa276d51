// A graph compiled for one device: its kernels in order, and its memory plan. The regions of loops and conditionals are
// nested bodies.
//
// Ownership: a body shares the ownership of its graph. The caller owns the arena, so that a nested body's arena can be
//            part of its parent's arena.
// Threads:   only one thread at a time may call Run.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/kernel.h"

namespace alpa::kernels::cpu {

class Body {
 public:
  // Compiles `graph` for a device with `threads` threads. If no kernel computes an op, the error is kUnimplemented and
  // names the op and its location.
  static absl::StatusOr<std::unique_ptr<Body>> Compile(std::shared_ptr<const graph::Graph> graph,
                                                       const CompileOptions& options, int threads);

  Bytes arena_bytes() const { return plan_.arena; }
  const graph::Graph& graph() const { return *graph_; }

  // Executes the kernels in order. parameters[i] and results[j] may be the same address if CompileOptions::alias allows
  // this. `arena` has arena_bytes() bytes and is aligned to kAlignment.
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
