#include "worker/core/device_executor.h"

#include <algorithm>

#include "base/status.h"
#include "graph/literal.h"
#include "worker/core/errors.h"
#include "plan/slot_sharing.h"

namespace alpa::worker {
namespace {

// The tags of messages over edges have this bit set. In the tags of collectives it is clear, because their channels are
// below kMaxChannels.
constexpr uint32_t kEdgeTag = 0x80000000u;
constexpr std::byte kZero[1] = {};

// Returns the number of loop indices that the instructions use: the largest count of a LOOP, or one more than the
// largest fixed index of a RUN.
int64_t CountLoopIndices(const std::vector<plan::Instruction>& instructions) {
  int64_t count = 0;
  for (const plan::Instruction& instruction : instructions) {
    if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      count = std::max(count, loop->count);
    }
    if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
      count = std::max(count, int64_t{run->index} + 1);
    }
  }
  return count;
}

}  // namespace

void CancelCell::Cancel(const absl::Status& cause) {
  MutexLock lock(mutex_);
  if (cancelled_) return;
  cause_ = cause;
  cancelled_ = true;
}

absl::Status CancelCell::Check() const {
  if (!cancelled_) return absl::OkStatus();
  MutexLock lock(mutex_);
  return cause_;
}

absl::StatusOr<std::unique_ptr<DeviceExecutor>> DeviceExecutor::Make(const Parts& parts) {
  std::unique_ptr<DeviceExecutor> executor(new DeviceExecutor(parts));
  ALPA_RETURN_IF_ERROR(executor->AllocateSlots());
  ALPA_RETURN_IF_ERROR(executor->PrepareEdges());
  ALPA_RETURN_IF_ERROR(executor->Compile());
  ALPA_RETURN_IF_ERROR(executor->PrepareInstructions(executor->list().instructions));
  return executor;
}

absl::Status DeviceExecutor::AllocateSlots() {
  const std::vector<plan::Slot>& slots = list().slots;
  const int device = this->device().device;
  auto allocate = [&](Bytes size) -> absl::StatusOr<kernels::Buffer*> {
    ALPA_ASSIGN_OR_RETURN(auto allocation, parts_.memory->Allocate(device, size));
    allocations_.push_back(std::move(allocation));
    return &allocations_.back()->buffer();
  };
  slots_.assign(slots.size(), nullptr);
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].kind != plan::Slot::Kind::kState) continue;
    ALPA_ASSIGN_OR_RETURN(slots_[s], allocate(slots[s].shape.bytes()));
  }
  const plan::SlotSharing sharing = plan::ShareSlots(list());
  std::vector<kernels::Buffer*> shared;
  for (Bytes size : sharing.buffer_sizes) {
    ALPA_ASSIGN_OR_RETURN(kernels::Buffer * buffer, allocate(size));
    shared.push_back(buffer);
    temporary_bytes_ += size;
  }
  for (size_t s = 0; s < slots.size(); ++s) {
    if (sharing.buffer_of_slot[s] >= 0) slots_[s] = shared[sharing.buffer_of_slot[s]];
  }
  if (const int64_t count = CountLoopIndices(list().instructions); count > 0) {
    ALPA_ASSIGN_OR_RETURN(loop_index_, allocate(sizeof(int32_t)));
    for (int32_t i = 0; i < count; ++i) loop_indices_.push_back(i);
  }
  return absl::OkStatus();
}

