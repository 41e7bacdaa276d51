// The collectives through which a device program communicates with the other devices of its mesh. Backends call this
// interface, and comm/ implements it.
//
// Model:     n ranks, one per device. All ranks call the same collectives in the same order with the same sizes. The
//            device's stream issues a call, and the result is in place when the stream has passed the call. On a CPU,
//            the stream is the calling thread, so a call blocks until it is done.
// Errors:    after Abort, every call fails with the cause of the abort, including calls that are blocked when Abort is
//            called. After a failure, the group is unusable. To continue, make a new group in a new epoch.
// Same bits: the order of a reduction depends only on sizes and ranks, and every rank gets the same bits.
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

  // Reduces all ranks' `data` element by element, in place. f16 and bf16 accumulate in f32.
  virtual absl::Status AllReduce(std::span<std::byte> data, graph::DType dtype, graph::ReduceKind kind) = 0;
  // Concatenates every rank's `in` into `out`, in rank order. REQUIRES: out.size() == size() * in.size().
  virtual absl::Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // Reduces all ranks' `in`, and writes this rank's block to `out`. REQUIRES: in.size() == size() * out.size().
  virtual absl::Status ReduceScatter(std::span<const std::byte> in, std::span<std::byte> out, graph::DType dtype,
                                     graph::ReduceKind kind) = 0;
  // Sends block i of `in` to rank i, and receives block j of `out` from rank j. REQUIRES: `in` and `out` have the same
  // number of bytes, which size() divides.
  virtual absl::Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // Sends rank i's `in` to rank permutation[i], or to no rank if permutation[i] is -1. A rank that receives nothing
  // gets zeros in `out`.
  virtual absl::Status Permute(std::span<const std::byte> in, std::span<std::byte> out,
                               std::span<const int64_t> permutation) = 0;
  virtual absl::Status Broadcast(std::span<std::byte> data, int root) = 0;
  virtual absl::Status Barrier() = 0;

  // Makes every present and later call on this rank fail soon with `cause`, which must not be OK. Does not abort the
  // other ranks: their own processes call Abort, or their calls fail. Thread-safe. The first cause wins.
  virtual void Abort(const absl::Status& cause) = 0;
};

}  // namespace alpa::kernels
