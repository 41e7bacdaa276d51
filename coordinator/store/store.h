// Storage that survives `kill -9`. For each job, it holds the last state that Record has written, and the job's events.
//
// Threads: thread-compatible; the lock that guards the core guards the store.
// Errors:  kUnavailable if the disk fails; the failed call has recorded nothing.
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
  // Writes the job's current state and the event that led to this state, both or neither. Both are on disk when Record
  // returns. Only the first record of a job writes the request.
  virtual absl::Status Record(const StoredJob& job, const StoredEvent& event) = 0;
  virtual absl::Status Remove(const std::string& job_id) = 0;
  // Returns all jobs, in the order of their first record.
  virtual absl::StatusOr<std::vector<StoredJob>> Jobs() = 0;
  virtual absl::StatusOr<std::vector<StoredEvent>> Events(const std::string& job_id) = 0;
  // Returns the cluster epoch: a number that grows with each call. The coordinator calls this once per start.
  virtual absl::StatusOr<uint64_t> NextEpoch() = 0;
};

// Opens or creates the SQLite database file `path` (WAL, synchronous=FULL). kUnavailable if the file cannot be opened
// or another process uses it; kDataLoss if the file is damaged.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);

}  // namespace alpa::coordinator
