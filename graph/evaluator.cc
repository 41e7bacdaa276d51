#include "graph/evaluator.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "graph/evaluator_internal.h"

namespace alpa::graph {
namespace internal {
namespace {

constexpr int64_t kMaxBytes = int64_t{8} << 30;  // limits the bytes of all live values in one evaluation
constexpr int kMaxDepth = 256;                   // limits the nesting of regions, because EvaluateIn recurses into them

std::string Where(const Graph& graph, const Op& op) {
  const std::string location = graph.location(op);
  return location.empty() ? std::string(NameOf(op.opcode)) : absl::StrCat(NameOf(op.opcode), " at ", location);
}

// Returns the size of a shape in bytes. Saturates at the largest int64_t.
int64_t SaturatedBytes(const Shape& shape) {
  int64_t bytes = SizeOf(shape.dtype);
  for (int64_t d : shape.dims) {
    if (d == 0) return 0;
  }
  for (int64_t d : shape.dims) {
    if (__builtin_mul_overflow(bytes, d, &bytes)) return std::numeric_limits<int64_t>::max();
  }
  return bytes;
}

Results EvaluateConditional(const OpCall& call) {
  const int64_t branches = static_cast<int64_t>(call.op.regions.size());
  int64_t branch;
  if (call.operands[0].shape().dtype == DType::kPred) {
    branch = Data<Pred>(call.operands[0])->byte != 0 ? 0 : 1;
  } else {
    branch = IntegerAt(call.operands[0], 0);
  }
  if (branch < 0 || branch >= branches) branch = branches - 1;
  return EvaluateIn(call.context, *call.op.regions[branch], call.operands.subspan(1));
}

Results EvaluateWhile(const OpCall& call) {
  std::vector<Literal> carried(call.operands.begin(), call.operands.end());
  for (int64_t i = 0;; ++i) {
    ALPA_ASSIGN_OR_RETURN(std::vector<Literal> again, EvaluateIn(call.context, *call.op.regions[0], carried));
    if (Data<Pred>(again[0])->byte == 0) return carried;
    if (i >= call.context.options.max_loop_iterations) {
      return absl::DeadlineExceededError(absl::StrCat(Where(call.graph, call.op), ": still running after ", i,
                                                      " iterations, the limit of the evaluator"));
    }
    ALPA_ASSIGN_OR_RETURN(carried, EvaluateIn(call.context, *call.op.regions[1], carried));
  }
}

Results Dispatch(const OpCall& call) {
  if (IsElementwise(call.op.opcode)) return EvaluateElementwise(call);
  switch (call.op.opcode) {
    case Opcode::kConstant: return std::vector<Literal>{call.op.as<ConstantAttrs>().literal};
    case Opcode::kOptimizationBarrier: return std::vector<Literal>(call.operands.begin(), call.operands.end());
    case Opcode::kConditional: return EvaluateConditional(call);
    case Opcode::kWhile: return EvaluateWhile(call);
    case Opcode::kGather: return EvaluateGather(call);
    case Opcode::kScatter: return EvaluateScatter(call);
    case Opcode::kConvolution: return EvaluateConvolution(call);
    case Opcode::kDot: return EvaluateDot(call);
    case Opcode::kReduce: return EvaluateReduce(call);
    case Opcode::kReduceWindow: return EvaluateReduceWindow(call);
    case Opcode::kSelectAndScatter: return EvaluateSelectAndScatter(call);
    case Opcode::kSort: return EvaluateSort(call);
    case Opcode::kAllGather:
    case Opcode::kAllReduce:
    case Opcode::kAllToAll:
    case Opcode::kCollectivePermute:
    case Opcode::kReduceScatter:
    case Opcode::kAxisIndex:
      if (call.context.options.collective) {
        return call.context.options.collective(call.graph, call.op, call.operands);
      }
      return Unimplemented("%s: the evaluator cannot run this op, because the caller set no function for collectives",
                           Where(call.graph, call.op));
    default: return EvaluateMovement(call);
  }
}

}  // namespace

absl::Status CheckBudget(const Context& context, const Graph& graph, const Op& op, int64_t bytes) {
  if (bytes <= kMaxBytes - context.live_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(Where(graph, op), ": needs ", bytes, " bytes in addition to the ", context.live_bytes,
                   " bytes in use; the evaluator may hold at most ", kMaxBytes, ". Use smaller shapes."));
}

int64_t IntegerAt(const Literal& literal, int64_t i) {
  return VisitDType(literal.shape().dtype, [&]<typename T>() -> int64_t {
    if constexpr (kIsInt<T>) {
      const T x = Data<T>(literal)[i];
      return std::in_range<int64_t>(x) ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::max();
    } else {
      return static_cast<int64_t>(Element<T>::Load(Data<T>(literal)[i]));
    }
  });
}

int64_t Product(std::span<const int64_t> dims) {
  int64_t product = 1;
  for (int64_t d : dims) product *= d;
  return product;
}

Results EvaluateOpIn(Context& context, const Graph& graph, const Op& op, std::span<const Literal> operands) {
  int64_t bytes = 0;
  for (ValueId id : op.results) {
    const int64_t more = SaturatedBytes(graph.shape(id));
    bytes = more > kMaxBytes ? more : bytes + more;
    ALPA_RETURN_IF_ERROR(CheckBudget(context, graph, op, bytes));
  }
  return Dispatch(OpCall{context, graph, op, operands});
}

Results EvaluateIn(Context& context, const Graph& graph, std::span<const Literal> arguments) {
  if (context.depth >= kMaxDepth) {
    return absl::ResourceExhaustedError(
        absl::StrCat("regions are nested more than ", kMaxDepth, " levels deep, the limit of the evaluator"));
  }
  // A value is live until its last reader has run. The graph itself counts as an additional reader of each of its
  // results.
  std::vector<int32_t> readers(graph.values().size());
  for (const Op& op : graph.ops()) {
    for (ValueId id : op.operands) ++readers[id.value()];
  }
  for (ValueId id : graph.results()) ++readers[id.value()];
  std::vector<Literal> values(graph.values().size());
  const int64_t outer_bytes = context.live_bytes;
  ++context.depth;
  auto leave = [&](Results results) {
    --context.depth;
    context.live_bytes = outer_bytes;
    return results;
  };
  std::vector<Literal> operands;
  for (const Op& op : graph.ops()) {
    if (op.opcode == Opcode::kParameter) {
      values[op.results[0].value()] = arguments[op.as<ParameterAttrs>().index];
      continue;
    }
    operands.clear();
    for (ValueId id : op.operands) operands.push_back(values[id.value()]);
    Results results = EvaluateOpIn(context, graph, op, operands);
    if (!results.ok()) return leave(std::move(results));
    operands.clear();
    for (ValueId id : op.operands) {
      if (--readers[id.value()] > 0) continue;
      if (graph.def(id).opcode != Opcode::kParameter) context.live_bytes -= values[id.value()].shape().bytes();
      values[id.value()] = Literal();
    }
    for (size_t i = 0; i < op.results.size(); ++i) {
      if (readers[op.results[i].value()] == 0) continue;
      context.live_bytes += (*results)[i].shape().bytes();
      values[op.results[i].value()] = std::move((*results)[i]);
    }
  }
  std::vector<Literal> results;
  for (ValueId id : graph.results()) results.push_back(values[id.value()]);
  return leave(std::move(results));
}

}  // namespace internal

absl::StatusOr<std::vector<Literal>> EvaluateWith(const EvaluateOptions& options, const Graph& graph,
                                                  std::span<const Literal> arguments) {
  if (arguments.size() != graph.parameters().size()) {
    return InvalidArgument("evaluate: the call has %d arguments, but the graph has %d parameters",
                           arguments.size(), graph.parameters().size());
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Shape& expected = graph.shape(graph.parameters()[i]);
    if (arguments[i].shape() != expected) {
      return InvalidArgument("evaluate: argument %d is %s, but parameter %d is %s", i,
                             arguments[i].shape().ToString(), i, expected.ToString());
    }
  }
  internal::Context context{.options = options};
  return internal::EvaluateIn(context, graph, arguments);
}

absl::StatusOr<std::vector<Literal>> Evaluate(const Graph& graph, std::span<const Literal> arguments,
                                              int64_t max_loop_iterations) {
  EvaluateOptions options;
  options.max_loop_iterations = max_loop_iterations;
  return EvaluateWith(options, graph, arguments);
}

absl::StatusOr<std::vector<Literal>> EvaluateOp(const Graph& graph, const Op& op, std::span<const Literal> operands) {
  if (op.opcode == Opcode::kParameter)
    return InvalidArgument("evaluate: the op is a parameter, which computes nothing");
  if (operands.size() != op.operands.size()) {
    return InvalidArgument("evaluate: the call has %d operands for %s, which needs %d", operands.size(),
                           std::string(NameOf(op.opcode)), op.operands.size());
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    const Shape& expected = graph.shape(op.operands[i]);
    if (operands[i].shape() != expected) {
      return InvalidArgument("evaluate: operand %d of %s is %s, expected %s", i, std::string(NameOf(op.opcode)),
                             operands[i].shape().ToString(), expected.ToString());
    }
  }
  internal::Context context;
  return internal::EvaluateOpIn(context, graph, op, operands);
}

}  // namespace alpa::graph
