// Sets of buffers for the slots whose buffers change from step to step. A set serves the input slots of one batch slot,
// or the aux slots of one step. Aux sets are pooled: when a set has no users any more, a later step reuses the set.
//
// Ownership: sets must be destroyed before the DeviceMemory. The users of an aux set share it. They are the step that
//            writes it, the record of kept steps, and downloads that read it. The last user returns it to the pool.
// Threads:   the pool is thread-safe.
#pragma once

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "worker/core/device_copy.h"
#include "worker/core/device_memory.h"
#include "worker/core/job_layout.h"

namespace alpa::worker {

class BufferSet {
 public:
  // Allocates a buffer for every tile of each leaf `l` for which `wanted[l]` is true. Zeroes the buffers of short
  // tiles, so that their padding is zero. Errors are those of DeviceMemory::Allocate and DeviceCopy::Flush.
  static absl::StatusOr<std::unique_ptr<BufferSet>> Make(const plan::Executable& executable, const JobLayout& layout,
                                                         const std::vector<LeafLayout>& leaves,
                                                         const std::vector<bool>& wanted, DeviceMemory& memory,
                                                         DeviceCopy& copy);
  // Returns the slot's buffer on a local device, or null if the set has no buffer for the slot.
  kernels::Buffer* Find(int local, plan::SlotId slot) const { return buffers_[local][slot.value()]; }
  // Returns the buffers of one local device, one entry per slot. An entry is null if Find would return null.
  const std::vector<kernels::Buffer*>& OfDevice(int local) const { return buffers_[local]; }

 private:
  std::vector<std::vector<kernels::Buffer*>> buffers_;  // one entry per local device and slot
  std::vector<std::unique_ptr<DeviceMemory::Allocation>> allocations_;
};

class BufferSetPool {
 public:
  BufferSetPool() : shared_(std::make_shared<Shared>()) {}
  // Returns a set from the pool, or null if the pool is empty. In that case the caller makes a set and calls Share.
  std::shared_ptr<BufferSet> Reuse();
  // Wraps a set so that its last user returns it to the pool.
  std::shared_ptr<BufferSet> Share(std::unique_ptr<BufferSet> set);
  // Frees the pooled sets. From now on, a set is freed when its last user drops it.
  void Close();

 private:
  // Outlives the pool if sets are in use when the pool is destroyed.
  struct Shared {
    Mutex mutex;
    bool closed ALPA_GUARDED_BY(mutex) = false;
    std::vector<std::unique_ptr<BufferSet>> free ALPA_GUARDED_BY(mutex);
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace alpa::worker
