// Moves tensors between this process's memory and the workers of one job, past the coordinator.
//
// Model:     each leaf is cut as it lies on the workers, and large parts further; the pieces go over several
// connections
//            at once. State and batch bytes are read from the caller's memory (a mapped file) as they are sent, so a
//            put needs no copy of the leaf.
// Ownership: the placement is copied; spans must stay good during a call.
// Threads:   thread-compatible; calls block until every piece is done or has failed.
// Errors:    the first failure of any piece, naming worker and leaf. What was written by then is undefined. A worker
// that
//            does not answer: kUnavailable, WORKER_UNREACHABLE (a reason word of outcome.h).
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
    int64_t version = 0;  // as LeafRef's: of state, or the batch slot
    std::span<const uint8_t> bytes;
  };
  struct Target {
    int leaf = 0;  // graph parameter for STATE, graph result for AUX
    std::span<uint8_t> bytes;
  };

  // `interruption` may be null.
  TensorLink(std::string job_id, Placement placement, Interruption* interruption);
  ~TensorLink();

  // Writes whole leaves to all workers that hold a part of them. REQUIRES: the spans have the leaves' sizes.
  absl::Status Put(Kind kind, const std::vector<Source>& sources);
  // Reads whole leaves; `version` is as LeafRef's: of state, or the step of aux.
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
  std::vector<std::vector<std::unique_ptr<proto::TensorService::Stub>>> stubs_;  // by worker
};

}  // namespace alpa::client
