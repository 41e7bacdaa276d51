// Moves tensors directly between this process and the workers of one job, without the coordinator.
//
// Model:     A TensorLink cuts each leaf into the parts that workers hold, and cuts large parts into pieces. One call
//            moves one piece. Pieces move over several connections at once. Put sends directly from the caller's memory
//            (a mapped file) and makes no copy of the leaf.
// Ownership: holds a copy of the placement. The spans in the arguments must stay valid during a call.
// Threads:   thread-compatible. Calls block until every piece is done or has failed.
// Errors:    the first error of any piece. Its message names the worker and the leaf. After an error, the content of
//            the targets is undefined. kUnavailable with the reason word WORKER_UNREACHABLE (outcome.h) if a worker
//            does not answer.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/lib/interruption.h"
#include "client/lib/placement.h"
#include "proto/tensor_service.grpc.pb.h"

namespace alpa::client {

class TensorLink {
 public:
  using Kind = proto::LeafRef::Kind;
  struct Source {
    int leaf = 0;         // graph parameter
    int64_t version = 0;  // the version of the state, or the batch slot (LeafRef)
    std::span<const uint8_t> bytes;
  };
  struct Target {
    int leaf = 0;  // graph parameter for STATE, graph result for AUX
    std::span<uint8_t> bytes;
  };

  // `interruption` may be null.
  TensorLink(std::string job_id, Placement placement, Interruption* interruption);
  ~TensorLink();

  // Writes complete leaves. Sends each part to all workers that hold it. REQUIRES: each span has the size of its leaf.
  absl::Status Put(Kind kind, const std::vector<Source>& sources);
  // Reads complete leaves. `version` (LeafRef): the version of the state, or the step of the aux output. REQUIRES: each
  // span has the size of its leaf.
  absl::Status Get(Kind kind, int64_t version, const std::vector<Target>& targets);

  const Placement& placement() const { return placement_; }

 private:
  struct Piece;
  absl::Status RunAll(std::vector<Piece> pieces);
  absl::Status RunPut(const Piece& piece, Call& call);
  absl::Status RunGet(const Piece& piece, Call& call);
  std::string NameOf(const Piece& piece) const;
  proto::TensorService::Stub& Pick(int worker, size_t turn);

  const std::string job_id_;
  const Placement placement_;
  Interruption* const interruption_;
  std::vector<std::vector<std::unique_ptr<proto::TensorService::Stub>>> stubs_;  // one entry per worker
};

}  // namespace alpa::client
