// Runs a coordinator and workers as child processes, on free loopback ports.
//
// Ownership: the destructor stops the processes (SIGTERM, then SIGKILL after 10 s) and removes their folder.
// Threads:   thread-compatible. When the thread that called Start ends, the child processes get SIGTERM, so that
//            thread must outlive the cluster.
// Errors:    kUnavailable with the reason word NO_DAEMON (outcome.h) if a daemon's program is missing. kUnavailable
//            without a reason word if a daemon does not start, or ends early. Such a message ends with its log.
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
  // Returns OK while all processes run. Otherwise returns an error with the name of a process that has ended, its exit
  // code or signal, and the last lines of its log.
  absl::Status Check();

 private:
  struct Child {
    std::string name;
    int pid = -1;
    int wait_status = 0;
    bool ended = false;
  };
  LocalCluster() = default;
  // Starts a process and waits until it has written its port file. Sets `grpc` to the gRPC address in the file. If the
  // file has an HTTP address, sets `http` to it.
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
