#include "client/cli/job_flags.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/units.h"
#include "client/cli/command.h"
#include "client/lib/mapped_file.h"
#include "client/lib/run_job.h"
#include "plan/plan.h"
#include "plan/plan_file.h"
#include "plan/plan_request.h"

namespace alpa::client {
namespace {

constexpr Bytes kMaxPlanFile = 64 * kMiB;  // maximum size of a plan file, in bytes

absl::StatusOr<std::vector<int32_t>> DeviceCounts(const std::vector<std::string>& words) {
  std::vector<int32_t> counts;
  for (const std::string& word : words) {
    int32_t count = 0;
    if (!absl::SimpleAtoi(word, &count) || count < 1 || count > plan::kMaxRequestedDevices) {
      return InvalidArgument("'%s' is not a number of devices; expected 1 to %d for each mesh", Excerpt(word),
                             plan::kMaxRequestedDevices);
    }
    counts.push_back(count);
  }
  return counts;
}

}  // namespace

void PlanFlags::Declare(Flags& flags) {
  flags.Add("devices", &devices, "N",
            "number of devices (0: as in the directory; if not pinned there, all free devices)", Between(0, 1 << 20));
  flags.Add("data-parallel", &data_parallel, "N", "split the batch over N devices", Between(0, 1 << 20));
  flags.Add("tensor-parallel", &tensor_parallel, "N", "split weights N ways, on N times as many devices",
            Between(0, 1 << 20));
  flags.Add("pipeline", &pipeline, "N",
            "cut the program into stages on N meshes (groups of devices), on N times as many devices",
            Between(0, plan::kMaxStages));
  flags.Add("interleave", &interleave, "V", "run V stages on each mesh", Between(0, plan::kMaxStages));
  flags.Add("schedule", &schedule, "NAME",
            "order of forwards and backwards in the pipeline: 1f1b, gpipe or zero-bubble",
            OneOf({"1f1b", "gpipe", "zero-bubble"}));
  flags.Add("stage-devices", &stage_devices, "N,M,..", "number of devices of each mesh, if the meshes differ",
            [](const std::vector<std::string>& counts) { return DeviceCounts(counts).status(); });
  flags.Add("remat", &remat, "WHAT", "layer: recompute each layer in the backward, to save memory; none: do not",
            OneOf({"none", "layer"}));
  flags.Add("sequence", &sequence,
            "with --tensor-parallel: between matrix products, split activations along the sequence");
  flags.Add("zero", &zero, "STAGE", "ZeRO stage over the data-parallel devices: 1, 2 or 3", Between(0, 3));
  flags.Add("microbatches", &microbatches, "K", "split each device's part of the batch into K microbatches",
            Between(0, 1 << 30));
  flags.Add("local-statistics", &local_statistics, "let each microbatch use its own batch statistics");
}

void JobFlags::Declare(Flags& flags) {
  flags.AddPositional("DIR", &directory, "a job directory, written by alpa.save_job()");
  flags.Add("steps", &steps, "N", "number of steps to run; the steps use the directory's batches in turn",
            Between(1, kMaxSteps));
  flags.Add("output", &output, "DIR", "folder for metrics.jsonl, state.safetensors and aux.safetensors");
  flags.Add("name", &name, "NAME", "display name of the job (default: the name in the directory)");
  flags.Add("plan", &plan_file, "FILE",
            "a plan file, written by alpa plan make or run.plan.save(); it replaces all pins");
  pins.Declare(flags);
}

absl::StatusOr<std::unique_ptr<JobDirectory>> JobFlags::Open() const {
  auto opened = JobDirectory::Open(directory);
  if (!opened.ok()) return UsageError(opened.status().message());
  if (steps == 0) {
    const int64_t batches = (*opened)->description().batches;
    return UsageError(absl::StrCat("--steps is missing; ", directory, " has ", batches,
                                   batches == 1 ? " batch" : " batches", ", which the steps use in turn"));
  }
  return opened;
}

void PlanFlags::PipelineOver(proto::PlanRequest& out) const {
  if (pipeline > 0) {
    if (pipeline == 1) out.clear_pipeline();
    if (pipeline != plan::MeshesOf(out)) out.mutable_pipeline()->clear_devices();
    out.mutable_pipeline()->set_meshes(static_cast<int32_t>(pipeline));
  }
  if (interleave > 0) out.mutable_pipeline()->set_stages_per_mesh(static_cast<int32_t>(interleave));
  if (!schedule.empty()) out.mutable_pipeline()->set_schedule(schedule);
  if (!stage_devices.empty()) {
    const std::vector<int32_t> counts = DeviceCounts(stage_devices).value_or(std::vector<int32_t>());
    if (pipeline == 0) out.mutable_pipeline()->set_meshes(static_cast<int32_t>(counts.size()));
    out.mutable_pipeline()->mutable_devices()->Assign(counts.begin(), counts.end());
  }
}

proto::PlanRequest PlanFlags::Over(const proto::PlanRequest& plan) const {
  proto::PlanRequest out = plan;
  if (zero > 0) out.set_zero(static_cast<int32_t>(zero));
  if (tensor_parallel > 0) out.set_tensor_parallel(static_cast<int32_t>(tensor_parallel));
  PipelineOver(out);
  if (!remat.empty()) out.set_remat(remat);
  if (sequence) out.set_sequence(true);
  // If a flag sets a count, adapts the other counts, which come from the directory, so that
  // devices = data_parallel * each.
  const bool unequal = !out.pipeline().devices().empty();
  if (!stage_devices.empty()) out.clear_devices(), out.clear_data_parallel();
  const int64_t each = std::max(1, out.tensor_parallel()) * plan::MeshesOf(out);
  if (devices > 0) {
    out.set_devices(static_cast<int32_t>(devices));
    if (out.data_parallel() > 0 && !unequal) out.set_data_parallel(static_cast<int32_t>(devices / each));
  }
  if (data_parallel > 0) out.set_data_parallel(static_cast<int32_t>(data_parallel));
  if (devices == 0 && (data_parallel > 0 || tensor_parallel > 0 || pipeline > 0) && out.data_parallel() > 0 &&
      !unequal) {
    out.set_devices(static_cast<int32_t>(out.data_parallel() * each));
  }
  if (microbatches > 0) out.set_microbatches(microbatches);
  if (local_statistics) out.set_statistics(proto::Plan::LOCAL);
  return out;
}

absl::StatusOr<proto::PlanRequest> JobFlags::PlanOver(const proto::PlanRequest& plan) const {
  proto::PlanRequest out;
  if (plan_file.empty()) {
    out = pins.Over(plan);
  } else {
    if (const std::string typed = pins.Typed(); !typed.empty()) {
      return UsageError(absl::StrCat("--plan replaces all pins; leave out", typed));
    }
    ALPA_ASSIGN_OR_RETURN(*out.mutable_given(), ReadPlanFile(plan_file));
    *out.mutable_workers() = plan.workers();
  }
  if (!only_workers.empty()) {
    out.clear_workers();
    for (const std::string& worker : only_workers) out.add_workers(worker);
  }
  return out;
}

std::string PlanFlags::Typed() const {
  std::string out;
  if (devices > 0) absl::StrAppend(&out, " --devices ", devices);
  if (data_parallel > 0) absl::StrAppend(&out, " --data-parallel ", data_parallel);
  if (tensor_parallel > 0) absl::StrAppend(&out, " --tensor-parallel ", tensor_parallel);
  if (pipeline > 0) absl::StrAppend(&out, " --pipeline ", pipeline);
  if (interleave > 0) absl::StrAppend(&out, " --interleave ", interleave);
  if (!schedule.empty()) absl::StrAppend(&out, " --schedule ", schedule);
  if (!stage_devices.empty()) absl::StrAppend(&out, " --stage-devices ", absl::StrJoin(stage_devices, ","));
  if (!remat.empty()) absl::StrAppend(&out, " --remat ", remat);
  if (sequence) absl::StrAppend(&out, " --sequence");
  if (zero > 0) absl::StrAppend(&out, " --zero ", zero);
  if (microbatches > 0) absl::StrAppend(&out, " --microbatches ", microbatches);
  if (local_statistics) absl::StrAppend(&out, " --local-statistics");
  return out;
}

std::string JobFlags::Typed() const {
  std::string out = absl::StrCat(ShellWord(directory), " --steps ", steps);
  if (!output.empty()) absl::StrAppend(&out, " --output ", ShellWord(output));
  if (!name.empty()) absl::StrAppend(&out, " --name ", ShellWord(name));
  if (!plan_file.empty()) absl::StrAppend(&out, " --plan ", ShellWord(plan_file));
  absl::StrAppend(&out, pins.Typed());
  if (!only_workers.empty()) absl::StrAppend(&out, " --only-workers ", ShellWord(absl::StrJoin(only_workers, ",")));
  return out;
}

absl::StatusOr<proto::Plan> ReadPlanFile(const std::string& path) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) return UsageError(file.status().message());
  const std::span<const uint8_t> bytes = (*file)->bytes();
  if (static_cast<Bytes>(bytes.size()) > kMaxPlanFile) {
    return UsageError(absl::StrCat(path, " has ", bytes.size(), " bytes; a plan file may have at most ", kMaxPlanFile,
                                   " bytes"));
  }
  auto plan = plan::ParsePlanFile({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!plan.ok()) return UsageError(absl::StrCat(path, ": ", plan.status().message()));
  return plan;
}

}  // namespace alpa::client
