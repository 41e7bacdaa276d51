// Sets of buffers for the slots that are fresh in each step: the input slots of one batch slot, or the aux slots of one
// step. Aux sets are pooled: a set that nobody reads any more serves a later step.
//
// Ownership: sets must go before the DeviceMemory. A set is shared by the step that writes it, the record of kept steps,
//            and downloads that still read it: whoever is last gives it back.
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
  // Buffers for all tiles of the leaves in which `wanted` is true. Short tiles' padding is zeroed.
  static absl::StatusOr<std::unique_ptr<BufferSet>> Make(const plan::Executable& executable, const JobLayout& layout,
                                                         const std::vector<LeafLayout>& leaves,
                                                         const std::vector<bool>& wanted, DeviceMemory& memory,
                                                         DeviceCopy& copy);
  // Null where the set has no such slot.
  kernels::Buffer* Find(int local, plan::SlotId slot) const { return buffers_[local][slot.value()]; }
  // All of one device, by slot.
  const std::vector<kernels::Buffer*>& OfDevice(int local) const { return buffers_[local]; }

 private:
  std::vector<std::vector<kernels::Buffer*>> buffers_;  // by local device, by slot
  std::vector<std::unique_ptr<DeviceMemory::Allocation>> allocations_;
};

class BufferSetPool {
 public:
  BufferSetPool() : shared_(std::make_shared<Shared>()) {}
  // A set that was given back, or null: then make one and Share it.
  std::shared_ptr<BufferSet> Reuse();
  std::shared_ptr<BufferSet> Share(std::unique_ptr<BufferSet> set);
  // Frees what is there, and later what comes back.
  void Close();

 private:
  // Outlives the pool while sets are out.
  struct Shared {
    Mutex mutex;
    bool closed ALPA_GUARDED_BY(mutex) = false;
    std::vector<std::unique_ptr<BufferSet>> free ALPA_GUARDED_BY(mutex);
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace alpa::worker
