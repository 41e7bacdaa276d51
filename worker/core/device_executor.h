// A DeviceExecutor runs a job's instruction list on one local device. It holds the compiled programs and the buffers
// for state and temporaries. For each step, it walks the list and enqueues the work.
//
// Model:     Temporary slots get fixed buffers when the executor is made. Slots that are never in use at the same time
//            share a buffer. The stream runs work in order, so the same buffers serve every step, and a step allocates
//            nothing.
// Messages:  SEND and RECV start their messages on the stream and do not wait for them. Before work that writes the
//            buffer of a SEND, the executor enqueues a wait for the SEND. Before work that reads or writes the buffer
//            of a RECV, it enqueues a wait for the RECV. At the end of a step, it enqueues a wait for all messages of
//            the step.
// Ownership: whatever Parts points to must outlive the executor. The executor must outlive the work that it enqueued.
// Threads:   only one thread may call EnqueueStep. Any thread may call CurrentOp and use CancelCell.
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

// Cancels all queued work of a job. Each piece of work checks the cell before it begins.
class CancelCell {
 public:
  // Only the first call has an effect.
  void Cancel(const absl::Status& cause);
  absl::Status Check() const;

 private:
  std::atomic<bool> cancelled_{false};
  mutable Mutex mutex_;
  absl::Status cause_ ALPA_GUARDED_BY(mutex_);
};

// The times at which a device began and ended a step. The stream's thread writes them. Other threads may read them
// after the step's event has been reached.
struct DeviceTimes {
  MonotonicTime begin{}, end{};
  int64_t sent_bytes = 0;  // payload sent to other devices
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

  kernels::Buffer& state(plan::SlotId slot) { return *slots_[slot.value()]; }
  // Enqueues one step. `io` has one entry per slot: the slot's buffer if it is an input or aux slot, otherwise null.
  // `times` must stay valid until the stream has run the step.
  void EnqueueStep(const std::vector<kernels::Buffer*>& io, DeviceTimes* times);
  // Drops the messages of a failed step that are still in progress. REQUIRES: the endpoint was aborted, and no enqueued
  // work is left.
  void DropMessages();
  // Returns the instruction that the device is running, or in which it failed. While the device waits for a message,
  // this is the instruction that started the message.
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

  // Data that an instruction needs in every step, computed once.
  struct Prepared {
    std::string name;
    kernels::CollectiveGroup* group = nullptr;
    int root = -1;                       // BROADCAST: the root's rank in the group
    std::vector<std::byte> fill;         // ALLOC
    std::vector<std::unique_ptr<comm::Request>> messages;  // SEND, RECV: in progress; used by the stream's thread only
  };
  // This device's end of an edge.
  struct EdgeEnd {
    EdgeParts parts;
    std::byte* staging = nullptr;        // for messages that are not contiguous in the tile
    std::vector<std::byte> host_staging; // holds `staging` if the host cannot address device memory
  };
  // An enqueued SEND or RECV.
  struct Flight {
    size_t prepared = 0;
    kernels::Buffer* buffer = nullptr;   // the slot's buffer
    EdgeEnd* end = nullptr;
    bool receives = false;
    bool waited = false;                 // a wait for its messages is already enqueued
  };
  // The state of a walk over the instructions of one step.
  struct Cursor {
    const std::vector<kernels::Buffer*>* io = nullptr;
    size_t prepared = 0;                 // index into prepared_
    std::vector<Flight> flights;         // all SENDs and RECVs of the step
    // Key: an object that flights use, which is a slot's buffer, an EdgeEnd (for its staging memory) or a Prepared (for
    // its messages). Value: the indices of these flights.
    std::map<const void*, std::vector<size_t>> used_by;
  };
  kernels::Buffer* BufferOf(plan::SlotId slot, const Cursor& cursor) const;
  std::span<std::byte> BytesOf(plan::SlotId slot, const Cursor& cursor) const;
  void Walk(const std::vector<plan::Instruction>& instructions, Cursor& cursor);
  void Enqueue(size_t prepared, std::function<absl::Status()> work);
  // These functions enqueue a wait for each flight that must end before `used` may be read or written.
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
  std::vector<kernels::Buffer*> slots_;  // one entry per slot, for state and temporaries
  std::vector<std::unique_ptr<kernels::CompiledProgram>> programs_;  // per StageProgram; null if not of this mesh
  std::vector<std::unique_ptr<EdgeEnd>> edges_;  // one entry per edge; null if the edge does not touch this mesh
  std::vector<Prepared> prepared_;       // one entry per instruction in walk order, each loop body once
  kernels::Buffer* loop_index_ = nullptr;
  std::vector<int32_t> loop_indices_;    // 0, 1, 2, ...; sources of the fills of loop_index_
  Bytes temporary_bytes_ = 0;
  std::atomic<size_t> current_{0};
};

}  // namespace alpa::worker
