// The machine on which this process runs: its identity, its processor, and the cores that the process may use.
//
// Threads: pure functions over system files.
// Errors:  none. A value that the system does not provide gets a default.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alpa::worker {

struct Machine {
  // Identifies the running kernel. All processes on one kernel have the same key, because they share the machine's
  // cores. This includes processes in other containers and network namespaces. The key changes at each boot and is
  // never empty.
  std::string host_key;
  std::string host_name;
  // An id of the machine that stays the same after a reboot. Copies of one disk image may have the same id.
  std::string lasting_id;
  std::string cpu_model;
  std::vector<int32_t> cpus;  // processors on which this process may run, in increasing order
  // The number of cores that the process may use: one per processor in `cpus`, or fewer if the control group of the
  // process, or a group above it, has a quota. Always positive.
  double cores = 0;
};

// Reads the facts from system files. `root` is put before each path; only tests need it.
Machine ReadMachine(const std::string& root = "");

// Returns the cores that quotas allow a process in these control groups, or 0 if there is no quota. `groups` is the
// text of /proc/self/cgroup.
double CoresOfQuota(const std::string& groups, const std::string& root);

}  // namespace alpa::worker
