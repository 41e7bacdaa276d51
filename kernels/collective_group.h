// The collectives through which a device program communicates with the other devices of its mesh. Declared here, next
// to the backend that calls them; implemented in comm/.
//
// Model:     n ranks, one per device. All ranks call the same collectives in the same order with the same sizes. A call
//            is issued from the device's stream. The result is in place when the stream has passed the call. On CPU,
//            the stream is the calling thread, so a call blocks until it is done.
// Errors:    after Abort, any call fails with the abort's status, including calls that were blocked at that time. After
//            a failure, the group is unusable: make a new one in a new epoch.
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

  // data = the reduction of all ranks' data, element by element, in place. f16 and bf16 accumulate in f32.
  virtual absl::Status AllReduce(std::span<std::byte> data, graph::DType dtype, graph::ReduceKind kind) = 0;
  // out = every rank's `in`, in rank order. REQUIRES: out.size() == size() * in.size().
  virtual absl::Status AllGather(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // out = this rank's block of the reduction of `in`. REQUIRES: in.size() == size() * out.size().
  virtual absl::Status ReduceScatter(std::span<const std::byte> in, std::span<std::byte> out, graph::DType dtype,
                                     graph::ReduceKind kind) = 0;
  // Block i of `in` goes to rank i; block j of `out` came from rank j. REQUIRES: equal sizes, divisible by size().
  virtual absl::Status AllToAll(std::span<const std::byte> in, std::span<std::byte> out) = 0;
  // Rank i's `in` goes to rank permutation[i], or nowhere if that is -1. A rank that receives nothing gets zeros in
  // `out`.
  virtual absl::Status Permute(std::span<const std::byte> in, std::span<std::byte> out,
                               std::span<const int64_t> permutation) = 0;
  virtual absl::Status Broadcast(std::span<std::byte> data, int root) = 0;
  virtual absl::Status Barrier() = 0;

  // Makes every present and later call on this rank fail soon with `cause` (not OK). The other ranks are aborted by
  // their own processes, or their calls fail. Thread-safe. The first cause wins.
  virtual void Abort(const absl::Status& cause) = 0;
};

}  // namespace alpa::kernels
