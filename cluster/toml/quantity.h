// Parses amounts with units: "40 GB", "600 GB/s", "25 Gb/s", "312 TFLOP/s", "5 us".
//
// Model:   An amount is a number, an optional prefix and a unit. The prefixes are k, M, G, T and P. Bytes also have Ki,
//          Mi, Gi and Ti. Seconds have only p, n, u and m. A capital B means bytes. A small b means bits.
// Threads: pure functions.
// Errors:  kInvalidArgument shows the observed text and two examples of allowed text.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace alpa::cluster {

enum class Unit { kBytes, kBytesPerSecond, kFlopsPerSecond, kSeconds };

// Returns the amount in bytes, bytes per second, operations per second or seconds. The result is finite and not
// negative.
absl::StatusOr<double> ParseQuantity(absl::string_view text, Unit unit);
// Returns examples of amounts in this unit, for an error message: "40 GB" or "16 GiB".
absl::string_view ExamplesOf(Unit unit);

}  // namespace alpa::cluster
