// Runs a job's instruction list on one local device: compiled programs, the buffers of its state and temporaries, and one
// enqueued walk over the list for each step.
//
// Model:     Temporary slots get fixed buffers when the executor is made: slots that are never in use at one time share
//            one. The stream keeps order, so the same buffers serve step after step and nothing is allocated in a step.
// Messages:  SEND and RECV start theirs on the stream and go on. Before something is enqueued that would write a buffer that is
//            being sent, or touch one that is being filled, a wait is enqueued for them; the end of a step waits for all.
// Ownership: everything given must outlive it; it must outlive what it enqueued.
// Threads:   Enqueue from one thread; CurrentOp and cancellation from any.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/counting.h"
#include "base/clock.h"
#include "worker/core/device_groups.h"
#include "worker/core/device_memory.h"
#include "worker/core/edge_parts.h"

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
  int64_t sent_bytes = 0;  // to other devices
};

class DeviceExecutor {
 public:
  struct Parts {
    const plan::Executable* executable = nullptr;
    const JobLayout* layout = nullptr;
    int local = 0;                        // index in layout->devices
    comm::CountingEndpoint* endpoint = nullptr;
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
  // Ends what a failed step has started and not waited for. REQUIRES: the endpoint was aborted, and nothing is enqueued.
  void DropMessages();
  // The instruction that the device is at, or failed in: of a message, the one that started it.
  std::string CurrentOp() const;
  Bytes temporary_bytes() const { return temporary_bytes_; }
  kernels::Stream& stream() { return parts_.backend->stream(device().device); }
  const LocalDevice& device() const { return parts_.layout->devices[parts_.local]; }

 private:
  explicit DeviceExecutor(const Parts& parts) : parts_(parts) {}
  absl::Status Compile();
  absl::Status AllocateSlots();
  absl::Status PrepareEdges();
  absl::Status PrepareInstructions(const std::vector<plan::Instruction>& instructions);
  const plan::MeshProgram& list() const { return parts_.executable->mesh_programs[device().mesh.value()]; }

  // What an instruction needs at each step, found once.
  struct Prepared {
    std::string name;
    kernels::CollectiveGroup* group = nullptr;
    int root = -1;                       // BROADCAST: the root's rank in the group
    std::vector<std::byte> fill;         // ALLOC
    std::vector<std::unique_ptr<comm::Request>> messages;  // SEND, RECV: under way. Of the stream's thread
  };
  // This device's end of an edge.
  struct EdgeEnd {
    EdgeParts parts;
    std::byte* staging = nullptr;        // host memory, for messages that are not contiguous in the tile
    std::vector<std::byte> host_staging;
  };
  // A SEND or RECV that is not waited for yet, as enqueued.
  struct Flight {
    size_t prepared = 0;
    kernels::Buffer* buffer = nullptr;   // the slot's
    EdgeEnd* end = nullptr;
    bool receives = false;
    bool waited = false;
  };
  struct Cursor {
    const std::vector<kernels::Buffer*>* io = nullptr;
    size_t prepared = 0;
    std::vector<Flight> flights;         // of the step
    // What the flights use: a slot's buffer, an edge's staging memory (its EdgeEnd), an instruction's messages (its Prepared).
    std::map<const void*, std::vector<size_t>> used_by;
  };
  kernels::Buffer* BufferOf(plan::SlotId slot, const Cursor& cursor) const;
  std::span<std::byte> BytesOf(plan::SlotId slot, const Cursor& cursor) const;
  void Walk(const std::vector<plan::Instruction>& instructions, Cursor& cursor);
  void Enqueue(size_t prepared, std::function<absl::Status()> work);
  // Enqueue waits for the flights that stand in the way of reading, or of writing.
  void BeforeRead(const void* used, Cursor& cursor);
  void BeforeWrite(const void* used, Cursor& cursor);
  void Await(Flight& flight);
  void StartMessages(plan::SlotId slot, int32_t edge, bool receives, Cursor& cursor);
  void CopyStaged(size_t prepared, const EdgeEnd& end, kernels::Buffer* buffer, bool to_staging);
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
  std::vector<std::unique_ptr<EdgeEnd>> edges_;  // by edge; null: of other meshes
  std::vector<Prepared> prepared_;       // instructions in the order of a walk, loop bodies once
  kernels::Buffer* loop_index_ = nullptr;
  std::vector<int32_t> loop_indices_;    // 0, 1, 2, ...: sources of fills
  Bytes temporary_bytes_ = 0;
  std::atomic<size_t> current_{0};
};

}  // namespace alpa::worker
