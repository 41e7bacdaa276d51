// Errors without exceptions: the absl::Status helpers that every folder uses.
//
// The code tells the caller what to do:
//   kInvalidArgument     fix the input
//   kFailedPrecondition  the state is wrong; do not retry
//   kUnavailable         retry the same call
//   kAborted             repeat the work from the last good epoch
//   kResourceExhausted   memory or a quota is used up
//   kUnimplemented       this build does not support the request
//   kDataLoss            stored data is damaged
//   kInternal            a bug in this project
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace alpa {

// Returns the status with "context: " before its message. An OK status stays OK. Payloads are kept.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

// Shortens text from a user or another process for use in a message. If the text has more than 200 bytes, returns its
// first 200 bytes and its length, because messages travel in headers of bounded size.
std::string Excerpt(absl::string_view text);

template <typename... Args>
absl::Status InvalidArgument(const absl::FormatSpec<Args...>& format, const Args&... args) {
  return absl::InvalidArgumentError(absl::StrFormat(format, args...));
}
template <typename... Args>
absl::Status FailedPrecondition(const absl::FormatSpec<Args...>& format, const Args&... args) {
  return absl::FailedPreconditionError(absl::StrFormat(format, args...));
}
template <typename... Args>
absl::Status Unimplemented(const absl::FormatSpec<Args...>& format, const Args&... args) {
  return absl::UnimplementedError(absl::StrFormat(format, args...));
}
template <typename... Args>
absl::Status Internal(const absl::FormatSpec<Args...>& format, const Args&... args) {
  return absl::InternalError(absl::StrFormat(format, args...));
}

}  // namespace alpa

#define ALPA_CONCAT_INNER(a, b) a##b
#define ALPA_CONCAT(a, b) ALPA_CONCAT_INNER(a, b)

#define ALPA_RETURN_IF_ERROR(expr)              \
  do {                                          \
    if (absl::Status s_ = (expr); !s_.ok()) return s_; \
  } while (false)

#define ALPA_ASSIGN_OR_RETURN(lhs, expr) ALPA_ASSIGN_OR_RETURN_IMPL(ALPA_CONCAT(result_, __LINE__), lhs, expr)
#define ALPA_ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                               \
  if (!result.ok()) return std::move(result).status(); \
  lhs = std::move(result).value()

// Aborts the process if `condition` is false. Use it only for invariants of this code. No input, network message or
// solver result may be able to make `condition` false.
#define ALPA_CHECK(condition)                                                  \
  do {                                                                         \
    if (!(condition)) ::alpa::CheckFailed(#condition, __FILE__, __LINE__);     \
  } while (false)

namespace alpa {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}  // namespace alpa
