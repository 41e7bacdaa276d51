// Guards one test case. Prints the name of the case if the process crashes. Fails the test if the case allocates too
// much memory or takes too much CPU time. guard.cc defines the limits.
//
// Threads: only one guard may exist at a time. The guard counts the allocations of all threads, because guard.cc
//          replaces operator new.
#pragma once

#include <cstddef>
#include <string>

namespace alpa::testing {

class CaseGuard {
 public:
  // `name` is printed if the process dies.
  explicit CaseGuard(const std::string& name);
  ~CaseGuard();   // fails the test if the case exceeded a limit

 private:
  const std::string name_;
  const double start_;
};

}  // namespace alpa::testing
