// What a compiled program is made of: kernels that read and write slots.
//
// Model:    a slot is the address of a value (by the value's number in its graph) or of a unit's scratch memory. Addresses
//           are known when the program runs, so kernels are built before memory is planned.
// Rules:    a kernel may write its outputs and scratch only. An output may be at the same address as an input only
//           where the kernel's `shares` say so. Inputs of zero bytes may be any address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/fusion/storage.h"
#include "graph/graph.h"
#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"

namespace alpa::kernels::cpu {

using namespace fusion;  // how a program is divided into kernels, and where its values lie

struct Frame {
  std::byte* const* slots;
  ThreadPool* pool;

  template <typename T>
  T* at(int slot) const { return reinterpret_cast<T*>(slots[slot]); }
};

using Kernel = std::function<absl::Status(const Frame&)>;

// One op being compiled.
struct OpContext {
  std::shared_ptr<const graph::Graph> graph;  // kernels that need it at run time keep it
  const graph::Op* op = nullptr;              // of *graph
  std::vector<int> in, out;                   // slots of operands and results
  int scratch = -1;                           // slot of this unit's scratch
  CollectiveProvider* collectives = nullptr;
  int threads = 1;

  const graph::Shape& in_shape(size_t i) const { return graph->shape(op->operands[i]); }
  const graph::Shape& out_shape(size_t i = 0) const { return graph->shape(op->results[i]); }
  // "dot at model.py:12", for messages.
  std::string Where() const;
};

struct BuiltKernel {
  Kernel run;
  const char* kind = "";                         // for profiles
  Bytes scratch = 0;
  std::vector<std::vector<ShareOption>> shares;  // by output
};

}  // namespace alpa::kernels::cpu
