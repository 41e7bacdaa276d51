// The part of JobRuntime that puts and gets regions of leaves.
#include <algorithm>
#include <set>

#include "base/status.h"
#include "worker/core/errors.h"
#include "worker/core/job_internal.h"

namespace alpa::worker {
namespace {

absl::Status BadRequest(std::string message) {
  return WithReason(absl::InvalidArgumentError(message), "BAD_REQUEST");
}

}  // namespace

absl::StatusOr<BufferSet*> JobRuntime::BatchBuffers(int64_t slot) {
  std::unique_ptr<BufferSet>& set = batches_[slot];
  if (set == nullptr) {
    ALPA_ASSIGN_OR_RETURN(set, BufferSet::Make(executable_, layout_, layout_.inputs, wanted_batch_,
                                               *environment_.memory, copy_));
  }
  return set.get();
}

kernels::Buffer* JobRuntime::TileBuffer(const Transfer& transfer, const Tile& tile) {
  switch (transfer.kind_) {
    case LeafKind::kState: return &devices_[tile.local]->executor->state(tile.slot);
    case LeafKind::kBatch: return batches_.at(transfer.version_)->Find(tile.local, tile.slot);
    case LeafKind::kAux: return transfer.aux_->Find(tile.local, tile.slot);
  }
  return nullptr;
}

absl::StatusOr<std::unique_ptr<JobRuntime::Transfer>> JobRuntime::BeginPut(LeafKind kind, int32_t leaf, int64_t version,
                                                                           const Region& region) {
  std::unique_ptr<Transfer> transfer(new Transfer());
  MutexLock lock(mutex_);
  ALPA_RETURN_IF_ERROR(CheckReady());
  if (kind == LeafKind::kAux) return BadRequest("aux cannot be put: only steps write it");
  if (leaf < 0 || leaf >= static_cast<int32_t>(layout_.inputs.size())) {
    return BadRequest(
        absl::StrFormat("leaf %d does not exist: the program has %d inputs", leaf, layout_.inputs.size()));
  }
  const LeafLayout& placed = layout_.inputs[leaf];
  ALPA_RETURN_IF_ERROR(CheckRegion(placed, region));
  const bool here = Empty(region) || std::any_of(placed.tiles.begin(), placed.tiles.end(), [&](const Tile& tile) {
                      return Intersect(tile.region, region).has_value();
                    });
  if (!here) {
    return WithReason(absl::InvalidArgumentError(absl::StrFormat(
                          "no part of region %s of leaf %s is on this worker; %s has it", ToString(region), placed.path,
                          WhereElse(executable_, layout_, executable_.inputs[leaf], region))),
                      "WRONG_WORKER");
  }
  if (kind == LeafKind::kBatch && layout_.input_is_state[leaf] == false && version >= 0 && version < kMaxBatchSlots) {
    ALPA_RETURN_IF_ERROR(BatchBuffers(version).status());
  }
  ALPA_RETURN_IF_ERROR(kind == LeafKind::kState ? ledger_.BeginPutState(leaf, version, region)
                                                : ledger_.BeginPutBatch(leaf, version, region));
  transfer->job_ = shared_from_this();
  transfer->kind_ = kind;
  transfer->put_ = true;
  transfer->leaf_ = leaf;
  transfer->version_ = version;
  transfer->region_ = region;
  const int64_t element = graph::SizeOf(placed.shape.dtype);
  transfer->size_ = region.elements() * element;
  for (const Tile& tile : placed.tiles) {
    const std::optional<Region> box = Intersect(tile.region, region);
    if (!box || Empty(region)) continue;
    transfer->pieces_.push_back({layout_.devices[tile.local].device, TileBuffer(*transfer, tile),
                                 plan::BoxWalk(*box, region, tile.region.start, tile.dims, element)});
  }
  return transfer;
}

absl::StatusOr<std::unique_ptr<JobRuntime::Transfer>> JobRuntime::BeginGet(LeafKind kind, int32_t leaf, int64_t version,
                                                                           const Region& region) {
  std::unique_ptr<Transfer> transfer(new Transfer());
  MutexLock lock(mutex_);
  ALPA_RETURN_IF_ERROR(CheckReady());
  if (kind == LeafKind::kBatch) return BadRequest("a batch cannot be read back");
  const bool aux = kind == LeafKind::kAux;
  const std::vector<LeafLayout>& leaves = aux ? layout_.outputs : layout_.inputs;
  if (leaf < 0 || leaf >= static_cast<int32_t>(leaves.size())) {
    return BadRequest(absl::StrFormat("leaf %d does not exist: the program has %d %s", leaf, leaves.size(),
                                      aux ? "outputs" : "inputs"));
  }
  const LeafLayout& placed = leaves[leaf];
  ALPA_RETURN_IF_ERROR(CheckRegion(placed, region));
  const std::vector<plan::LeafPlacement>& placements = aux ? executable_.outputs : executable_.inputs;
  if (placements[leaf].regions.empty()) return BadRequest(absl::StrFormat("output %s is state, not aux", placed.path));
  ALPA_RETURN_IF_ERROR(aux ? ledger_.CheckGetAux(leaf, version) : ledger_.CheckGetState(leaf, version, region));
  if (aux) transfer->aux_ = kept_aux_.at(version);
  transfer->job_ = shared_from_this();
  transfer->kind_ = kind;
  transfer->leaf_ = leaf;
  transfer->version_ = version;
  transfer->region_ = region;
  const int64_t element = graph::SizeOf(placed.shape.dtype);
  transfer->size_ = region.elements() * element;
  std::vector<Region> wanted;
  if (!Empty(region)) wanted.push_back(region);
  for (const Tile& tile : placed.tiles) {
    for (const Region& part : wanted) {
      const std::optional<Region> box = Intersect(tile.region, part);
      if (!box) continue;
      transfer->pieces_.push_back({layout_.devices[tile.local].device, TileBuffer(*transfer, tile),
                                   plan::BoxWalk(*box, region, tile.region.start, tile.dims, element)});
    }
    wanted = Subtract(wanted, tile.region);
  }
  if (!wanted.empty()) {
    return WithReason(absl::InvalidArgumentError(absl::StrFormat(
                          "region %s of leaf %s is not on this worker; %s has it", ToString(wanted.front()),
                          placed.path, WhereElse(executable_, layout_, placements[leaf], wanted.front()))),
                      "WRONG_WORKER");
  }
  return transfer;
}

// Begins a copy. Until Leave is called, the buffers stay allocated, and no step that would touch the state is enqueued.
absl::Status JobRuntime::Transfer::Enter() {
  MutexLock lock(job_->mutex_);
  ALPA_RETURN_IF_ERROR(job_->CheckReady());
  if (!job_->ledger_.failure().ok()) {
    return WithReason(absl::FailedPreconditionError(absl::StrCat("the job failed during the transfer: ",
                                                                 job_->ledger_.failure().message())),
                      "JOB_FAILED");
  }
  if (kind_ == LeafKind::kState && !put_) {
    ALPA_RETURN_IF_ERROR(job_->ledger_.CheckGetState(leaf_, version_, region_));
  }
  ++(kind_ == LeafKind::kState ? job_->state_accesses_ : job_->other_accesses_);
  return absl::OkStatus();
}

void JobRuntime::Transfer::Leave() {
  MutexLock lock(job_->mutex_);
  --(kind_ == LeafKind::kState ? job_->state_accesses_ : job_->other_accesses_);
  job_->changed_.NotifyAll();
}

absl::Status JobRuntime::Transfer::Write(std::span<const std::byte> data) {
  const int64_t end = position_ + static_cast<int64_t>(data.size());
  if (end > size_) {
    return BadRequest(
        absl::StrFormat("%d bytes were sent for region %s, which has %d bytes", end, ToString(region_), size_));
  }
  ALPA_RETURN_IF_ERROR(Enter());
  std::set<int> used;
  for (const Piece& piece : pieces_) {
    piece.walk.ForEach(position_, end, [&](const plan::ByteRun& run) {
      used.insert(piece.device);
      job_->copy_.Write(piece.device, *piece.buffer, run.tile_offset,
                        data.subspan(run.stream_offset - position_, run.size));
    });
  }
  absl::Status status;
  for (int device : used) status.Update(job_->copy_.Flush(device));
  Leave();
  position_ = end;
  return status;
}

absl::Status JobRuntime::Transfer::Finish() {
  if (position_ != size_) {
    return BadRequest(absl::StrFormat("%d bytes were sent for region %s, which has %d bytes; it counts as not put",
                                      position_, ToString(region_), size_));
  }
  MutexLock lock(job_->mutex_);
  ALPA_RETURN_IF_ERROR(job_->CheckReady());
  ended_ = true;
  if (kind_ == LeafKind::kState) {
    job_->ledger_.EndPutState(leaf_, region_, true);
  } else {
    job_->ledger_.EndPutBatch(leaf_, version_, region_, true);
  }
  return absl::OkStatus();
}

JobRuntime::Transfer::~Transfer() {
  if (!put_ || ended_ || job_ == nullptr) return;
  MutexLock lock(job_->mutex_);
  if (kind_ == LeafKind::kState) {
    job_->ledger_.EndPutState(leaf_, region_, false);
  } else {
    job_->ledger_.EndPutBatch(leaf_, version_, region_, false);
  }
}

absl::Status JobRuntime::Transfer::Read(std::span<std::byte> data) {
  const int64_t end = position_ + static_cast<int64_t>(data.size());
  if (end > size_) return absl::OutOfRangeError("the read goes past the end of the region");
  ALPA_RETURN_IF_ERROR(Enter());
  std::set<int> used;
  for (const Piece& piece : pieces_) {
    piece.walk.ForEach(position_, end, [&](const plan::ByteRun& run) {
      used.insert(piece.device);
      job_->copy_.Read(piece.device, *piece.buffer, run.tile_offset,
                       data.subspan(run.stream_offset - position_, run.size));
    });
  }
  absl::Status status;
  for (int device : used) status.Update(job_->copy_.Flush(device));
  Leave();
  position_ = end;
  return status;
}

}  // namespace alpa::worker
