// An in-memory Store for tests. A test can make the store fail. Like a disk, the store outlives the core that writes to
// it.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/store/store.h"

namespace alpa::coordinator {

class FakeStore : public Store {
 public:
  // While `failure` is not OK, every write returns `failure` and changes nothing.
  absl::Status failure;

  absl::Status Record(const StoredJob& job, const StoredEvent& event) override {
    ALPA_RETURN_IF_ERROR(failure);
    auto at =
        std::find_if(jobs_.begin(), jobs_.end(), [&](const StoredJob& known) { return known.job_id == job.job_id; });
    if (at == jobs_.end()) {
      jobs_.push_back(job);
    } else {
      at->job = job.job;
    }
    events_[job.job_id].push_back(event);
    return absl::OkStatus();
  }
  absl::Status Remove(const std::string& job_id) override {
    ALPA_RETURN_IF_ERROR(failure);
    std::erase_if(jobs_, [&](const StoredJob& job) { return job.job_id == job_id; });
    events_.erase(job_id);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<StoredJob>> Jobs() override { return jobs_; }
  absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) override { return events_[job_id]; }
  absl::StatusOr<uint64_t> NextEpoch() override {
    ALPA_RETURN_IF_ERROR(failure);
    return ++epoch_;
  }

 private:
  std::vector<StoredJob> jobs_;
  std::map<std::string, std::vector<StoredEvent>> events_;
  uint64_t epoch_ = 0;
};

}  // namespace alpa::coordinator
