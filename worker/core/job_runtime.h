// One job epoch on this worker, from Prepare to Release: its programs, state, batches and aux, and the steps in flight.
//
// Model:     A driver thread prepares, then enqueues accepted steps on the devices' streams, up to 16 ahead of the one that
//            runs. One waiter thread a device follows that device's events; the step is reported when all local devices
//            have passed it. The first failure aborts the endpoints of all local devices and makes the state invalid.
// Ownership: everything in Environment must outlive it. Uploads and downloads share it.
// Threads:   thread-safe. No call waits for a step or for another worker, except Join, WaitReleased and WaitIdle.
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

inline constexpr size_t kMaxStepsInFlight = 16;

struct InlineAux {
  int32_t output = 0;
  std::vector<std::byte> bytes;
};

struct StepCost {
  double seconds = 0;      // of the slowest device
  int64_t sent_bytes = 0;  // by all devices of this worker, to other devices
  Bytes device_bytes = 0;  // in use at the end, on the device of this worker that uses most
};

// What a job tells. Calls come one at a time for a job, in order; they must not block and not call back.
class JobSink {
 public:
  virtual ~JobSink() = default;
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
    // Parses the executable; called on the driver thread. It is verified there.
    std::function<absl::StatusOr<plan::Executable>()> load;
    std::vector<Rank> ranks;
    uint64_t transport_epoch = 0;
    // Jobs on their way out that still hold devices of this one.
    std::vector<std::shared_ptr<JobRuntime>> wait_for;
  };
  struct Environment {
    kernels::Backend* backend = nullptr;
    comm::Transport* transport = nullptr;
    DeviceMemory* memory = nullptr;
    Clock* clock = nullptr;
    std::shared_ptr<JobSink> sink;   // outlives the session that it speaks to
  };
  struct Progress {
    int64_t step = 0;
    double seconds = 0;
  };

  // Begins to prepare; the sink hears of the result.
  static std::shared_ptr<JobRuntime> Start(Spec spec, Environment environment);
  ~JobRuntime();  // REQUIRES: Release was called; joins

  const std::string& job_id() const { return spec_.job_id; }
  uint64_t epoch() const { return spec_.epoch; }
  const std::vector<Rank>& ranks() const { return spec_.ranks; }

  // Queues steps; a refusal is reported as the first step's result.
  void RunSteps(const StepRange& range);
  // Stops what runs and frees everything; the sink hears OnReleased when that is done. False: it was over before, and
  // the sink hears nothing.
  bool Release(const absl::Status& cause);
  bool releasing() const;
  bool released() const;
  bool WaitReleased(MonotonicTime deadline);
  // Drops steps that have not begun to be enqueued and waits for those that have. False where the time came first.
  bool WaitIdle(MonotonicTime deadline);
  std::optional<Progress> progress() const;

  class Transfer;
  // A put of one region; its bytes are then written in order. Broken off unless Finish succeeds.
  absl::StatusOr<std::unique_ptr<Transfer>> BeginPut(LeafKind kind, int32_t leaf, int64_t version, const Region& region);
  absl::StatusOr<std::unique_ptr<Transfer>> BeginGet(LeafKind kind, int32_t leaf, int64_t version, const Region& region);

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

  // Written by the driver in Prepare and TearDown only; read by others when phase_ is kReady.
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
  bool tell_release_ ALPA_GUARDED_BY(mutex_) = false;     // somebody asked for it
  bool enqueuing_ ALPA_GUARDED_BY(mutex_) = false;        // a step is between queued_ and in_flight_
  bool failure_reported_ ALPA_GUARDED_BY(mutex_) = false;
  absl::Status release_cause_ ALPA_GUARDED_BY(mutex_);
  JobLedger ledger_ ALPA_GUARDED_BY(mutex_);
  std::deque<StepRange> queued_ ALPA_GUARDED_BY(mutex_);  // accepted, not yet enqueued; the front is consumed step by step
  std::deque<std::shared_ptr<Step>> in_flight_ ALPA_GUARDED_BY(mutex_);
  int state_accesses_ ALPA_GUARDED_BY(mutex_) = 0;        // copies of state under way at this moment
  int other_accesses_ ALPA_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, std::unique_ptr<BufferSet>> batches_ ALPA_GUARDED_BY(mutex_);
  std::map<int64_t, std::shared_ptr<BufferSet>> kept_aux_ ALPA_GUARDED_BY(mutex_);
  MonotonicTime running_since_ ALPA_GUARDED_BY(mutex_){};

  Mutex report_mutex_;  // keeps reports in order; taken before mutex_
  Mutex abort_mutex_;   // devices_' groups exist or not; never held while taking another of ours
  bool can_abort_ ALPA_GUARDED_BY(abort_mutex_) = false;

  std::thread driver_;
};

// A region on its way in or out. Not thread-safe; used by one caller.
class JobRuntime::Transfer {
 public:
  ~Transfer();
  int64_t size() const { return size_; }  // bytes of the region
  // The next bytes of a put. Error: more than size(), or the job moved on; then give up.
  absl::Status Write(std::span<const std::byte> data);
  // After all bytes of a put: the region counts as put. kInvalidArgument where bytes are missing.
  absl::Status Finish();
  // The next bytes of a get, at most size() in all.
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
