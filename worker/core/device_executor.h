// Runs a job's instruction list on one local device: compiled programs, the buffers of its state and temporaries, and one
// enqueued walk over the list for each step.
//
// Model:     Temporary slots get fixed buffers when the executor is made: slots that are never in use at one time share
//            one. The stream keeps order, so the same buffers serve step after step and nothing is allocated in a step.
// Ownership: everything given must outlive it; it must outlive what it enqueued.
// Threads:   Enqueue from one thread; CurrentOp and cancellation from any.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "worker/core/device_groups.h"
#include "worker/core/device_memory.h"

namespace alpa::worker {

// Makes queued work of a whole job end: every piece looks here before it begins.
class CancelCell {
 public:
  // The first cause wins.
  void Cancel(const absl::Status& cause);
  absl::Status Check() const;

 private:
  std::atomic<bool> cancelled_{false};
  mutable Mutex mutex_;
  absl::Status cause_ ALPA_GUARDED_BY(mutex_);
};

// When the device began and ended a step. Written on the stream; read after its event.
struct DeviceTimes {
  MonotonicTime begin{}, end{};
};

class DeviceExecutor {
 public:
  struct Parts {
    const plan::Executable* executable = nullptr;
    const JobLayout* layout = nullptr;
    int local = 0;                        // index in layout->devices
    comm::Endpoint* endpoint = nullptr;
    DeviceGroups* groups = nullptr;
    kernels::Backend* backend = nullptr;
    DeviceMemory* memory = nullptr;
    CancelCell* cancel = nullptr;
    Clock* clock = nullptr;
  };
  // Compiles the programs and allocates state and temporaries. State is not initialised.
  static absl::StatusOr<std::unique_ptr<DeviceExecutor>> Make(const Parts& parts);

  // The buffer of a state slot.
  kernels::Buffer& state(plan::SlotId slot) { return *slots_[slot.value()]; }
  // Enqueues one step. `io` gives the buffers of input and aux slots, by slot (others are null). `times` must stay until
  // the stream has passed.
  void EnqueueStep(const std::vector<kernels::Buffer*>& io, DeviceTimes* times);
  // The instruction that the device is at, or failed in.
  std::string CurrentOp() const;
  Bytes temporary_bytes() const { return temporary_bytes_; }
  kernels::Stream& stream() { return parts_.backend->stream(device().device); }
  const LocalDevice& device() const { return parts_.layout->devices[parts_.local]; }

 private:
  explicit DeviceExecutor(const Parts& parts) : parts_(parts) {}
  absl::Status Compile();
  absl::Status AllocateSlots();
  absl::Status PrepareInstructions(const std::vector<plan::Instruction>& instructions);
  const plan::MeshProgram& list() const { return parts_.executable->mesh_programs[device().mesh.value()]; }

  // What an instruction needs at each step, found once.
  struct Prepared {
    std::string name;
    kernels::CollectiveGroup* group = nullptr;
    int peer = -1;                       // rank (SEND, RECV) or the root's rank in its group (BROADCAST)
    std::vector<std::byte> fill;         // ALLOC
  };
  struct Cursor {
    const std::vector<kernels::Buffer*>* io = nullptr;
    size_t prepared = 0;
    int64_t round = 0;
  };
  kernels::Buffer* BufferOf(plan::SlotId slot, const Cursor& cursor) const;
  std::span<std::byte> BytesOf(plan::SlotId slot, const Cursor& cursor) const;
  void Walk(const std::vector<plan::Instruction>& instructions, Cursor& cursor);
  void Enqueue(size_t prepared, std::function<absl::Status()> work);
  void Issue(const plan::RunInstruction& run, Cursor& cursor);
  void Issue(const plan::SendInstruction& send, Cursor& cursor);
  void Issue(const plan::RecvInstruction& recv, Cursor& cursor);
  void Issue(const plan::BroadcastInstruction& broadcast, Cursor& cursor);
  void Issue(const plan::CollectiveInstruction& collective, Cursor& cursor);
  void Issue(const plan::AllocInstruction& alloc, Cursor& cursor);
  void Issue(const plan::FreeInstruction& free, Cursor& cursor) {}
  void Issue(const plan::LoopInstruction& loop, Cursor& cursor);

  const Parts parts_;
  std::vector<std::unique_ptr<DeviceMemory::Allocation>> allocations_;
  std::vector<DeviceMemory::Share> shares_;
  std::vector<kernels::Buffer*> slots_;  // state and temporaries, by slot
  std::vector<std::unique_ptr<kernels::CompiledProgram>> programs_;  // by StageProgram; null: of another mesh
  std::vector<Prepared> prepared_;       // instructions in the order of a walk, loop bodies once
  kernels::Buffer* loop_index_ = nullptr;
  std::vector<int32_t> loop_indices_;    // 0, 1, 2, ...: sources of fills
  Bytes temporary_bytes_ = 0;
  std::atomic<size_t> current_{0};
};

}  // namespace alpa::worker
