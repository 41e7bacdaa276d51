// Text from elsewhere (programs, workers, compilers) made fit for records, protobuf strings and JSON.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace alpa::coordinator {

// What is not UTF-8 becomes "?", and beyond `max_bytes` the text is cut, between characters, and ends with "...".
std::string CleanText(absl::string_view text, size_t max_bytes);

}  // namespace alpa::coordinator
