// Reads the step of a job directory for test tools. alpa.save_job() writes such directories. Only the program is
// checked; the other files are trusted.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tests/interpreter/steps.h"

namespace alpa::testing {

struct SavedStep {
  Step step;             // with the simplified program, as the planner gets it
  int imported_ops = 0;  // number of ops before simplification
};

// Errors: those of graph::ImportHlo.
absl::StatusOr<SavedStep> ReadJobDirectory(const std::string& directory);

}  // namespace alpa::testing