absl::Status DeviceExecutor::PrepareEdges() {
  for (const plan::Edge& edge : parts_.executable->edges) {
    std::unique_ptr<EdgeEnd>& end = edges_.emplace_back();
    if (edge.from_mesh != device().mesh && edge.to_mesh != device().mesh) continue;
    ALPA_RETURN_IF_ERROR(parts_.cancel->Check());
    end = std::make_unique<EdgeEnd>();
    end->parts = PartsOf(*parts_.executable, *parts_.layout, device(), edge);
    const Bytes size = end->parts.staging_bytes;
    if (size == 0) continue;
    if (parts_.backend->host_addressable()) {
      ALPA_ASSIGN_OR_RETURN(auto allocation, parts_.memory->Allocate(device().device, size));
      end->staging = allocation->buffer().data();
      allocations_.push_back(std::move(allocation));
      temporary_bytes_ += size;
    } else {
      end->host_staging.resize(size);
      end->staging = end->host_staging.data();
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceExecutor::Compile() {
  Bytes largest = 0;
  for (const plan::StageProgram& program : parts_.executable->programs) {
    ALPA_RETURN_IF_ERROR(parts_.cancel->Check());
    std::unique_ptr<kernels::CompiledProgram>& compiled = programs_.emplace_back();
    if (program.mesh != device().mesh) continue;
    kernels::CompileOptions options;
    options.alias = program.alias;
    options.collectives = parts_.groups;
    auto result = parts_.backend->Compile(device().device, program.graph, options);
    if (!result.ok()) return Annotate(result.status(), absl::StrFormat("compiling program \"%s\"", program.name));
    compiled = *std::move(result);
    if (compiled->temporary_bytes() <= largest) continue;
    ALPA_ASSIGN_OR_RETURN(DeviceMemory::Share share,
                          parts_.memory->Reserve(device().device, compiled->temporary_bytes() - largest));
    shares_.push_back(std::move(share));
    largest = compiled->temporary_bytes();
  }
  temporary_bytes_ += largest;
  return absl::OkStatus();
}

absl::Status DeviceExecutor::PrepareInstructions(const std::vector<plan::Instruction>& instructions) {
  const plan::Executable& executable = *parts_.executable;
  for (const plan::Instruction& instruction : instructions) {
    const size_t at = prepared_.size();
    prepared_.emplace_back();
    if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
      prepared_[at].name = absl::StrFormat("RUN \"%s\"", executable.programs[run->program].name);
    } else if (const auto* send = std::get_if<plan::SendInstruction>(&instruction.action)) {
      prepared_[at].name = absl::StrFormat("SEND slot %d over edge %d to mesh %d", send->slot.value(), send->edge,
                                           executable.edges[send->edge].to_mesh.value());
    } else if (const auto* recv = std::get_if<plan::RecvInstruction>(&instruction.action)) {
      prepared_[at].name = absl::StrFormat("RECV slot %d over edge %d from mesh %d", recv->slot.value(), recv->edge,
                                           executable.edges[recv->edge].from_mesh.value());
    } else if (const auto* broadcast = std::get_if<plan::BroadcastInstruction>(&instruction.action)) {
      ALPA_ASSIGN_OR_RETURN(prepared_[at].group, parts_.groups->GroupFor(broadcast->mesh_axes));
      // The group's root is the member whose coordinates on these axes are the same as those of the root position.
      const cluster::Mesh& mesh = executable.meshes[device().mesh.value()];
      const std::vector<int64_t> root = mesh.Coordinates(broadcast->root_position);
      const std::vector<int64_t> members = parts_.groups->Members(broadcast->mesh_axes);
      for (size_t m = 0; m < members.size(); ++m) {
        const std::vector<int64_t> coordinates = mesh.Coordinates(members[m]);
        const auto& axes = broadcast->mesh_axes;
        if (std::all_of(axes.begin(), axes.end(), [&](int64_t a) { return coordinates[a] == root[a]; })) {
          prepared_[at].root = static_cast<int>(m);
        }
      }
      prepared_[at].name = absl::StrFormat("BROADCAST slot %d", broadcast->slot.value());
    } else if (const auto* collective = std::get_if<plan::CollectiveInstruction>(&instruction.action)) {
      ALPA_ASSIGN_OR_RETURN(prepared_[at].group, parts_.groups->GroupFor(collective->mesh_axes));
      prepared_[at].name = absl::StrFormat("COLLECTIVE all-reduce of %d slots", collective->slots.size());
    } else if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
      const graph::Literal fill = graph::ScalarOf(list().slots[alloc->slot.value()].shape.dtype, alloc->fill);
      prepared_[at].fill.assign(fill.bytes().begin(), fill.bytes().end());
      prepared_[at].name = absl::StrFormat("ALLOC slot %d", alloc->slot.value());
    } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
      prepared_[at].name = absl::StrFormat("LOOP of %d", loop->count);
      ALPA_RETURN_IF_ERROR(PrepareInstructions(loop->body));
    }
  }
  return absl::OkStatus();
}

std::string DeviceExecutor::CurrentOp() const {
  const size_t at = current_.load();
  const std::string name = at < prepared_.size() ? prepared_[at].name : "";
  return absl::StrFormat("%s (instruction %d, device %d)", name, at, device().id.value());
}

