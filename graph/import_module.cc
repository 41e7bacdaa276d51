#include "graph/import_module.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/status.h"
#include "graph/import_shape.h"

namespace alpa::graph::internal {
namespace {

constexpr int32_t kTupleType = 13;

// Returns the lower 32 bits of an instruction's id. In all versions of XLA, these bits are unique within a computation.
// Newer versions put the computation's id in the upper 32 bits.
int64_t LocalId(int64_t id) { return id & 0xffffffff; }

bool HasEffect(const hlo::Instruction& proto) {
  const std::string& opcode = proto.opcode();
  return opcode == "outfeed" || opcode == "infeed" || opcode == "send" || opcode == "recv" ||
         (opcode == "custom-call" && proto.custom_call_has_side_effect());
}

absl::Status ReadParameters(Computation* computation) {
  int count = 0;
  for (const Instruction& instruction : computation->instructions)
    count += instruction.proto->opcode() == "parameter";
  computation->parameters.assign(count, -1);
  for (size_t i = 0; i < computation->instructions.size(); ++i) {
    Instruction& instruction = computation->instructions[i];
    if (instruction.proto->opcode() != "parameter") continue;
    const int64_t number = instruction.proto->parameter_number();
    if (number < 0 || number >= count || computation->parameters[number] >= 0) {
      return InvalidArgument("parameter number %d is outside [0, %d) or used twice", number, count);
    }
    computation->parameters[number] = static_cast<int>(i);
  }
  for (int parameter : computation->parameters) {
    computation->instructions[parameter].parameter_base = computation->parameter_leaves;
    computation->parameter_leaves += computation->instructions[parameter].leaves;
  }
  return absl::OkStatus();
}

void MarkLive(Computation* computation) {
  computation->instructions[computation->root].live = true;
  for (size_t i = computation->instructions.size(); i-- > 0;) {
    Instruction& instruction = computation->instructions[i];
    if (HasEffect(*instruction.proto)) instruction.live = true;
    if (!instruction.live) continue;
    for (int operand : instruction.operands) computation->instructions[operand].live = true;
  }
}

}  // namespace

std::string Module::Position(const Instruction& instruction, const std::string& caller) const {
  std::string position = SourcePosition(instruction.proto->metadata(), proto_->stack_frames());
  return position.empty() ? caller : position;
}

std::string Module::Location(const Instruction& instruction, const std::string& prefix,
                             const std::string& caller) const {
  const std::string position = Position(instruction, caller);
  std::string name = Safe(instruction.proto->metadata().op_name());
  if (!prefix.empty() && name.rfind(prefix, 0) != 0)
    name = name.empty() ? prefix : absl::StrCat(prefix, "/", name);
  if (position.empty()) return name;
  return name.empty() ? position : absl::StrCat(position, " (", name, ")");
}

std::string Module::Describe(const Computation& computation, const Instruction& instruction,
                             const std::string& location) const {
  const hlo::Instruction& proto = *instruction.proto;
  std::string opcode = Safe(proto.opcode());
  if (opcode == "custom-call")
    opcode = absl::StrCat("custom-call to \"", Safe(proto.custom_call_target()), "\"");
  return absl::StrCat(opcode, " \"", Safe(proto.name()), "\" of computation \"",
                      Safe(computation.proto->name()), "\"",
                      location.empty() ? "" : absl::StrCat(" at ", location));
}

absl::Status At(const absl::Status& status, const Module& module, const Computation& computation,
                const Instruction& instruction, const std::string& location) {
  return Annotate(status, module.Describe(computation, instruction, location));
}

absl::Status Module::ReadComputation(const hlo::Computation& proto, const ImportLimits& limits,
                                     Computation* out) const {
  out->proto = &proto;
  out->instructions.resize(proto.instructions_size());
  absl::flat_hash_map<int64_t, int> by_id;
  by_id.reserve(proto.instructions_size());
  for (int i = 0; i < proto.instructions_size(); ++i) {
    Instruction& instruction = out->instructions[i];
    instruction.proto = &proto.instructions(i);
    for (int64_t id : instruction.proto->operand_ids()) {
      const auto found = by_id.find(LocalId(id));
      if (found == by_id.end()) {
        return At(InvalidArgument("reads instruction id %d, which is not defined before this instruction", id), *this,
                  *out, instruction, Location(instruction));
      }
      instruction.operands.push_back(found->second);
    }
    if (!by_id.try_emplace(LocalId(instruction.proto->id()), i).second) {
      return At(InvalidArgument("instruction id %d is used twice", instruction.proto->id()), *this, *out,
                instruction, Location(instruction));
    }
    const hlo::ArrayShape& shape = instruction.proto->shape();
    instruction.leaves = LeafCount(shape);
    if (shape.element_type() == kTupleType) {
      int64_t offset = 0;
      for (const hlo::ArrayShape& element : shape.tuple_shapes()) {
        instruction.offsets.push_back(offset);
        offset += LeafCount(element);
      }
    }
  }
  const auto root = by_id.find(LocalId(proto.root_id()));
  if (root == by_id.end()) {
    return InvalidArgument("computation \"%s\": its root, instruction id %d, is not one of its %d instructions",
                           Safe(proto.name()), proto.root_id(), proto.instructions_size());
  }
  out->root = root->second;
  if (absl::Status status = ReadParameters(out); !status.ok()) {
    return Annotate(status, absl::StrCat("computation \"", Safe(proto.name()), "\""));
  }
  MarkLive(out);
  return absl::OkStatus();
}

absl::Status Module::ResolveCalls() {
  absl::flat_hash_map<int64_t, int> by_id;
  for (int i = 0; i < size(); ++i) {
    if (!by_id.try_emplace(computations_[i].proto->id(), i).second) {
      return InvalidArgument("computation id %d is used twice", computations_[i].proto->id());
    }
  }
  for (Computation& computation : computations_) {
    for (Instruction& instruction : computation.instructions) {
      for (int64_t id : instruction.proto->called_computation_ids()) {
        const auto found = by_id.find(id);
        if (found == by_id.end()) {
          return At(InvalidArgument("calls computation id %d, which is not in the module", id), *this,
                    computation, instruction, Location(instruction));
        }
        instruction.called.push_back(found->second);
      }
    }
  }
  const auto entry = by_id.find(proto_->entry_computation_id());
  if (entry != by_id.end()) {
    entry_ = entry->second;
    return absl::OkStatus();
  }
  for (int i = 0; i < size(); ++i) {
    if (computations_[i].proto->name() == proto_->entry_computation_name()) {
      entry_ = i;
      return absl::OkStatus();
    }
  }
  return InvalidArgument("the entry computation \"%s\" (id %d) is not one of the module's %d computations",
                         Safe(proto_->entry_computation_name()), proto_->entry_computation_id(), size());
}

absl::StatusOr<Module> Module::Read(const hlo::Module& proto, const ImportLimits& limits) {
  Module module;
  module.proto_ = &proto;
  if (proto.computations_size() == 0) return InvalidArgument("the module has no computations");
  int64_t instructions = 0;
  for (const hlo::Computation& computation : proto.computations())
    instructions += computation.instructions_size();
  if (instructions > limits.max_instructions) {
    return InvalidArgument("the module has %d instructions; at most %d are allowed", instructions,
                           limits.max_instructions);
  }
  module.computations_.resize(proto.computations_size());
  for (int i = 0; i < proto.computations_size(); ++i) {
    ALPA_RETURN_IF_ERROR(module.ReadComputation(proto.computations(i), limits, &module.computations_[i]));
  }
  ALPA_RETURN_IF_ERROR(module.ResolveCalls());
  return module;
}

}  // namespace alpa::graph::internal
