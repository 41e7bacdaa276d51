// The messages that the coordinator and a planner process exchange over a socket.
//
// Model:   A message is a frame: one byte for its kind, eight bytes for the size of the payload (little-endian), and
//          the payload. The coordinator sends a task and a program. The planner process sends any number of progress
//          texts, then the executable if there is one, then the answer. The program and the executable have separate
//          frames. As fields of a protobuf message, they would be subject to its limit of 2 GiB.
// Threads: pure functions; FrameReader is thread-compatible.
// Errors:  kInvalidArgument if the other side breaks these rules. The received bytes are not trusted: every size is
//          bounded, and memory grows only with the bytes that arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/core/records.h"

namespace alpa::coordinator {

enum class FrameKind : uint8_t { kTask = 1, kProgram = 2, kProgress = 3, kExecutable = 4, kAnswer = 5 };

// Returns the maximum size of the payload of a frame of this kind.
uint64_t MaxPayload(FrameKind kind);

struct Frame {
  FrameKind kind = FrameKind::kTask;
  std::string payload;
};

// Returns the header of a frame whose payload has `size` bytes. REQUIRES: size <= MaxPayload(kind).
std::string FrameHeader(FrameKind kind, size_t size);

// Cuts a stream of bytes into frames.
class FrameReader {
 public:
  // Takes the next bytes of the stream, and appends each frame that is now complete to `frames`. After an error, do not
  // call Feed again.
  absl::Status Feed(absl::string_view bytes, std::vector<Frame>* frames);
  // Returns whether the stream ends between two frames.
  bool empty() const { return header_.empty(); }

 private:
  std::string header_;      // bytes of the current header that have arrived
  uint64_t remaining_ = 0;  // bytes of the current payload that have not arrived
  Frame frame_;
};

// `version` is the version of the sender.
std::string TaskToWire(const PlanTask& task, absl::string_view version);
// Returns kFailedPrecondition if the version of the sender is not `version`.
absl::StatusOr<PlanTask> TaskFromWire(absl::string_view payload, absl::string_view version);

// The result of a task. `planned` is set if the task has devices and `status` is OK.
struct PlanningResult {
  absl::Status status;
  Planned planned;
};
// Returns the payload of the answer, without the executable. If this payload is too large, returns the payload of an
// error instead.
std::string AnswerToWire(const PlanningResult& result);
absl::StatusOr<PlanningResult> AnswerFromWire(absl::string_view payload);

}  // namespace alpa::coordinator
