#include "worker/core/buffer_sets.h"

#include "base/status.h"

namespace alpa::worker {

absl::StatusOr<std::unique_ptr<BufferSet>> BufferSet::Make(const plan::Executable& executable, const JobLayout& layout,
                                                           const std::vector<LeafLayout>& leaves,
                                                           const std::vector<bool>& wanted, DeviceMemory& memory,
                                                           DeviceCopy& copy) {
  auto set = std::make_unique<BufferSet>();
  for (const LocalDevice& device : layout.devices) {
    set->buffers_.emplace_back(executable.mesh_programs[device.mesh.value()].slots.size(), nullptr);
  }
  for (size_t l = 0; l < leaves.size(); ++l) {
    if (!wanted[l]) continue;
    for (const Tile& tile : leaves[l].tiles) {
      const int device = layout.devices[tile.local].device;
      const graph::Shape shape{leaves[l].shape.dtype, tile.dims};
      ALPA_ASSIGN_OR_RETURN(auto allocation, memory.Allocate(device, shape.bytes()));
      if (tile.region.size != tile.dims) {
        copy.Zero(device, allocation->buffer());
        ALPA_RETURN_IF_ERROR(copy.Flush(device));
      }
      set->buffers_[tile.local][tile.slot.value()] = &allocation->buffer();
      set->allocations_.push_back(std::move(allocation));
    }
  }
  return set;
}

std::shared_ptr<BufferSet> BufferSetPool::Reuse() {
  std::unique_ptr<BufferSet> set;
  {
    MutexLock lock(shared_->mutex);
    if (shared_->free.empty()) return nullptr;
    set = std::move(shared_->free.back());
    shared_->free.pop_back();
  }
  return Share(std::move(set));
}

std::shared_ptr<BufferSet> BufferSetPool::Share(std::unique_ptr<BufferSet> set) {
  return {set.release(), [shared = shared_](BufferSet* used) {
            std::unique_ptr<BufferSet> back(used);
            MutexLock lock(shared->mutex);
            if (!shared->closed) shared->free.push_back(std::move(back));
          }};
}

void BufferSetPool::Close() {
  std::vector<std::unique_ptr<BufferSet>> free;
  MutexLock lock(shared_->mutex);
  shared_->closed = true;
  free.swap(shared_->free);
}

}  // namespace alpa::worker
