// Amounts with units, as people write them: "40 GB", "600 GB/s", "25 Gb/s", "312 TFLOP/s", "5 us".
//
// Model:   a number, an SI prefix (none, k, M, G, T, P; Ki, Mi, Gi, Ti for bytes; p, n, u, m for seconds) and the unit.
// A capital B
//          is bytes, a small b bits: an eighth.
// Threads: pure functions.
// Errors:  kInvalidArgument that shows what was seen and two examples of what is expected.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace alpa::cluster {

enum class Unit { kBytes, kBytesPerSecond, kFlopsPerSecond, kSeconds };

// In bytes, bytes per second, operations per second or seconds: finite and not negative.
absl::StatusOr<double> ParseQuantity(absl::string_view text, Unit unit);
// Examples of the unit, for messages: "40 GB" or "16 GiB".
absl::string_view ExamplesOf(Unit unit);

}  // namespace alpa::cluster
