#include "client/cli/job_flags.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/lib/run_job.h"

namespace alpa::client {

void JobFlags::Declare(Flags& flags) {
  flags.AddPositional("DIR", &directory, "a job directory, as alpa.save_job() writes it");
  flags.Add("steps", &steps, "N", "how many steps to run; they use the directory's batches in turn",
            Between(1, kMaxSteps));
  flags.Add("output", &output, "DIR", "folder for metrics.jsonl, state.safetensors and aux.safetensors");
  flags.Add("name", &name, "NAME", "name of the job, for people (default: the directory's)");
  flags.Add("devices", &devices, "N", "how many devices (0: as the directory says; else as many as are free)",
            Between(0, 1 << 20));
  flags.Add("data-parallel", &data_parallel, "N", "cut the batch over N devices", Between(0, 1 << 20));
  flags.Add("tensor-parallel", &tensor_parallel, "N", "cut weights N ways, on N times as many devices", Between(0, 1 << 20));
  flags.Add("zero", &zero, "STAGE", "ZeRO over the data-parallel devices: 1, 2 or 3", Between(0, 3));
  flags.Add("microbatches", &microbatches, "K", "cut it further into K parts that run one after the other",
            Between(0, 1 << 30));
  flags.Add("local-statistics", &local_statistics, "batch statistics may be each micro-batch's own");
}

absl::StatusOr<std::unique_ptr<JobDirectory>> JobFlags::Open() const {
  auto opened = JobDirectory::Open(directory);
  if (!opened.ok()) return UsageError(opened.status().message());
  if (steps == 0) {
    const int64_t batches = (*opened)->description().batches;
    return UsageError(absl::StrCat("--steps is missing: how many steps? ", directory, " has ", batches,
                                   batches == 1 ? " batch" : " batches", ", which steps use in turn"));
  }
  return opened;
}

proto::PlanRequest JobFlags::PlanOver(const proto::PlanRequest& plan) const {
  proto::PlanRequest out = plan;
  if (zero > 0) out.set_zero(static_cast<int32_t>(zero));
  if (tensor_parallel > 0) out.set_tensor_parallel(static_cast<int32_t>(tensor_parallel));
  const int64_t tensor = std::max(1, out.tensor_parallel());
  if (devices > 0) {
    out.set_devices(static_cast<int32_t>(devices));
    // The directory's count of replicas follows its count of devices: both change, or neither fits.
    if (out.data_parallel() > 0) out.set_data_parallel(static_cast<int32_t>(devices / tensor));
  }
  if (data_parallel > 0) out.set_data_parallel(static_cast<int32_t>(data_parallel));
  if (devices == 0 && (data_parallel > 0 || tensor_parallel > 0) && out.data_parallel() > 0) {
    out.set_devices(static_cast<int32_t>(out.data_parallel() * tensor));
  }
  if (microbatches > 0) out.set_microbatches(microbatches);
  if (local_statistics) out.set_statistics(proto::Plan::LOCAL);
  if (!only_workers.empty()) {
    out.clear_workers();
    for (const std::string& worker : only_workers) out.add_workers(worker);
  }
  return out;
}

std::string JobFlags::Typed() const {
  std::string out = absl::StrCat(ShellWord(directory), " --steps ", steps);
  if (!output.empty()) absl::StrAppend(&out, " --output ", ShellWord(output));
  if (!name.empty()) absl::StrAppend(&out, " --name ", ShellWord(name));
  if (devices > 0) absl::StrAppend(&out, " --devices ", devices);
  if (data_parallel > 0) absl::StrAppend(&out, " --data-parallel ", data_parallel);
  if (tensor_parallel > 0) absl::StrAppend(&out, " --tensor-parallel ", tensor_parallel);
  if (zero > 0) absl::StrAppend(&out, " --zero ", zero);
  if (microbatches > 0) absl::StrAppend(&out, " --microbatches ", microbatches);
  if (local_statistics) absl::StrAppend(&out, " --local-statistics");
  if (!only_workers.empty()) absl::StrAppend(&out, " --only-workers ", ShellWord(absl::StrJoin(only_workers, ",")));
  return out;
}

}  // namespace alpa::client
