// The step of a job directory, as alpa.save_job() writes it, for the tools of tests. Trusts what it reads but the program.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tests/interpreter/steps.h"

namespace alpa::testing {

struct SavedStep {
  Step step;             // simplified, as it is planned
  int imported_ops = 0;  // before that
};

// Errors: of the HLO import.
absl::StatusOr<SavedStep> ReadJobDirectory(const std::string& directory);

}  // namespace alpa::testing
