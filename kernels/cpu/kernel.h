// The kernels of a compiled program. They read and write slots.
//
// Model:    a unit is the part of a program that one kernel computes. A slot holds the address of a value or of a
//           unit's scratch memory. The slot of a value has the same number as the value in its graph. Kernels know only
//           slots, because they are built before memory is planned. Addresses are known only when the program runs.
// Rules:    a kernel may write only its outputs and its scratch. An output may have the same address as an input only
//           if the kernel's `shares` allow this. Inputs of zero bytes may have any address.
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

using namespace fusion;  // declares the division of a program into kernels, and the places of its values

struct Frame {
  std::byte* const* slots;
  ThreadPool* pool;

  template <typename T>
  T* at(int slot) const { return reinterpret_cast<T*>(slots[slot]); }
};

using Kernel = std::function<absl::Status(const Frame&)>;

// One op that is being compiled.
struct OpContext {
  std::shared_ptr<const graph::Graph> graph;  // shared with kernels that need it at run time
  const graph::Op* op = nullptr;              // an op of *graph
  std::vector<int> in, out;                   // slots of the operands and results
  int scratch = -1;                           // slot of the unit's scratch memory
  CollectiveProvider* collectives = nullptr;
  int threads = 1;

  const graph::Shape& in_shape(size_t i) const { return graph->shape(op->operands[i]); }
  const graph::Shape& out_shape(size_t i = 0) const { return graph->shape(op->results[i]); }
  // Returns the op and its location for messages: "dot at model.py:12".
  std::string Where() const;
};

struct BuiltKernel {
  Kernel run;
  const char* kind = "";                         // name of the kernel's kind in profiles
  Bytes scratch = 0;
  std::vector<std::vector<ShareOption>> shares;  // one list per output
};

}  // namespace alpa::kernels::cpu