void DeviceExecutor::EnqueueStep(const std::vector<kernels::Buffer*>& io, DeviceTimes* times) {
  stream().Enqueue([this, times] {
    times->begin = parts_.clock->Now();
    times->sent_bytes = -parts_.endpoint->sent_bytes();
    return parts_.cancel->Check();
  });
  Cursor cursor{&io};
  Walk(list().instructions, cursor);
  for (Flight& flight : cursor.flights) Await(flight);
  stream().Enqueue([this, times] {
    times->end = parts_.clock->Now();
    times->sent_bytes += parts_.endpoint->sent_bytes();
    return absl::OkStatus();
  });
}

void DeviceExecutor::Walk(const std::vector<plan::Instruction>& instructions, Cursor& cursor) {
  for (const plan::Instruction& instruction : instructions) {
    std::visit([&](const auto& action) { Issue(action, cursor); }, instruction.action);
    ++cursor.prepared;
  }
}

kernels::Buffer* DeviceExecutor::BufferOf(plan::SlotId slot, const Cursor& cursor) const {
  kernels::Buffer* buffer = slots_[slot.value()];
  return buffer != nullptr ? buffer : (*cursor.io)[slot.value()];
}

std::span<std::byte> DeviceExecutor::BytesOf(plan::SlotId slot, const Cursor& cursor) const {
  return {BufferOf(slot, cursor)->data(), static_cast<size_t>(list().slots[slot.value()].shape.bytes())};
}

void DeviceExecutor::Enqueue(size_t prepared, std::function<absl::Status()> work) {
  stream().Enqueue([this, prepared, work = std::move(work)] {
    ALPA_RETURN_IF_ERROR(parts_.cancel->Check());
    current_ = prepared;
    return work ? work() : absl::OkStatus();
  });
}

// A SEND does not change the buffer, so a read waits only for RECVs.
void DeviceExecutor::BeforeRead(const void* used, Cursor& cursor) {
  const auto found = cursor.used_by.find(used);
  if (found == cursor.used_by.end()) return;
  for (size_t flight : found->second) {
    if (cursor.flights[flight].receives) Await(cursor.flights[flight]);
  }
  std::erase_if(found->second, [&](size_t flight) { return cursor.flights[flight].waited; });
}

void DeviceExecutor::BeforeWrite(const void* used, Cursor& cursor) {
  const auto found = cursor.used_by.find(used);
  if (found == cursor.used_by.end()) return;
  for (size_t flight : found->second) Await(cursor.flights[flight]);
  cursor.used_by.erase(found);
}

void DeviceExecutor::Await(Flight& flight) {
  if (flight.waited) return;
  flight.waited = true;
  Enqueue(flight.prepared, [messages = &prepared_[flight.prepared].messages] {
    // After a failed wait, `messages` keeps its elements until DropMessages, because some messages may end only after
    // an abort of the endpoint.
    for (const auto& message : *messages) ALPA_RETURN_IF_ERROR(message->Wait());
    messages->clear();
    return absl::OkStatus();
  });
  if (flight.receives) CopyStaged(flight.prepared, *flight.end, flight.buffer, false);
}

void DeviceExecutor::DropMessages() {
  for (Prepared& prepared : prepared_) prepared.messages.clear();
}

void DeviceExecutor::CopyStaged(size_t prepared, const EdgeEnd& end, kernels::Buffer* buffer, bool to_staging) {
  if (end.staging == nullptr) return;
  if (parts_.backend->host_addressable()) {
    Enqueue(prepared, [&end, buffer, to_staging] {
      for (const EdgePart& part : end.parts.parts) {
        if (part.direct) continue;
        part.walk.ForEach(0, part.size, [&](const plan::ByteRun& run) {
          std::byte* staged = end.staging + part.offset + run.stream_offset;
          std::byte* tile = buffer->data() + run.tile_offset;
          std::memcpy(to_staging ? staged : tile, to_staging ? tile : staged, run.size);
        });
      }
      return absl::OkStatus();
    });
    return;
  }
  for (const EdgePart& part : end.parts.parts) {
    if (part.direct) continue;
    part.walk.ForEach(0, part.size, [&](const plan::ByteRun& run) {
      const std::span<std::byte> staged(end.staging + part.offset + run.stream_offset, static_cast<size_t>(run.size));
      if (to_staging) {
        parts_.backend->CopyToHost(device().device, *buffer, run.tile_offset, staged);
      } else {
        parts_.backend->CopyToDevice(device().device, staged, *buffer, run.tile_offset);
      }
    });
  }
}

