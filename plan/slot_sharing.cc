#include "plan/slot_sharing.h"

#include <algorithm>

namespace alpa::plan {
namespace {

// The indices of the first and the last top-level instruction that names a slot; -1: no instruction names it.
struct Use {
  int64_t first = -1, last = -1;
};

void Visit(const Instruction& instruction, int64_t at, std::vector<Use>& uses) {
  auto touch = [&](SlotId slot) {
    if (!slot.valid()) return;
    Use& use = uses[slot.value()];
    if (use.first < 0) use.first = at;
    use.last = at;
  };
  if (const auto* run = std::get_if<RunInstruction>(&instruction.action)) {
    for (SlotId slot : run->inputs) touch(slot);
    for (SlotId slot : run->outputs) touch(slot);
  } else if (const auto* send = std::get_if<SendInstruction>(&instruction.action)) {
    touch(send->slot);
  } else if (const auto* recv = std::get_if<RecvInstruction>(&instruction.action)) {
    touch(recv->slot);
  } else if (const auto* broadcast = std::get_if<BroadcastInstruction>(&instruction.action)) {
    touch(broadcast->slot);
  } else if (const auto* collective = std::get_if<CollectiveInstruction>(&instruction.action)) {
    for (SlotId slot : collective->slots) touch(slot);
  } else if (const auto* alloc = std::get_if<AllocInstruction>(&instruction.action)) {
    touch(alloc->slot);
  } else if (const auto* loop = std::get_if<LoopInstruction>(&instruction.action)) {
    for (const Instruction& inner : loop->body) Visit(inner, at, uses);
  }
}

}  // namespace

SlotSharing ShareSlots(const MeshProgram& program) {
  std::vector<Use> uses(program.slots.size());
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    Visit(program.instructions[i], static_cast<int64_t>(i), uses);
  }
  std::vector<int> order;
  for (size_t s = 0; s < program.slots.size(); ++s) {
    if (program.slots[s].kind == Slot::Kind::kTemporary && uses[s].first >= 0) order.push_back(static_cast<int>(s));
  }
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return uses[a].first < uses[b].first; });

  SlotSharing sharing;
  sharing.buffer_of_slot.assign(program.slots.size(), -1);
  std::vector<int64_t> busy_until;  // one entry per buffer
  for (int slot : order) {
    const Bytes size = program.slots[slot].shape.bytes();
    int best = -1;
    for (size_t b = 0; b < busy_until.size(); ++b) {
      if (busy_until[b] >= uses[slot].first || sharing.buffer_sizes[b] < size) continue;
      if (best < 0 || sharing.buffer_sizes[b] < sharing.buffer_sizes[best]) best = static_cast<int>(b);
    }
    if (best < 0) {
      best = static_cast<int>(busy_until.size());
      busy_until.push_back(-1);
      sharing.buffer_sizes.push_back(size);
    }
    busy_until[best] = uses[slot].last;
    sharing.buffer_of_slot[slot] = best;
  }
  return sharing;
}

}  // namespace alpa::plan
