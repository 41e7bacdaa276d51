#include "worker/rpc/prepare_assembler.h"

#include <algorithm>

#include "base/status.h"
#include "plan/serialize.h"
#include "proto/plan.pb.h"

namespace alpa::worker {
namespace {

// The largest total size, in bytes, of executables whose last part has not arrived yet.
constexpr size_t kMaxCollected = size_t{1} << 30;

absl::StatusOr<plan::Executable> Load(const std::string& bytes) {
  proto::Executable message;
  if (!message.ParseFromString(bytes)) return InvalidArgument("cannot parse the executable of %d bytes", bytes.size());
  return plan::FromProto(message);
}

}  // namespace

absl::StatusOr<std::optional<JobRuntime::Spec>> PrepareAssembler::Add(proto::Prepare part) {
  Parts& parts = parts_[part.job_id()];
  if (parts.epoch != part.epoch()) {
    collected_ -= parts.bytes.size();
    parts = {part.epoch(), {}};
  }
  collected_ += part.executable_part().size();
  if (collected_ > kMaxCollected) {
    collected_ -= parts.bytes.size() + part.executable_part().size();
    parts_.erase(part.job_id());
    return absl::ResourceExhaustedError(
        absl::StrFormat("the incomplete executables have more than %d bytes in total", kMaxCollected));
  }
  parts.bytes += part.executable_part();
  if (!part.last_part()) return std::nullopt;

  auto bytes = std::make_shared<std::string>(std::move(parts.bytes));
  collected_ -= bytes->size();
  parts_.erase(part.job_id());
  JobRuntime::Spec spec;
  spec.job_id = part.job_id();
  spec.epoch = part.epoch();
  spec.transport_epoch = part.transport_epoch();
  spec.load = [bytes] {
    absl::StatusOr<plan::Executable> executable = Load(*bytes);
    bytes->clear();
    bytes->shrink_to_fit();
    return executable;
  };
  for (const proto::Prepare::Rank& rank : part.ranks()) {
    Rank& out = spec.ranks.emplace_back();
    out.device = DeviceId(rank.device());
    out.worker = rank.worker();
    out.transport_address = rank.transport_address();
    if (rank.worker() != name_) continue;
    const auto found = std::find(device_ids_.begin(), device_ids_.end(), rank.device());
    if (found == device_ids_.end()) {
      return InvalidArgument("rank %d is device %d of this worker, which has no such device", spec.ranks.size() - 1,
                             rank.device());
    }
    out.local_device = static_cast<int>(found - device_ids_.begin());
  }
  return spec;
}

}  // namespace alpa::worker
