// Converts a UCX error into a Status.
#pragma once

#include <ucs/type/status.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace alpa::comm {

inline absl::Status UcxError(absl::string_view what, ucs_status_t status) {
  return absl::UnavailableError(absl::StrCat(what, ": UCX reports \"", ucs_status_string(status), "\""));
}

}  // namespace alpa::comm
