#include "kernels/cpu/cpu_backend.h"
#include "tests/conformance/backend/suite.h"

namespace alpa::conformance {
namespace {

[[maybe_unused]] const bool registered = RegisterBackendSuite({
    .name = "cpu",
    .make = [](int devices) -> absl::StatusOr<std::unique_ptr<kernels::Backend>> {
      return kernels::cpu::MakeCpuBackend({.devices = devices, .threads_per_device = 2});
    },
});

}  // namespace
}  // namespace alpa::conformance
