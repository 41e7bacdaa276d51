#include "coordinator/planner_process/wire.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "cluster/wire/inventory_wire.h"
#include "coordinator/core/errors.h"
#include "coordinator/core/text.h"
#include "proto/planning.pb.h"

namespace alpa::coordinator {
namespace {

constexpr size_t kHeaderBytes = 9;
constexpr size_t kMaxMessageBytes = 64 << 10;  // maximum size of an error's message; longer text is cut
constexpr size_t kMaxWarnings = 100;           // maximum number of warnings per answer; the rest is dropped
constexpr size_t kMaxWarningBytes = 1000;      // maximum size of one warning; longer text is cut
constexpr int kMaxRank = 64;                   // maximum rank of the loss

// The reason words of a planner's errors.
constexpr std::array<absl::string_view, 5> kWords = {reason::kBadProgram, reason::kUnsupportedOp,
                                                     reason::kNoFeasiblePlan, reason::kBadPlan, reason::kInternal};
// The phases of planning. The coordinator accepts no other phases, because each phase becomes a label of a metric.
constexpr std::array<absl::string_view, 3> kPhases = {"import", "plan", "lower"};

template <typename List>
bool Contains(const List& list, absl::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool IsKind(uint8_t kind) {
  return kind >= static_cast<uint8_t>(FrameKind::kTask) && kind <= static_cast<uint8_t>(FrameKind::kAnswer);
}

proto::PlanningAnswer ErrorAnswer(const absl::Status& status) {
  proto::PlanningAnswer message;
  message.set_code(static_cast<int32_t>(status.code()));
  message.set_message(CleanText(status.message(), kMaxMessageBytes));
  message.set_reason(ReasonOf(status));
  return message;
}

absl::StatusOr<graph::Shape> LossShape(const proto::Shape& message) {
  graph::Shape shape;
  if (message.dims_size() > kMaxRank || message.dtype() < 0 || message.dtype() > std::numeric_limits<uint8_t>::max()) {
    return absl::InvalidArgumentError("the loss has no valid shape");
  }
  shape.dtype = static_cast<graph::DType>(message.dtype());
  shape.dims.assign(message.dims().begin(), message.dims().end());
  if (!graph::IsFloat(shape.dtype) ||
      std::any_of(shape.dims.begin(), shape.dims.end(), [](int64_t dim) { return dim != 1; })) {
    return absl::InvalidArgumentError("the loss is not one floating-point number");
  }
  return shape;
}

}  // namespace

uint64_t MaxPayload(FrameKind kind) {
  switch (kind) {
    case FrameKind::kTask: return kGiB;         // a task can contain a large given plan
    case FrameKind::kProgram: return 4 * kGiB;  // more than the program store accepts
    case FrameKind::kProgress: return 64 * kKiB;
    case FrameKind::kExecutable: return 2 * kGiB;  // a protobuf message cannot be larger
    case FrameKind::kAnswer: return kGiB;          // the plan and the placement in it grow with the number of leaves
  }
  return 0;
}

std::string FrameHeader(FrameKind kind, size_t size) {
  ALPA_CHECK(size <= MaxPayload(kind));
  std::string header(1, static_cast<char>(kind));
  for (size_t i = 0; i + 1 < kHeaderBytes; ++i) header.push_back(static_cast<char>(uint64_t{size} >> (8 * i)));
  return header;
}

absl::Status FrameReader::Feed(absl::string_view bytes, std::vector<Frame>* frames) {
  while (!bytes.empty()) {
    if (header_.size() < kHeaderBytes) {
      const size_t taken = std::min(bytes.size(), kHeaderBytes - header_.size());
      header_.append(bytes.data(), taken);
      bytes.remove_prefix(taken);
      if (!IsKind(static_cast<uint8_t>(header_[0]))) {
        return InvalidArgument("there is no frame of kind %d", static_cast<uint8_t>(header_[0]));
      }
      if (header_.size() < kHeaderBytes) return absl::OkStatus();
      frame_ = {static_cast<FrameKind>(header_[0]), ""};
      remaining_ = 0;
      for (size_t i = kHeaderBytes - 1; i > 0; --i) remaining_ = remaining_ << 8 | static_cast<uint8_t>(header_[i]);
      if (remaining_ > MaxPayload(frame_.kind)) {
        return InvalidArgument("a frame of kind %d has %d bytes; at most %d are allowed", static_cast<int>(frame_.kind),
                               remaining_, MaxPayload(frame_.kind));
      }
    }
    const size_t taken = std::min<uint64_t>(bytes.size(), remaining_);
    frame_.payload.append(bytes.data(), taken);
    bytes.remove_prefix(taken);
    remaining_ -= taken;
    if (remaining_ > 0) return absl::OkStatus();
    frames->push_back(std::move(frame_));
    header_.clear();
  }
  return absl::OkStatus();
}

std::string TaskToWire(const PlanTask& task, absl::string_view version) {
  proto::PlanningTask message;
  message.set_job_id(task.job_id);
  message.set_version(std::string(version));
  message.set_epoch(task.epoch);
  message.set_program_hash(task.program_hash);
  *message.mutable_roles() = task.roles;
  *message.mutable_request() = task.request;
  for (DeviceId device : task.devices) message.add_devices(device.value());
  if (!task.devices.empty()) *message.mutable_cluster() = cluster::ToProto(task.cluster);
  message.set_search_seconds(task.search_seconds);
  return message.SerializeAsString();
}

absl::StatusOr<PlanTask> TaskFromWire(absl::string_view payload, absl::string_view version) {
  proto::PlanningTask message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return absl::InvalidArgumentError("the planning task cannot be parsed");
  }
  if (message.version() != version) {
    return FailedPrecondition(
        "the coordinator has version %s, but its planner process has version %s; install both from the same build",
        Excerpt(message.version()), version);
  }
  PlanTask task;
  task.job_id = message.job_id();
  task.epoch = message.epoch();
  task.program_hash = message.program_hash();
  task.roles = std::move(*message.mutable_roles());
  task.request = std::move(*message.mutable_request());
  for (int32_t device : message.devices()) task.devices.push_back(DeviceId(device));
  if (message.has_cluster()) {
    ALPA_ASSIGN_OR_RETURN(task.cluster, cluster::FromProto(message.cluster()));
  }
  task.search_seconds = message.search_seconds();
  return task;
}

std::string AnswerToWire(const PlanningResult& result) {
  if (!result.status.ok()) return ErrorAnswer(result.status).SerializeAsString();
  const Planned& planned = result.planned;
  proto::PlanningAnswer message;
  *message.mutable_plan() = planned.plan;
  message.set_plan_text(planned.plan_text);
  for (const PlannedSpan& span : planned.spans) {
    proto::PlannedSpan* out = message.add_spans();
    out->set_mesh(span.mesh);
    out->set_program(span.program);
    out->set_begin(span.begin);
    out->set_end(span.end);
  }
  *message.mutable_placement() = planned.placement;
  for (DeviceId device : planned.devices) message.add_devices(device.value());
  message.set_loss_output(planned.loss_output);
  if (planned.loss_output >= 0) {
    message.mutable_loss_shape()->set_dtype(static_cast<int32_t>(planned.loss_shape.dtype));
    for (int64_t dim : planned.loss_shape.dims) message.mutable_loss_shape()->add_dims(dim);
  }
  message.set_seconds(planned.seconds);
  for (const auto& [phase, seconds] : planned.phase_seconds) {
    proto::PhaseSeconds* out = message.add_phases();
    out->set_phase(phase);
    out->set_seconds(seconds);
  }
  for (size_t i = 0; i < planned.warnings.size() && i < kMaxWarnings; ++i) {
    message.add_warnings(CleanText(planned.warnings[i], kMaxWarningBytes));
  }
  if (message.ByteSizeLong() > MaxPayload(FrameKind::kAnswer)) {
    return ErrorAnswer(WithReason(absl::ResourceExhaustedError(absl::StrCat(
                                      "the plan and its placement have ", BytesText(message.ByteSizeLong()),
                                      "; the limit is ", BytesText(MaxPayload(FrameKind::kAnswer)))),
                                  reason::kNoFeasiblePlan))
        .SerializeAsString();
  }
  return message.SerializeAsString();
}

absl::StatusOr<PlanningResult> AnswerFromWire(absl::string_view payload) {
  proto::PlanningAnswer message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return absl::InvalidArgumentError("the answer cannot be parsed");
  }
  PlanningResult result;
  if (message.code() != 0) {
    if (message.code() < 0 || message.code() > static_cast<int32_t>(absl::StatusCode::kUnauthenticated)) {
      return InvalidArgument("there is no status code %d", message.code());
    }
    if (!message.reason().empty() && !Contains(kWords, message.reason())) {
      return InvalidArgument("\"%s\" is not a reason of planning", CleanText(Excerpt(message.reason()), 300));
    }
    result.status = WithReason(
        absl::Status(static_cast<absl::StatusCode>(message.code()), CleanText(message.message(), kMaxMessageBytes)),
        message.reason());
    return result;
  }
  Planned& planned = result.planned;
  planned.plan = std::move(*message.mutable_plan());
  planned.plan_text = std::move(*message.mutable_plan_text());
  planned.spans.reserve(static_cast<size_t>(message.spans_size()));
  for (const proto::PlannedSpan& span : message.spans()) {
    planned.spans.push_back({span.mesh(), span.program(), span.begin(), span.end()});
  }
  planned.placement = std::move(*message.mutable_placement());
  for (int32_t device : message.devices()) planned.devices.push_back(DeviceId(device));
  if (message.has_loss_shape()) {
    if (message.loss_output() < 0 || message.loss_output() >= planned.placement.outputs_size()) {
      return InvalidArgument("the loss is output %d of %d", message.loss_output(), planned.placement.outputs_size());
    }
    planned.loss_output = message.loss_output();
    ALPA_ASSIGN_OR_RETURN(planned.loss_shape, LossShape(message.loss_shape()));
  }
  planned.seconds = message.seconds();
  for (const proto::PhaseSeconds& phase : message.phases()) {
    if (!Contains(kPhases, phase.phase())) return absl::InvalidArgumentError("an unknown phase of planning is named");
    planned.phase_seconds[phase.phase()] = phase.seconds();
  }
  for (const std::string& warning : message.warnings()) {
    if (planned.warnings.size() < kMaxWarnings) planned.warnings.push_back(CleanText(warning, kMaxWarningBytes));
  }
  return result;
}

}  // namespace alpa::coordinator
