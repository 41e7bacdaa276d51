// A JobSink that records all reports and lets a test wait for them.
#pragma once

#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "worker/core/job_runtime.h"

namespace alpa::worker {

class RecordingSink : public JobSink {
 public:
  struct StepReport {
    int64_t step = 0;
    absl::Status status;
    StepCost cost;
    std::vector<InlineAux> scalars;
  };

  void OnPrepared(const std::string& job_id, uint64_t epoch, const absl::Status& status, double seconds,
                  Bytes temporary_bytes) override {
    std::lock_guard lock(mutex_);
    prepared_[job_id].push_back(status);
    changed_.notify_all();
  }
  void OnStepDone(const std::string& job_id, uint64_t epoch, int64_t step, const absl::Status& status,
                  const StepCost& cost, std::vector<InlineAux> scalars) override {
    std::lock_guard lock(mutex_);
    steps_[job_id].push_back({step, status, cost, std::move(scalars)});
    changed_.notify_all();
  }
  void OnReleased(const std::string& job_id, uint64_t epoch) override {
    std::lock_guard lock(mutex_);
    ++released_[job_id];
    changed_.notify_all();
  }

  // Each of the next three functions waits up to 20 s for the n-th report of its kind (n from 1). If there is no such
  // report, Prepared and Step return kDeadlineExceeded, and Released returns false.
  absl::Status Prepared(const std::string& job_id, size_t n = 1) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, kPatience, [&] { return prepared_[job_id].size() >= n; });
    return came ? prepared_[job_id][n - 1] : absl::DeadlineExceededError("no OnPrepared within 20 s");
  }
  StepReport Step(const std::string& job_id, size_t n = 1) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, kPatience, [&] { return steps_[job_id].size() >= n; });
    return came ? steps_[job_id][n - 1]
                : StepReport{-1, absl::DeadlineExceededError("no OnStepDone within 20 s"), {}, {}};
  }
  bool Released(const std::string& job_id, int n = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return released_[job_id] >= n; });
  }
  // Returns the number of step reports so far.
  size_t reports(const std::string& job_id) {
    std::lock_guard lock(mutex_);
    return steps_[job_id].size();
  }

 private:
  static constexpr std::chrono::seconds kPatience{20};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<absl::Status>> prepared_;
  std::map<std::string, std::vector<StepReport>> steps_;
  std::map<std::string, int> released_;
};

template <typename T>
T ScalarOf(const InlineAux& aux) {
  T value{};
  if (aux.bytes.size() == sizeof(T)) std::memcpy(&value, aux.bytes.data(), sizeof(T));
  return value;
}

}  // namespace alpa::worker
