// One job epoch on this worker, from Prepare to Release: its programs, state, batches and aux, and the steps in flight.
//
// Model:     A driver thread prepares the job. The driver thread then enqueues accepted steps on the devices' streams,
//            up to kMaxStepsInFlight at a time. One waiter thread per device waits for the device's events. A step is
//            reported when all local devices have passed it. The first failure aborts the endpoints of all local
//            devices and makes the state invalid.
// Ownership: everything in Environment must outlive the job. Uploads and downloads share ownership of the job.
// Threads:   thread-safe. Only the destructor, WaitReleased and WaitIdle wait for steps or for other workers. A
//            Transfer waits for its copies, too. They queue behind steps if the host cannot address device memory.
// Errors:    carry the payloads of worker/core/errors.h.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "comm/transport.h"
#include "worker/core/buffer_sets.h"
#include "worker/core/device_executor.h"
#include "worker/core/job_ledger.h"

namespace alpa::worker {

// The largest number of a job's steps that are enqueued on the devices and not yet done.
inline constexpr size_t kMaxStepsInFlight = 16;

// The value of a small aux output, reported with its step.
struct InlineAux {
  int32_t output = 0;
  std::vector<std::byte> bytes;
};

struct StepCost {
  double seconds = 0;      // time of the slowest device
  int64_t sent_bytes = 0;  // by all devices of this worker, to other devices
  Bytes device_bytes = 0;  // maximum that a device of this worker uses at the end of the step
};

// Receives the reports of jobs. The calls for one job come one at a time and in order. An implementation must not block
// and must not call the job.
class JobSink {
 public:
  virtual ~JobSink() = default;
  // `seconds` is the time that preparing took. `temporary_bytes` is the temporary memory of the device that needs the
  // largest amount.
  virtual void OnPrepared(const std::string& job_id, uint64_t epoch, const absl::Status& status, double seconds,
                          Bytes temporary_bytes) = 0;
  virtual void OnStepDone(const std::string& job_id, uint64_t epoch, int64_t step, const absl::Status& status,
                          const StepCost& cost, std::vector<InlineAux> scalars) = 0;
  virtual void OnReleased(const std::string& job_id, uint64_t epoch) = 0;
};

enum class LeafKind { kState, kBatch, kAux };

class JobRuntime : public std::enable_shared_from_this<JobRuntime> {
 public:
  struct Spec {
    std::string job_id;
    uint64_t epoch = 0;
    // Parses the executable. The driver thread calls this function and verifies the executable.
    std::function<absl::StatusOr<plan::Executable>()> load;
    std::vector<Rank> ranks;
    uint64_t transport_epoch = 0;
    // Jobs that are being released and still hold devices of this job.
    std::vector<std::shared_ptr<JobRuntime>> wait_for;
  };
  struct Environment {
    kernels::Backend* backend = nullptr;
    comm::Transport* transport = nullptr;
    DeviceMemory* memory = nullptr;
    Clock* clock = nullptr;
    std::shared_ptr<JobSink> sink;   // may outlive the session to which it reports
  };
  // The oldest step in flight, and the time since it became the oldest.
  struct Progress {
    int64_t step = 0;
    double seconds = 0;
  };

  // Begins to prepare the job. The result goes to the sink's OnPrepared.
  static std::shared_ptr<JobRuntime> Start(Spec spec, Environment environment);
  ~JobRuntime();  // joins the driver thread. REQUIRES: Release was called, or preparing failed

  const std::string& job_id() const { return spec_.job_id; }
  uint64_t epoch() const { return spec_.epoch; }
  const std::vector<Rank>& ranks() const { return spec_.ranks; }

  // Queues steps. A refusal is reported as the result of the range's first step.
  void RunSteps(const StepRange& range);
  // Begins to abort running work and to free everything. The sink's OnReleased reports the end of the release. If the
  // job is already released, returns false, and the sink gets no call.
  bool Release(const absl::Status& cause);
  bool releasing() const;
  bool released() const;
  // Waits until the job is released. Returns false if the deadline passes first.
  bool WaitReleased(MonotonicTime deadline);
  // Drops accepted steps that are not enqueued yet, and waits for the enqueued steps. Returns false if the deadline
  // passes first.
  bool WaitIdle(MonotonicTime deadline);
  // Returns nothing if no step is in flight or the job is being released.
  std::optional<Progress> progress() const;

  class Transfer;
  // Begins a put of one region. The caller then writes the region's bytes in order. The region stays missing until
  // Finish succeeds. For state, `version` is the number of steps done. For a batch, it is the batch slot.
  absl::StatusOr<std::unique_ptr<Transfer>> BeginPut(LeafKind kind, int32_t leaf, int64_t version,
                                                     const Region& region);
  // Begins a get of one region. For state, `version` is the number of steps done. For aux, it is the step.
  absl::StatusOr<std::unique_ptr<Transfer>> BeginGet(LeafKind kind, int32_t leaf, int64_t version,
                                                     const Region& region);

