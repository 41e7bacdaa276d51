// Runs regions over scalars. If all values of a region have one element and a kernel exists for each op, the region is
// compiled to a list of one-element kernels. Any other region is evaluated as a graph.
#include "absl/container/inlined_vector.h"
#include "graph/evaluator_internal.h"

namespace alpa::graph::internal {

ScalarRegion::ScalarRegion(const Graph& region, Context& context) : region_(region), context_(context) { Compile(); }

void ScalarRegion::Compile() {
  memory_.assign(region_.values().size(), 0);
  auto slot = [&](ValueId id) {
    return Slot{reinterpret_cast<std::byte*>(&memory_[id.value()]),
                static_cast<size_t>(SizeOf(region_.shape(id).dtype))};
  };
  for (const Value& value : region_.values()) {
    if (value.shape.elements() != 1) return;
  }
  for (const Op& op : region_.ops()) {
    if (op.opcode == Opcode::kParameter) continue;
    if (op.results.size() != 1 || op.operands.size() > 3) return;
    const Slot out = slot(op.results[0]);
    if (op.opcode == Opcode::kConstant) {
      std::memcpy(out.address, op.as<ConstantAttrs>().literal.bytes().data(), out.size);
      continue;
    }
    Op moved;  // replaces an op that only moves its single element
    const Op* elementwise = &op;
    if (op.opcode == Opcode::kBroadcast || op.opcode == Opcode::kReshape || op.opcode == Opcode::kTranspose) {
      moved.opcode = Opcode::kCopy;
      elementwise = &moved;
    } else if (!IsElementwise(op.opcode)) {
      return;
    }
    Step step{.args = {.out = out.address, .n = 1, .op = &op}};
    DType dtypes[3] = {};
    for (size_t i = 0; i < op.operands.size(); ++i) {
      dtypes[i] = region_.shape(op.operands[i]).dtype;
      step.args.in[i] = slot(op.operands[i]).address;
    }
    step.kernel = FindKernel(*elementwise, std::span(dtypes, op.operands.size()), region_.shape(op.results[0]).dtype);
    if (step.kernel == nullptr) return;
    steps_.push_back(step);
  }
  for (ValueId id : region_.parameters()) parameters_.push_back(slot(id));
  for (ValueId id : region_.results()) results_.push_back(slot(id));
  compiled_ = true;
}

absl::Status ScalarRegion::Call(std::span<const std::byte* const> arguments, std::span<std::byte* const> results) {
  if (compiled_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      std::memcpy(parameters_[i].address, arguments[i], parameters_[i].size);
    }
    for (const Step& step : steps_) step.kernel(step.args);
    for (size_t i = 0; i < results_.size(); ++i) std::memcpy(results[i], results_[i].address, results_[i].size);
    return absl::OkStatus();
  }
  std::vector<Literal> literals;
  for (size_t i = 0; i < region_.parameters().size(); ++i) {
    const Shape& shape = region_.shape(region_.parameters()[i]);
    literals.emplace_back(shape, std::vector<std::byte>(arguments[i], arguments[i] + shape.bytes()));
  }
  ALPA_ASSIGN_OR_RETURN(const std::vector<Literal> outputs, EvaluateIn(context_, region_, literals));
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::memcpy(results[i], outputs[i].bytes().data(), outputs[i].bytes().size());
  }
  return absl::OkStatus();
}

}  // namespace alpa::graph::internal
