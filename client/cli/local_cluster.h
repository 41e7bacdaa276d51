// A coordinator and workers as child processes of this one, on free loopback ports.
//
// Ownership: the destructor stops the processes (SIGTERM, then SIGKILL after 10 s) and removes their folder.
// Threads:   thread-compatible; Start must be called by the thread that lives longest, since the children end with it.
// Errors:    kUnavailable, NO_DAEMON (a reason word of outcome.h), where the daemons' programs are not there, or one
// does
//            not start or ends: then with the end of its log.
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
  // OK while all processes live; else which one ended, how, and the end of its log.
  absl::Status Check();

 private:
  struct Child {
    std::string name;
    int pid = -1;
    int wait_status = 0;
    bool ended = false;
  };
  LocalCluster() = default;
  // Returns when the process has written its port file.
  absl::Status StartChild(const std::string& name, const std::string& program, std::vector<std::string> arguments,
                          std::string* grpc, std::string* http);
  absl::Status WaitForWorkers(int64_t count);
  std::string LogTail(const std::string& name) const;

  std::string folder_, address_, http_address_;
  std::vector<Child> children_;
};

// Beside this program, in the folder that ALPA_BIN names, or in PATH.
absl::StatusOr<std::string> FindDaemon(const std::string& name);

}  // namespace alpa::client