void DeviceExecutor::StartMessages(plan::SlotId slot, int32_t edge, bool receives, Cursor& cursor) {
  kernels::Buffer* const buffer = BufferOf(slot, cursor);
  EdgeEnd& end = *edges_[edge];
  Prepared& prepared = prepared_[cursor.prepared];
  if (receives) {
    BeforeWrite(buffer, cursor);
  } else {
    BeforeRead(buffer, cursor);
  }
  BeforeWrite(&end, cursor);
  BeforeWrite(&prepared, cursor);   // waits for the messages of an earlier round of a loop
  if (!receives) CopyStaged(cursor.prepared, end, buffer, true);
  if (receives && end.parts.short_tile) parts_.backend->Fill(device().device, *buffer, kZero);
  Enqueue(cursor.prepared, [this, &end, &prepared, buffer, receives, tag = kEdgeTag | static_cast<uint32_t>(edge)] {
    for (const EdgePart& part : end.parts.parts) {
      std::byte* const at = (part.direct ? buffer->data() : end.staging) + part.offset;
      const std::span<std::byte> bytes(at, static_cast<size_t>(part.size));
      prepared.messages.push_back(receives ? parts_.endpoint->Recv(part.peer, tag, bytes)
                                           : parts_.endpoint->Send(part.peer, tag, bytes));
    }
    return absl::OkStatus();
  });
  const size_t flight = cursor.flights.size();
  cursor.flights.push_back({cursor.prepared, buffer, &end, receives});
  cursor.used_by[&prepared].push_back(flight);
  if (receives || end.parts.any_direct) cursor.used_by[buffer].push_back(flight);
  if (end.staging != nullptr) cursor.used_by[&end].push_back(flight);
}

void DeviceExecutor::Issue(const plan::RunInstruction& run, Cursor& cursor) {
  std::vector<kernels::Buffer*> inputs, outputs;
  for (plan::SlotId slot : run.inputs) inputs.push_back(slot.valid() ? BufferOf(slot, cursor) : loop_index_);
  for (plan::SlotId slot : run.outputs) outputs.push_back(BufferOf(slot, cursor));
  for (kernels::Buffer* input : inputs) BeforeRead(input, cursor);
  for (kernels::Buffer* output : outputs) BeforeWrite(output, cursor);
  Enqueue(cursor.prepared, nullptr);
  if (run.index >= 0) {
    parts_.backend->Fill(device().device, *loop_index_, std::as_bytes(std::span(&loop_indices_[run.index], 1)));
  }
  programs_[run.program]->Run(stream(), std::move(inputs), std::move(outputs));
}

void DeviceExecutor::Issue(const plan::SendInstruction& send, Cursor& cursor) {
  StartMessages(send.slot, send.edge, false, cursor);
}

void DeviceExecutor::Issue(const plan::RecvInstruction& recv, Cursor& cursor) {
  StartMessages(recv.slot, recv.edge, true, cursor);
}

void DeviceExecutor::Issue(const plan::BroadcastInstruction& broadcast, Cursor& cursor) {
  const Prepared& prepared = prepared_[cursor.prepared];
  BeforeWrite(BufferOf(broadcast.slot, cursor), cursor);
  Enqueue(cursor.prepared, [bytes = BytesOf(broadcast.slot, cursor), group = prepared.group, root = prepared.root] {
    return group->Broadcast(bytes, root);
  });
}

void DeviceExecutor::Issue(const plan::CollectiveInstruction& collective, Cursor& cursor) {
  for (plan::SlotId slot : collective.slots) {
    BeforeWrite(BufferOf(slot, cursor), cursor);
    Enqueue(cursor.prepared, [bytes = BytesOf(slot, cursor), group = prepared_[cursor.prepared].group,
                              dtype = list().slots[slot.value()].shape.dtype, kind = collective.kind] {
      return group->AllReduce(bytes, dtype, kind);
    });
  }
}

void DeviceExecutor::Issue(const plan::AllocInstruction& alloc, Cursor& cursor) {
  BeforeWrite(BufferOf(alloc.slot, cursor), cursor);
  Enqueue(cursor.prepared, nullptr);
  parts_.backend->Fill(device().device, *BufferOf(alloc.slot, cursor), prepared_[cursor.prepared].fill);
}

void DeviceExecutor::Issue(const plan::LoopInstruction& loop, Cursor& cursor) {
  const size_t body = cursor.prepared + 1;
  for (int64_t round = 0; round < loop.count; ++round) {
    parts_.backend->Fill(device().device, *loop_index_, std::as_bytes(std::span(&loop_indices_[round], 1)));
    cursor.prepared = body;
    Walk(loop.body, cursor);
  }
  --cursor.prepared;  // the outer Walk increments it again
}

}  // namespace alpa::worker
