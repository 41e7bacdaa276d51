// A backend that runs programs by the reference evaluator: the plainest thing that obeys kernels/backend.h.
// It shows what the conformance suite asks for, and proves that the suite can pass.
//
// Not quick, and a program's collectives work on whole arrays. Memory is the host's.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace alpa::conformance {

absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeReferenceBackend(int devices);

}  // namespace alpa::conformance
