// What a job's state, batches and aux are at any moment: decides which steps, puts and gets are right now. Pure
// book-keeping: holds no buffers, starts nothing.
//
// Model:   steps count from 1. The version is the number of steps done; steps between it and the last accepted one are
//          queued or running. State may be put and read only when none is. A batch slot may be put when no queued or
//          running step reads it. A failure makes state and aux invalid for good: torn state is never served.
// Threads: thread-compatible; the owner locks.
// Errors:  with the reason word (worker/core/errors.h) that clients act on.
#pragma once

#include <map>
#include <vector>

#include "absl/status/status.h"
#include "worker/core/coverage.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

inline constexpr int32_t kMaxBatchSlots = 1024;
inline constexpr int64_t kMaxStepsPerCommand = 10'000'000;
inline constexpr int64_t kKeptAuxSteps = 16;

struct StepRange {
  int64_t first_step = 0;
  int64_t count = 0;
  int32_t first_batch_slot = 0;
  int32_t batch_slots = 0;   // step i (from 0) of the range uses first_batch_slot + i % batch_slots
  int32_t cycle = 0;         // where in this cycle first_step stands
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

  // OK: the steps are queued. Otherwise nothing changed.
  absl::Status AcceptSteps(const StepRange& range);
  // REQUIRES: step == version() + 1 <= accepted().
  void StepDone(int64_t step);
  // The job is over; the first cause stays, except that a primary one replaces a secondary one.
  void Fail(const absl::Status& cause);

  // `leaf` is a graph parameter of the right kind; `region` lies in it (checked here).
  absl::Status BeginPutState(int32_t leaf, int64_t version, const Region& region);
  void EndPutState(int32_t leaf, const Region& region, bool complete);
  absl::Status BeginPutBatch(int32_t leaf, int64_t slot, const Region& region);
  void EndPutBatch(int32_t leaf, int64_t slot, const Region& region, bool complete);

  // Whether `region` (of what lies here) can be read at this moment.
  absl::Status CheckGetState(int32_t leaf, int64_t version, const Region& region) const;
  absl::Status CheckGetAux(int32_t leaf, int64_t step) const;

 private:
  struct BatchSlot {
    std::map<int32_t, Coverage> leaves;
    int64_t last_reader = 0;
  };
  absl::Status CheckLeaf(int32_t leaf, bool state, const Region& region) const;
  absl::Status Failed() const;

  const JobLayout* layout_ = nullptr;
  std::map<int32_t, Coverage> state_;
  std::map<int32_t, Coverage> batch_;          // of a fresh slot
  std::map<int64_t, BatchSlot> slots_;
  int64_t version_ = 0, accepted_ = 0;
  absl::Status failure_;
};

// OK, or kInvalidArgument: `region` has the leaf's rank and lies inside of it.
absl::Status CheckRegion(const LeafLayout& leaf, const Region& region);

}  // namespace alpa::worker
