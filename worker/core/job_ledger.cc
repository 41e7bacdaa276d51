#include "worker/core/job_ledger.h"

#include <algorithm>

#include "base/status.h"
#include "worker/core/errors.h"

namespace alpa::worker {
namespace {

absl::Status Stale(std::string message) {
  return WithReason(absl::FailedPreconditionError(message), "STALE_STATE");
}
absl::Status Refused(std::string message) {
  return WithReason(absl::FailedPreconditionError(message), "NOT_READY");
}
absl::Status BadRequest(std::string message) {
  return WithReason(absl::InvalidArgumentError(message), "BAD_REQUEST");
}

}  // namespace

absl::Status CheckRegion(const LeafLayout& leaf, const Region& region) {
  const auto& dims = leaf.shape.dims;
  if (region.start.size() != dims.size() || region.size.size() != dims.size()) {
    return BadRequest(absl::StrFormat("the region has %d starts and %d sizes, which does not fit leaf %s of shape %s",
                                      region.start.size(), region.size.size(), leaf.path, leaf.shape.ToString()));
  }
  for (size_t d = 0; d < dims.size(); ++d) {
    if (region.start[d] < 0 || region.size[d] < 0 || region.start[d] > dims[d] ||
        region.size[d] > dims[d] - region.start[d]) {
      return BadRequest(
          absl::StrFormat("the region's start %d and size %d in dimension %d reach outside leaf %s of shape %s",
                          region.start[d], region.size[d], d, leaf.path, leaf.shape.ToString()));
    }
  }
  return absl::OkStatus();
}

JobLedger::JobLedger(const JobLayout& layout) : layout_(&layout) {
  for (size_t i = 0; i < layout.inputs.size(); ++i) {
    std::vector<Region> needed;
    for (const Tile& tile : layout.inputs[i].tiles) needed.push_back(tile.region);
    (layout.input_is_state[i] ? state_ : batch_)[static_cast<int32_t>(i)] = Coverage(needed);
  }
}

absl::Status JobLedger::Failed() const {
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat("the job failed, and its state is invalid: ", failure_.message())),
      "JOB_FAILED");
}

absl::Status JobLedger::AcceptSteps(const StepRange& range) {
  if (!failure_.ok()) return AsSecondary(Failed());
  if (range.count < 1 || range.count > kMaxStepsPerCommand) {
    return BadRequest(
        absl::StrFormat("one command asks for %d steps; 1 to %d are allowed", range.count, kMaxStepsPerCommand));
  }
  if (range.first_step != accepted_ + 1) {
    return Stale(absl::StrFormat("cannot run step %d: the next step is %d", range.first_step, accepted_ + 1));
  }
  if (range.first_batch_slot < 0 || range.batch_slots < 0 || range.first_batch_slot >= kMaxBatchSlots ||
      range.batch_slots > kMaxBatchSlots - range.first_batch_slot) {
    return BadRequest(absl::StrFormat(
        "batch slots %d to %d are out of range; 0 to %d are allowed", range.first_batch_slot,
        int64_t{range.first_batch_slot} + range.batch_slots - 1, kMaxBatchSlots - 1));
  }
  for (const auto& [leaf, coverage] : state_) {
    if (!coverage.complete()) {
      return Refused(absl::StrFormat("step %d: state leaf %s lacks region %s; put all state before the first step",
                                     range.first_step, layout_->inputs[leaf].path, coverage.Missing()));
    }
  }
  const int64_t used = std::clamp<int64_t>(range.batch_slots, 1, range.count);
  for (int64_t slot = range.first_batch_slot; slot < range.first_batch_slot + used; ++slot) {
    const auto found = slots_.find(slot);
    for (const auto& [leaf, fresh] : batch_) {
      const Coverage* coverage = &fresh;
      if (found != slots_.end() && found->second.leaves.contains(leaf)) coverage = &found->second.leaves.at(leaf);
      if (!coverage->complete()) {
        return Refused(
            absl::StrFormat("step %d: leaf %s of batch slot %d lacks region %s; put the batch before the step",
                            range.first_step, layout_->inputs[leaf].path, slot, coverage->Missing()));
      }
    }
  }
  accepted_ += range.count;
  for (int64_t i = 0; i < used; ++i) {
    // Of the steps of the range that use this slot, `last` is the last one.
    const int64_t rounds = (range.count - 1 - i) / std::max(1, range.batch_slots);
    const int64_t last = range.first_step + i + rounds * std::max(1, range.batch_slots);
    BatchSlot& slot = slots_[range.first_batch_slot + i];
    slot.last_reader = std::max(slot.last_reader, last);
  }
  return absl::OkStatus();
}

