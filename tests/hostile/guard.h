// Watches one case: no crash without its name, no giant allocation, no long work.
#pragma once

#include <cstddef>
#include <string>

namespace alpa::testing {

class CaseGuard {
 public:
  // The name is printed when the process dies.
  explicit CaseGuard(const std::string& name);
  ~CaseGuard();   // fails the test when a limit was passed

 private:
  const std::string name_;
  const double start_;
};

}  // namespace alpa::testing
