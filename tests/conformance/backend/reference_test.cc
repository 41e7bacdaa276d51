#include "tests/conformance/backend/suite.h"
#include "tests/conformance/reference_backend.h"

namespace alpa::conformance {
namespace {

[[maybe_unused]] const bool registered = RegisterBackendSuite({
    .name = "reference",
    .make = [](int devices) { return MakeReferenceBackend(devices); },
});

}  // namespace
}  // namespace alpa::conformance