 private:
  enum class Phase { kPreparing, kReady, kReleased };
  struct Step;
  struct Device;

  JobRuntime(Spec spec, Environment environment);

  void Drive();
  absl::Status Prepare();
  void DriveSteps();
  bool NextStep(int64_t* step, int32_t* batch_slot);
  absl::Status EnqueueStep(int64_t step, int32_t batch_slot);
  void TearDown();

  void Follow(int local);
  void Arrive(const std::shared_ptr<Step>& step, const absl::Status& status);
  void ReportFinishedSteps();
  void Fail(const absl::Status& cause);
  void AbortDevices(const absl::Status& cause);

  absl::Status CheckReady() const ALPA_REQUIRES(mutex_);
  absl::StatusOr<BufferSet*> BatchBuffers(int64_t slot) ALPA_REQUIRES(mutex_);
  kernels::Buffer* TileBuffer(const Transfer& transfer, const Tile& tile) ALPA_REQUIRES(mutex_);

  Spec spec_;
  const Environment environment_;
  DeviceCopy copy_;
  CancelCell cancel_;

  // Only the driver thread writes the following members, in Prepare and TearDown. Other threads read them while phase_
  // is kReady.
  plan::Executable executable_;
  JobLayout layout_;
  ChannelTable channels_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<bool> wanted_batch_, wanted_aux_;
  BufferSetPool aux_pool_;

  mutable Mutex mutex_;
  CondVar changed_;
  Phase phase_ ALPA_GUARDED_BY(mutex_) = Phase::kPreparing;
  bool releasing_ ALPA_GUARDED_BY(mutex_) = false;
  bool report_release_ ALPA_GUARDED_BY(mutex_) = false;   // Release was called, so OnReleased must report the end
  bool enqueuing_ ALPA_GUARDED_BY(mutex_) = false;        // a step has left queued_ and is not yet in in_flight_
  bool failure_reported_ ALPA_GUARDED_BY(mutex_) = false;
  absl::Status release_cause_ ALPA_GUARDED_BY(mutex_);
  JobLedger ledger_ ALPA_GUARDED_BY(mutex_);
  std::deque<StepRange> queued_ ALPA_GUARDED_BY(mutex_);  // accepted, not enqueued; NextStep takes one step at a time
  std::deque<std::shared_ptr<Step>> in_flight_ ALPA_GUARDED_BY(mutex_);
  int state_accesses_ ALPA_GUARDED_BY(mutex_) = 0;        // copies of state that are in progress
  int other_accesses_ ALPA_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, std::unique_ptr<BufferSet>> batches_ ALPA_GUARDED_BY(mutex_);
  std::map<int64_t, std::shared_ptr<BufferSet>> kept_aux_ ALPA_GUARDED_BY(mutex_);
  MonotonicTime running_since_ ALPA_GUARDED_BY(mutex_){};

  Mutex report_mutex_;  // keeps reports in order; taken before mutex_
  Mutex abort_mutex_;   // guards the existence of the devices' groups; no other lock of the job is taken under it
  bool can_abort_ ALPA_GUARDED_BY(abort_mutex_) = false;

  std::thread driver_;
};

// A put or get of one region. Not thread-safe: one caller uses it.
class JobRuntime::Transfer {
 public:
  ~Transfer();
  int64_t size() const { return size_; }  // bytes of the region
  // Writes the next bytes of a put. Fails if the put has more than size() bytes, or if the job has failed or is being
  // released. After a failure, the caller drops the transfer.
  absl::Status Write(std::span<const std::byte> data);
  // Ends a put whose bytes were all written. The region then counts as put. kInvalidArgument if bytes are missing.
  absl::Status Finish();
  // Reads the next bytes of a get, at most size() in total.
  absl::Status Read(std::span<std::byte> data);

 private:
  friend class JobRuntime;
  struct Piece {
    int device = -1;
    kernels::Buffer* buffer = nullptr;
    plan::BoxWalk walk;
  };
  Transfer() = default;
  absl::Status Enter();
  void Leave();

  std::shared_ptr<JobRuntime> job_;
  LeafKind kind_ = LeafKind::kState;
  bool put_ = false;
  int32_t leaf_ = 0;
  int64_t version_ = 0;
  Region region_;
  int64_t size_ = 0, position_ = 0;
  bool ended_ = false;
  std::vector<Piece> pieces_;
  std::shared_ptr<BufferSet> aux_;
};

}  // namespace alpa::worker
