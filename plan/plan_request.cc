#include "plan/plan_request.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/reason.h"
#include "base/status.h"
#include "plan/plan.h"
#include "plan/plan_file.h"
#include "plan/schedules.h"

namespace alpa::plan {
namespace {

// Bounds on a request, which comes from outside.
constexpr int kMaxListEntries = 4096;    // maximum length of batch_dims, and of workers
constexpr int kMaxTensorCuts = 1 << 16;  // maximum length of tensor_cuts
constexpr std::array<absl::string_view, 2> kRemat = {"none", "layer"};

template <typename... Args>
absl::Status Bad(const absl::FormatSpec<Args...>& format, const Args&... args) {
  return WithReason(InvalidArgument(format, args...), reason::kBadRequest);
}
template <typename... Args>
absl::Status Infeasible(const absl::FormatSpec<Args...>& format, const Args&... args) {
  return WithReason(InvalidArgument(format, args...), reason::kNoFeasiblePlan);
}

template <size_t n>
absl::Status CheckWord(absl::string_view what, const std::string& word, const std::array<absl::string_view, n>& known) {
  if (word.empty() || std::find(known.begin(), known.end(), word) != known.end()) return absl::OkStatus();
  return Bad("%s \"%s\" is unknown; expected one of \"%s\"", what, Excerpt(word), absl::StrJoin(known, "\", \""));
}

int64_t TensorOf(const proto::PlanRequest& request) { return std::max(1, request.tensor_parallel()); }

// Returns text that lists the factors of the number of devices, except data_parallel, such as
// " x tensor_parallel=2 x 4 pipeline meshes".
std::string Ways(const proto::PlanRequest& request) {
  const int64_t tensor = TensorOf(request), meshes = MeshesOf(request);
  return absl::StrCat(tensor > 1 ? absl::StrCat(" x tensor_parallel=", tensor) : "",
                      meshes > 1 ? absl::StrCat(" x ", meshes, " pipeline meshes") : "");
}

absl::Status CheckBounds(const proto::PlanRequest& request) {
  if (request.devices() < 0 || request.data_parallel() < 0 || request.tensor_parallel() < 0 ||
      request.microbatches() < 0) {
    return Bad("devices=%d, data_parallel=%d, tensor_parallel=%d, microbatches=%d: none may be negative",
               request.devices(), request.data_parallel(), request.tensor_parallel(), request.microbatches());
  }
  const int most = kMaxRequestedDevices;
  if (request.tensor_parallel() > most || request.data_parallel() > most || request.devices() > most) {
    return Bad("devices=%d, data_parallel=%d, tensor_parallel=%d: at most %d devices are allowed", request.devices(),
               request.data_parallel(), request.tensor_parallel(), most);
  }
  if (request.batch_dims_size() > kMaxListEntries || request.workers_size() > kMaxListEntries) {
    return Bad("the request has %d batch_dims and %d workers; at most %d of each are allowed",
               request.batch_dims_size(), request.workers_size(), kMaxListEntries);
  }
  if (request.tensor_cuts_size() > kMaxTensorCuts) {
    return Bad("the request has %d tensor_cuts; at most %d are allowed", request.tensor_cuts_size(), kMaxTensorCuts);
  }
  if (!proto::Plan::Statistics_IsValid(request.statistics())) {
    return Bad("statistics=%d is unknown; update the coordinator, or leave statistics out",
               static_cast<int>(request.statistics()));
  }
  return CheckWord("remat", request.remat(), kRemat);
}

absl::Status CheckPipeline(const proto::PlanRequest& request) {
  const proto::Pipeline& pipeline = request.pipeline();
  if (pipeline.meshes() < 0 || pipeline.stages_per_mesh() < 0) {
    return Bad("a pipeline of %d meshes with %d stages each: neither may be negative", pipeline.meshes(),
               pipeline.stages_per_mesh());
  }
  if (pipeline.devices_size() > kMaxStages) {
    return Bad("devices are given for %d pipeline meshes; at most %d meshes are allowed", pipeline.devices_size(),
               kMaxStages);
  }
  for (int devices : pipeline.devices()) {
    if (devices < 1 || devices > kMaxRequestedDevices) {
      return Bad("the pipeline has a mesh of %d devices; expected 1 to %d", devices, kMaxRequestedDevices);
    }
  }
  ALPA_RETURN_IF_ERROR(CheckWord("schedule", pipeline.schedule(), kSchedules));
  const int64_t meshes = MeshesOf(request), each = StagesPerMeshOf(request);
  if (meshes * each > int64_t{kMaxStages}) {
    return Infeasible("a pipeline of %d meshes x %d stages each; at most %d stages are allowed", meshes, each,
                      kMaxStages);
  }
  if (meshes == 1 && each > 1) {
    return Infeasible(
        "%d stages per mesh are given, but no pipeline; set the number of meshes, or leave the stages out", each);
  }
  if (pipeline.devices().empty()) return absl::OkStatus();
  if (pipeline.devices_size() != meshes) {
    return Infeasible("devices are given for %d pipeline meshes, but there are %d", pipeline.devices_size(), meshes);
  }
  const int64_t tensor = TensorOf(request);
  for (int devices : pipeline.devices()) {
    if (devices % tensor != 0) {
      return Infeasible("tensor_parallel=%d does not divide a pipeline mesh of %d devices", tensor, devices);
    }
    if (request.data_parallel() > 0 && devices != request.data_parallel() * tensor) {
      return Infeasible(
          "data_parallel=%d x tensor_parallel=%d contradicts a pipeline mesh of %d devices; leave "
          "data_parallel out",
          request.data_parallel(), tensor, devices);
    }
  }
  const int64_t sum = std::accumulate(pipeline.devices().begin(), pipeline.devices().end(), int64_t{0});
  if (request.devices() > 0 && request.devices() != sum) {
    return Infeasible("pipeline meshes of %s devices contradict devices=%d; leave devices out",
                      absl::StrJoin(pipeline.devices(), " + "), request.devices());
  }
  return absl::OkStatus();
}

// Checks a request with a given plan. Such a request may also name workers and the plan's number of devices, but no
// pins.
absl::Status CheckGiven(const proto::PlanRequest& request) {
  proto::PlanRequest rest = request;
  rest.clear_given();
  rest.clear_workers();
  const int64_t count = DeviceCount(request.given());
  if (count < 1 || count > kMaxRequestedDevices) {
    return Bad("the given plan has %d devices; expected 1 to %d", count, kMaxRequestedDevices);
  }
  if (rest.devices() > 0 && rest.devices() != count) {
    return Infeasible("the given plan is for %d devices, which contradicts devices=%d; leave devices out", count,
                      rest.devices());
  }
  rest.clear_devices();
  if (rest.ByteSizeLong() > 0)
    return Bad("the request has a given plan and also pins; the plan decides everything, so leave the pins out");
  if (request.workers_size() > kMaxListEntries) {
    return Bad("the request names %d workers; at most %d are allowed", request.workers_size(), kMaxListEntries);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t MeshesOf(const proto::PlanRequest& request) { return std::max(1, request.pipeline().meshes()); }
int64_t StagesPerMeshOf(const proto::PlanRequest& request) { return std::max(1, request.pipeline().stages_per_mesh()); }

absl::Status Check(const proto::PlanRequest& request) {
  if (request.has_given()) return CheckGiven(request);
  ALPA_RETURN_IF_ERROR(CheckBounds(request));
  ALPA_RETURN_IF_ERROR(CheckPipeline(request));
  const int64_t pinned = request.data_parallel() * TensorOf(request) * MeshesOf(request);
  if (request.devices() > 0 && request.data_parallel() > 0 && request.devices() != pinned) {
    return Infeasible("data_parallel=%d%s contradicts devices=%d; leave devices out", request.data_parallel(),
                      Ways(request), request.devices());
  }
  return absl::OkStatus();
}

int64_t DevicesNeeded(const proto::PlanRequest& request) {
  if (request.has_given()) return DeviceCount(request.given());
  const google::protobuf::RepeatedField<int32_t>& given = request.pipeline().devices();
  if (!given.empty()) return std::accumulate(given.begin(), given.end(), int64_t{0});
  const int64_t each = TensorOf(request) * MeshesOf(request);
  return std::max({each, int64_t{request.devices()}, request.data_parallel() * each});
}

bool TakesAllDevices(const proto::PlanRequest& request) {
  return request.devices() == 0 && request.data_parallel() == 0 && request.pipeline().devices().empty() &&
         !request.has_given();
}

bool LeavesParallelismOpen(const proto::PlanRequest& request) {
  return !request.has_given() && request.data_parallel() == 0 && request.tensor_parallel() == 0 &&
         request.zero() == 0 && MeshesOf(request) == 1 && request.remat().empty();
}

}  // namespace alpa::plan
