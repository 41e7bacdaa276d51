#include "planner/lower/free_temporaries.h"

#include <vector>

namespace alpa::planner {

using plan::Instruction;
using plan::SlotId;

namespace {

template <typename Visit>
void VisitSlots(const Instruction& instruction, const Visit& visit) {
  if (const auto* run = std::get_if<plan::RunInstruction>(&instruction.action)) {
    for (SlotId slot : run->inputs) visit(slot);
    for (SlotId slot : run->outputs) visit(slot);
  } else if (const auto* send = std::get_if<plan::SendInstruction>(&instruction.action)) {
    visit(send->slot);
  } else if (const auto* recv = std::get_if<plan::RecvInstruction>(&instruction.action)) {
    visit(recv->slot);
  } else if (const auto* alloc = std::get_if<plan::AllocInstruction>(&instruction.action)) {
    visit(alloc->slot);
  } else if (const auto* loop = std::get_if<plan::LoopInstruction>(&instruction.action)) {
    for (const Instruction& inner : loop->body) VisitSlots(inner, visit);
  }
}

}  // namespace

void FreeTemporaries(plan::MeshProgram& list) {
  std::vector<Instruction> kept;
  for (Instruction& instruction : list.instructions) {
    if (!std::holds_alternative<plan::FreeInstruction>(instruction.action)) kept.push_back(std::move(instruction));
  }
  std::vector<size_t> last(list.slots.size(), kept.size());
  for (size_t i = 0; i < kept.size(); ++i) {
    VisitSlots(kept[i], [&](SlotId slot) {
      if (slot.valid() && list.slots[slot.value()].kind == plan::Slot::Kind::kTemporary) last[slot.value()] = i;
    });
  }
  std::vector<std::vector<SlotId>> ends(kept.size());
  for (size_t s = 0; s < last.size(); ++s) {
    if (last[s] < kept.size()) ends[last[s]].push_back(SlotId(static_cast<int32_t>(s)));
  }
  list.instructions.clear();
  for (size_t i = 0; i < kept.size(); ++i) {
    list.instructions.push_back(std::move(kept[i]));
    for (SlotId slot : ends[i]) list.instructions.push_back({plan::FreeInstruction{slot}});
  }
}

}  // namespace alpa::planner
