// The machine that this process runs on, as far as it tells: who it is, its processor, and how much of it we may use.
//
// Threads: pure functions over files of the system. What a system does not tell is left empty or 0; nothing fails.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace alpa::worker {

struct Machine {
  // Equal in all processes on one kernel, also in other containers and network namespaces, since they share its cores; new at
  // each boot. Never empty.
  std::string host_key;
  std::string host_name;
  // The same after a reboot. Copies of one disk image may have it in common.
  std::string lasting_id;
  std::string cpu_model;
  std::vector<int32_t> cpus;  // processors that we may run on, increasing
  double cores = 0;           // of them, that we may use: a quota of our control group, or of one above it, can make it less
};

// `root` stands before all paths of the system; for tests.
Machine ReadMachine(const std::string& root = "");

// Cores that a quota allows a process of these control groups (the text of /proc/self/cgroup); 0: no quota.
double CoresOfQuota(const std::string& groups, const std::string& root);

}  // namespace alpa::worker
