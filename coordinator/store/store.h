// What must survive `kill -9`: jobs as they were last acknowledged, and the events of their lives.
//
// Threads: thread-compatible; the core's owner locks.
// Errors:  kUnavailable where the disk fails; nothing was then recorded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::coordinator {

struct StoredEvent {
  int64_t sequence = 0;  // 1, 2, ... within the job
  int64_t unix_ms = 0;
  std::string kind, message;
};
struct StoredJob {
  std::string job_id;
  std::string request;  // serialized SubmitRequest
  std::string job;      // serialized Job
};

class Store {
 public:
  virtual ~Store() = default;
  // Records the job's present state together with the event that led to it: both or neither, on disk when it returns.
  virtual absl::Status Record(const StoredJob& job, const StoredEvent& event) = 0;
  virtual absl::Status Remove(const std::string& job_id) = 0;
  // All jobs, in the order of their first record.
  virtual absl::StatusOr<std::vector<StoredJob>> Jobs() = 0;
  virtual absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) = 0;
  // A number that grows with every start on this store: the cluster epoch.
  virtual absl::StatusOr<uint64_t> NextEpoch() = 0;
};

// `path` of the database file (WAL, synchronous=FULL). kUnavailable where it cannot be opened or is in use by another
// process; kDataLoss where it is damaged.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);

}  // namespace alpa::coordinator
