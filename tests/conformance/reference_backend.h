// A backend that runs programs with the reference evaluator. It is the simplest implementation of kernels/backend.h. It
// shows what the conformance suite requires, and that a backend can pass the suite.
//
// The backend is slow. Its buffers are in host memory.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace alpa::conformance {

absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeReferenceBackend(int devices);

}  // namespace alpa::conformance
