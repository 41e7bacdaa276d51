// What a device program says to the other devices of its mesh. Declared here, beside the backend that calls it;
// implemented in comm/.
//
// Model:   n ranks, one a device, that call the same collectives in the same order with the same sizes. A call is issued
//          from the device's stream; the result is in place when the stream has passed it. On CPU the stream is the
//          calling thread: a call blocks until it is done.
// Errors:  any call fails with the group's abort status once it was aborted, also one that was blocked at that time.
//          After a failure the group is dead: make a new one in a new epoch.
// Same bits: reductions sum in an order that depends on sizes and ranks only, and every rank gets the same bits.
#pragma once

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace alpa::kernels {

class CollectiveGroup {
 public:
  virtual ~CollectiveGroup() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // data = reduction of all ranks' data, element by element, in place. f16/bf16 accumulate in f32.
  virtual absl::Status AllReduce(std::span<std::byte> data, graph::DType dtype, graph::ReduceKind kind) = 0;
  // out = every rank's `in`, in rank order. REQUIRES: out.size() == size() * in.size().
  virtual absl::Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // out = this rank's block of the reduction of `in`. REQUIRES: in.size() == size() * out.size().
  virtual absl::Status ReduceScatter(std::span<const std::byte> in, std::span<std::byte> out, graph::DType dtype,
                                     graph::ReduceKind kind) = 0;
  // Block i of `in` goes to rank i; block j of `out` came from rank j. REQUIRES: equal sizes, divisible by size().
  virtual absl::Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // Rank i's `in` goes to rank permutation[i] (-1: nobody). Who receives nothing gets zeros.
  virtual absl::Status Permute(std::span<const std::byte> in, std::span<std::byte> out,
                               std::span<const int64_t> permutation) = 0;
  virtual absl::Status Broadcast(std::span<std::byte> data, int root) = 0;
  virtual absl::Status Barrier() = 0;

  // Makes every present and later call on this rank fail with `cause` (not OK), soon. Other ranks are told by their own
  // side, or find out by their calls failing. Thread-safe; the first cause wins.
  virtual void Abort(const absl::Status& cause) = 0;
};

}  // namespace alpa::kernels
