#include "graph/import_loops.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "graph/import_attributes.h"
#include "graph/import_shape.h"
#include "graph/scalar_fold.h"

namespace alpa::graph::internal {
namespace {

// Limits the recursion depth of Evaluate. Real loops have short chains of scalar arithmetic.
constexpr int kMaxDepth = 400;

}  // namespace

// One run of a computation. `argument` returns the value of a leaf of the arguments. `known` holds the values that
// Evaluate has already computed.
struct LoopAnalysis::Frame {
  int computation;
  std::function<std::optional<Literal>(int64_t leaf, int depth)> argument;
  absl::flat_hash_map<std::pair<int, int64_t>, std::optional<Literal>> known;
  absl::flat_hash_map<int, std::unique_ptr<Frame>> calls;
};

std::optional<Literal> LoopAnalysis::EvaluatePlain(Frame& frame, const Instruction& instruction, int depth) {
  const hlo::Instruction& proto = *instruction.proto;
  if (instruction.operands.empty() || instruction.operands.size() > 3 ||
      !proto.shape().dimensions().empty()) {
    return std::nullopt;
  }
  const absl::StatusOr<Opcode> opcode = ParseOpcode(proto.opcode());
  if (!opcode.ok()) return std::nullopt;
  const absl::StatusOr<std::vector<Shape>> shapes = LeafShapes(proto.shape(), limits_);
  if (!shapes.ok() || shapes->size() != 1) return std::nullopt;
  Attributes attrs;
  if (*opcode == Opcode::kCompare) {
    absl::StatusOr<Attributes> compare = ReadAttributes(*opcode, proto);
    if (!compare.ok()) return std::nullopt;
    attrs = *std::move(compare);
  }
  std::vector<std::optional<Literal>> values;
  for (int operand : instruction.operands) values.push_back(Evaluate(frame, operand, 0, depth));
  std::vector<const Literal*> operands;
  for (const std::optional<Literal>& value : values) operands.push_back(value ? &*value : nullptr);
  return FoldScalar(*opcode, attrs, operands, (*shapes)[0]);
}

std::optional<Literal> LoopAnalysis::Evaluate(Frame& frame, int index, int64_t leaf, int depth) {
  if (depth > kMaxDepth || steps_left_-- <= 0) return std::nullopt;
  const auto key = std::make_pair(index, leaf);
  if (const auto found = frame.known.find(key); found != frame.known.end()) return found->second;
  const Computation& computation = module_.computation(frame.computation);
  const Instruction& instruction = computation.instructions[index];
  const std::string& opcode = instruction.proto->opcode();
  std::optional<Literal> result;
  if (opcode == "parameter") {
    result = frame.argument(instruction.parameter_base + leaf, depth + 1);
  } else if (opcode == "constant") {
    const hlo::LiteralValue& literal = instruction.proto->literal();
    if (literal.shape().dimensions().empty()) {
      absl::StatusOr<Literal> value = ReadLiteral(literal, limits_);
      if (value.ok() && ScalarValue(*value)) result = *std::move(value);
    }
  } else if (opcode == "get-tuple-element") {
    const int64_t element = instruction.proto->tuple_index();
    if (instruction.operands.size() == 1 && element >= 0) {
      const Instruction& tuple = computation.instructions[instruction.operands[0]];
      if (element < static_cast<int64_t>(tuple.offsets.size())) {
        result = Evaluate(frame, instruction.operands[0], tuple.offsets[element] + leaf, depth + 1);
      }
    }
  } else if (opcode == "tuple" || opcode == "opt-barrier") {
    int64_t rest = leaf;
    for (int operand : instruction.operands) {
      const int64_t leaves = computation.instructions[operand].leaves;
      if (rest < leaves) {
        result = Evaluate(frame, operand, rest, depth + 1);
        break;
      }
      rest -= leaves;
    }
  } else if (opcode == "call" && instruction.called.size() == 1) {
    std::unique_ptr<Frame>& callee = frame.calls[index];
    if (callee == nullptr) {
      callee = std::make_unique<Frame>();
      callee->computation = instruction.called[0];
      callee->argument = [this, &frame, &computation, &instruction](int64_t argument,
                                                                    int d) -> std::optional<Literal> {
        for (int operand : instruction.operands) {
          const int64_t leaves = computation.instructions[operand].leaves;
          if (argument < leaves) return Evaluate(frame, operand, argument, d);
          argument -= leaves;
        }
        return std::nullopt;
      };
    }
    Frame& called = *callee;  // not `callee`: Evaluate may add entries to frame.calls, and this invalidates `callee`
    result = Evaluate(called, module_.computation(called.computation).root, leaf, depth + 1);
  } else {
    result = EvaluatePlain(frame, instruction, depth + 1);
  }
  frame.known[key] = result;
  return result;
}

std::optional<int64_t> LoopAnalysis::TripCount(const Instruction& loop,
                                               const std::vector<std::optional<Literal>>& initial,
                                               int64_t max_trips) {
  if (loop.called.size() != 2) return std::nullopt;
  const int condition = loop.called[1], body = loop.called[0];
  const int64_t leaves = static_cast<int64_t>(initial.size());
  if (module_.computation(condition).parameter_leaves != leaves ||
      module_.computation(body).parameter_leaves != leaves) {
    return std::nullopt;
  }
  std::vector<std::optional<Literal>> carried = initial;
  std::vector<int64_t> needed;  // the leaves on which the condition depends; the first iteration finds all of them
  std::vector<bool> is_needed(initial.size());
  int64_t trips = 0;
  const auto argument = [&](int64_t leaf, int) -> std::optional<Literal> {
    if (leaf < 0 || leaf >= leaves) return std::nullopt;
    if (!is_needed[leaf]) {
      if (trips > 0) return std::nullopt;  // unknown: the earlier iterations did not compute this leaf
      is_needed[leaf] = true;
      needed.push_back(leaf);
    }
    return carried[leaf];
  };
  std::vector<std::optional<Literal>> next;
  for (; trips <= max_trips; ++trips) {
    Frame test{condition, argument, {}, {}};
    const std::optional<Literal> go_on = Evaluate(test, module_.computation(condition).root, 0, 0);
    if (!go_on || go_on->shape().dtype != DType::kPred) return std::nullopt;
    if (*ScalarValue(*go_on) == 0) return trips;
    Frame run{body, argument, {}, {}};
    next.clear();
    for (size_t i = 0; i < needed.size(); ++i) {  // `needed` may grow in this loop
      next.push_back(Evaluate(run, module_.computation(body).root, needed[i], 0));
    }
    for (size_t i = 0; i < needed.size(); ++i) carried[needed[i]] = std::move(next[i]);
  }
  return std::nullopt;
}

int64_t LoopAnalysis::LoopSize(int computation, const Instruction& loop, int depth) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (loop.called.size() != 2 || loop.operands.size() != 1) return 1;
  Frame frame{computation, [](int64_t, int) { return std::optional<Literal>(); }, {}, {}};
  std::vector<std::optional<Literal>> initial(
      module_.computation(computation).instructions[loop.operands[0]].leaves);
  for (size_t i = 0; i < initial.size(); ++i)
    initial[i] = Evaluate(frame, loop.operands[0], static_cast<int64_t>(i), 0);
  const int64_t body = std::max<int64_t>(1, Size(loop.called[0], depth + 1));
  const std::optional<int64_t> trips = TripCount(loop, initial, limits_.max_unrolled_ops / body);
  if (!trips) return 1;  // the number of trips is unknown or too large, so the loop stays a loop
  int64_t total;
  return __builtin_mul_overflow(*trips, body, &total) ? kMax : std::max<int64_t>(total, 1);
}

int64_t LoopAnalysis::Size(int computation) { return Size(computation, 0); }

int64_t LoopAnalysis::Size(int index, int depth) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (depth > limits_.max_nesting) return kMax;
  if (const auto found = sizes_.find(index); found != sizes_.end()) return found->second;
  int64_t size = 0;
  for (const Instruction& instruction : module_.computation(index).instructions) {
    if (!instruction.live) continue;
    const std::string& opcode = instruction.proto->opcode();
    int64_t part = 1;
    if (opcode == "parameter" || opcode == "tuple" || opcode == "get-tuple-element") part = 0;
    if (opcode == "call" && instruction.called.size() == 1) part = Size(instruction.called[0], depth + 1);
    if (opcode == "while") part = LoopSize(index, instruction, depth);
    if (__builtin_add_overflow(size, part, &size)) size = kMax;
  }
  sizes_[index] = size;
  return size;
}

}  // namespace alpa::graph::internal
