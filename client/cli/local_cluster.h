// Runs a coordinator and workers as child processes, on free loopback ports.
//
// Ownership: the destructor stops the processes (SIGTERM, then SIGKILL after 10 s) and removes their folder.
// Threads:   thread-compatible. Call Start from a thread that outlives the cluster: when that thread ends, the children
//            get SIGTERM.
// Errors:    kUnavailable with the reason word NO_DAEMON (outcome.h) if a daemon's program is missing. kUnavailable
//            without a reason word if a daemon does not start, or ends early; the message contains the end of its log.
//            kFailedPrecondition if the system cannot create a folder, a file or a process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace alpa::client {

struct LocalClusterOptions {
  int64_t workers = 1;
  int64_t devices_per_worker = 1;
  int64_t threads_per_device = 1;
};

class LocalCluster {
 public:
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(const LocalClusterOptions& options);
  ~LocalCluster();

  const std::string& address() const { return address_; }
  const std::string& http_address() const { return http_address_; }
  // Returns OK while all processes run. Otherwise the error names a process that ended, its exit code or signal, and
  // the end of its log.
  absl::Status Check();

 private:
  struct Child {
    std::string name;
    int pid = -1;
    int wait_status = 0;
    bool ended = false;
  };
  LocalCluster() = default;
  // Starts a process and waits until it has written its port file. Sets `grpc` to the gRPC address in the file, and
  // `http` to the HTTP address if the file has one.
  absl::Status StartChild(const std::string& name, const std::string& program, std::vector<std::string> arguments,
                          std::string* grpc, std::string* http);
  absl::Status WaitForWorkers(int64_t count);
  std::string LogTail(const std::string& name) const;

  std::string folder_, address_, http_address_;
  std::vector<Child> children_;
};

// Returns the path of a daemon's program. Searches the folder in ALPA_BIN, then the folder of this program, then PATH.
absl::StatusOr<std::string> FindDaemon(const std::string& name);

}  // namespace alpa::client
