// Cleans text from outside (programs, workers, compilers) for use in records, protobuf strings and JSON.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace alpa::coordinator {

// Replaces each byte that is not valid UTF-8 with "?". If the result is longer than `max_bytes`, cuts it between
// characters and appends "...".
std::string CleanText(absl::string_view text, size_t max_bytes);

}  // namespace alpa::coordinator