void JobLedger::StepDone(int64_t step) {
  ALPA_CHECK(step == version_ + 1 && step <= accepted_);
  version_ = step;
}

void JobLedger::Fail(const absl::Status& cause) {
  if (failure_.ok() || (IsSecondary(failure_) && !IsSecondary(cause))) failure_ = cause;
}

absl::Status JobLedger::CheckLeaf(int32_t leaf, bool state, const Region& region) const {
  if (leaf < 0 || leaf >= static_cast<int32_t>(layout_->inputs.size())) {
    return BadRequest(
        absl::StrFormat("leaf %d does not exist: the program has %d inputs", leaf, layout_->inputs.size()));
  }
  if (layout_->input_is_state[leaf] != state) {
    return BadRequest(absl::StrFormat("leaf %d (%s) is %s", leaf, layout_->inputs[leaf].path,
                                      state ? "part of the batch, not of the state"
                                            : "part of the state, not of the batch"));
  }
  return CheckRegion(layout_->inputs[leaf], region);
}

absl::Status JobLedger::BeginPutState(int32_t leaf, int64_t version, const Region& region) {
  ALPA_RETURN_IF_ERROR(CheckLeaf(leaf, true, region));
  if (!failure_.ok()) return Failed();
  if (!idle()) {
    return Stale(
        absl::StrFormat("state cannot be put while steps %d to %d are queued or running", version_ + 1, accepted_));
  }
  if (version != version_) {
    return Stale(absl::StrFormat("cannot put state of version %d: the current version is %d", version, version_));
  }
  return Annotate(state_.at(leaf).Begin(region), layout_->inputs[leaf].path);
}

void JobLedger::EndPutState(int32_t leaf, const Region& region, bool complete) {
  state_.at(leaf).End(region, complete);
}

absl::Status JobLedger::BeginPutBatch(int32_t leaf, int64_t slot, const Region& region) {
  ALPA_RETURN_IF_ERROR(CheckLeaf(leaf, false, region));
  if (!failure_.ok()) return Failed();
  if (slot < 0 || slot >= kMaxBatchSlots) {
    return BadRequest(absl::StrFormat("batch slot %d is out of range; 0 to %d are allowed", slot, kMaxBatchSlots - 1));
  }
  BatchSlot& found = slots_[slot];
  if (found.last_reader > version_) {
    return Stale(
        absl::StrFormat("cannot put batch slot %d: step %d reads it and is queued or running (%d steps are done)", slot,
                        found.last_reader, version_));
  }
  const auto coverage = found.leaves.try_emplace(leaf, batch_.at(leaf)).first;
  return Annotate(coverage->second.Begin(region), layout_->inputs[leaf].path);
}

void JobLedger::EndPutBatch(int32_t leaf, int64_t slot, const Region& region, bool complete) {
  slots_.at(slot).leaves.at(leaf).End(region, complete);
}

absl::Status JobLedger::CheckGetState(int32_t leaf, int64_t version, const Region& region) const {
  ALPA_RETURN_IF_ERROR(CheckLeaf(leaf, true, region));
  if (!failure_.ok()) return Failed();
  if (version != version_ || !idle()) {
    const std::string queued = idle() ? "" : absl::StrFormat(", and steps up to %d are queued or running", accepted_);
    return Stale(
        absl::StrFormat("cannot read state of version %d: the current version is %d%s", version, version_, queued));
  }
  const Coverage& coverage = state_.at(leaf);
  if (!coverage.Covers(region)) {
    return Refused(absl::StrFormat("state leaf %s lacks region %s: it was never put, or its put did not complete",
                                   layout_->inputs[leaf].path, coverage.Missing()));
  }
  return absl::OkStatus();
}

absl::Status JobLedger::CheckGetAux(int32_t leaf, int64_t step) const {
  if (leaf < 0 || leaf >= static_cast<int32_t>(layout_->outputs.size())) {
    return BadRequest(
        absl::StrFormat("output %d does not exist: the program has %d outputs", leaf, layout_->outputs.size()));
  }
  if (!failure_.ok()) return Failed();
  if (step < 1 || step > version_) {
    return Stale(absl::StrFormat("cannot read aux of step %d: only %d steps are done", step, version_));
  }
  if (step <= version_ - kKeptAuxSteps) {
    return Stale(
        absl::StrFormat("aux of step %d is no longer kept: %d steps are done, and only the last %d keep their aux",
                        step, version_, kKeptAuxSteps));
  }
  return absl::OkStatus();
}

}  // namespace alpa::worker
