// Tracks the state, batches and aux of a job, and decides which steps, puts and gets are allowed at the moment. It
// holds no buffers and starts no work.
//
// Model:   steps count from 1. The version is the number of steps done. Steps with larger numbers, up to the last
//          accepted step, are queued or running. State may be put and read only if no step is queued or running. A
//          batch slot may be put if no queued or running step reads it. A failure makes state and aux invalid
//          permanently, because a failed step can leave state half-updated.
// Threads: thread-compatible; the owner locks.
// Errors:  carry the reason word (worker/core/errors.h) that clients act on.
#pragma once

#include <map>
#include <vector>

#include "absl/status/status.h"
#include "worker/core/coverage.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

// The largest number of batch slots of a job, and of steps in one StepRange. The coordinator has the same limits.
inline constexpr int32_t kMaxBatchSlots = 1024;
inline constexpr int64_t kMaxStepsPerCommand = 10'000'000;
// The aux outputs of this number of latest steps are kept.
inline constexpr int64_t kKeptAuxSteps = 16;

struct StepRange {
  int64_t first_step = 0;
  int64_t count = 0;
  int32_t first_batch_slot = 0;
  int32_t batch_slots = 0;   // step `i` (from 0) uses slot first_batch_slot + (cycle + i) % batch_slots
  int32_t cycle = 0;         // first_step's slot is first_batch_slot + cycle
  int32_t first_slot() const { return first_batch_slot + cycle; }
};

class JobLedger {
 public:
  JobLedger() = default;
  explicit JobLedger(const JobLayout& layout);

  int64_t version() const { return version_; }
  int64_t accepted() const { return accepted_; }
  bool idle() const { return accepted_ == version_; }
  const absl::Status& failure() const { return failure_; }

  // Accepts the steps as queued. An error changes nothing.
  absl::Status AcceptSteps(const StepRange& range);
  // REQUIRES: step == version() + 1 <= accepted().
  void StepDone(int64_t step);
  // Records that the job failed. Keeps the first cause, but a primary cause replaces a secondary one.
  void Fail(const absl::Status& cause);

  // Begin or end a put. Begin fails if the put is not allowed at the moment, if `leaf` is not a graph parameter of the
  // right kind, or if `region` is not inside the leaf.
  absl::Status BeginPutState(int32_t leaf, int64_t version, const Region& region);
  void EndPutState(int32_t leaf, const Region& region, bool complete);
  absl::Status BeginPutBatch(int32_t leaf, int64_t slot, const Region& region);
  void EndPutBatch(int32_t leaf, int64_t slot, const Region& region, bool complete);

  // Return OK if the data can be read at the moment. CheckGetState ignores the parts of `region` that other workers
  // hold.
  absl::Status CheckGetState(int32_t leaf, int64_t version, const Region& region) const;
  absl::Status CheckGetAux(int32_t leaf, int64_t step) const;

 private:
  struct BatchSlot {
    std::map<int32_t, Coverage> leaves;
    int64_t last_reader = 0;                   // the last accepted step that reads the slot; 0: none
  };
  absl::Status CheckLeaf(int32_t leaf, bool state, const Region& region) const;
  absl::Status Failed() const;

  const JobLayout* layout_ = nullptr;
  std::map<int32_t, Coverage> state_;
  std::map<int32_t, Coverage> batch_;          // the coverage of any batch slot before its first put
  std::map<int64_t, BatchSlot> slots_;
  int64_t version_ = 0, accepted_ = 0;
  absl::Status failure_;
};

// Returns OK if `region` has the leaf's rank and is inside the leaf, otherwise kInvalidArgument.
absl::Status CheckRegion(const LeafLayout& leaf, const Region& region);

}  // namespace alpa::worker
