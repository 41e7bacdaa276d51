#include "graph/cost.h"

#include <algorithm>
#include <limits>

namespace alpa::graph {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

// These functions saturate, so that the cost of a huge program does not overflow to a negative number.
int64_t Add(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? kMax : sum;
}
int64_t Multiply(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? kMax : product;
}
OpCost Add(const OpCost& a, const OpCost& b) {
  return {Add(a.flops, b.flops), Add(a.bytes_read, b.bytes_read), Add(a.bytes_written, b.bytes_written)};
}
int64_t WindowElements(const std::vector<WindowDim>& window) {
  int64_t elements = 1;
  for (const WindowDim& w : window) elements = Multiply(elements, w.size);
  return elements;
}

// Returns the FLOPs of one call of a scalar region.
int64_t RegionFlops(const Graph& region) {
  int64_t flops = 0;
  for (const Op& op : region.ops()) flops = Add(flops, CostOf(region, op).flops);
  return flops;
}

int64_t Log2Ceil(int64_t n) {
  int64_t bits = 0;
  while (n > 1) {
    n = (n + 1) / 2;
    ++bits;
  }
  return bits;
}

int64_t FlopsOf(const Graph& graph, const Op& op) {
  const auto elements = [&](ValueId id) { return graph.shape(id).elements(); };
  switch (op.opcode) {
    case Opcode::kDot: {
      const Shape& lhs = graph.shape(op.operands[0]);
      int64_t contracted = 1;
      for (int64_t dim : op.as<DotAttrs>().lhs_contracting) contracted = Multiply(contracted, lhs.dims[dim]);
      return Multiply(2, Multiply(elements(op.results[0]), contracted));
    }
    case Opcode::kConvolution: {
      const auto& attrs = op.as<ConvolutionAttrs>();
      const Shape& kernel = graph.shape(op.operands[1]);
      const int64_t each = Multiply(WindowElements(attrs.window), kernel.dims[attrs.kernel_input_feature]);
      return Multiply(2, Multiply(elements(op.results[0]), each));
    }
    case Opcode::kReduce: {
      const int64_t combined = std::max<int64_t>(0, elements(op.operands[0]) - elements(op.results[0]));
      return Multiply(combined, RegionFlops(*op.regions[0]));
    }
    case Opcode::kReduceWindow: {
      const int64_t window = WindowElements(op.as<WindowAttrs>().window);
      return Multiply(Multiply(elements(op.results[0]), window), RegionFlops(*op.regions[0]));
    }
    case Opcode::kSelectAndScatter: {
      const int64_t window = WindowElements(op.as<WindowAttrs>().window);
      const int64_t each = Add(Multiply(window, RegionFlops(*op.regions[0])), RegionFlops(*op.regions[1]));
      return Multiply(elements(op.operands[1]), each);
    }
    case Opcode::kScatter: {
      const size_t n = op.operands.size() / 2;
      return Multiply(elements(op.operands[n + 1]), RegionFlops(*op.regions[0]));
    }
    case Opcode::kSort: {
      const Shape& shape = graph.shape(op.operands[0]);
      const int64_t length = shape.dims[op.as<SortAttrs>().dimension];
      return Multiply(Multiply(shape.elements(), Log2Ceil(length)), RegionFlops(*op.regions[0]));
    }
    case Opcode::kCopy:
    case Opcode::kBitcastConvert:
      return 0;
    default:
      break;
  }
  return IsElementwise(op.opcode) ? elements(op.results[0]) : 0;
}

}  // namespace

OpCost CostOf(const Graph& graph, const Op& op) {
  if (op.opcode == Opcode::kParameter || op.opcode == Opcode::kConstant) return {};
  if (op.opcode == Opcode::kWhile) return Add(CostOf(*op.regions[0]), CostOf(*op.regions[1]));
  if (op.opcode == Opcode::kConditional) {
    OpCost worst;
    for (const auto& branch : op.regions) {
      const OpCost cost = CostOf(*branch);
      if (cost.flops > worst.flops || (cost.flops == worst.flops && cost.bytes_read > worst.bytes_read))
        worst = cost;
    }
    return worst;
  }
  OpCost cost;
  cost.flops = FlopsOf(graph, op);
  for (ValueId operand : op.operands) cost.bytes_read = Add(cost.bytes_read, graph.shape(operand).bytes());
  for (ValueId result : op.results) cost.bytes_written = Add(cost.bytes_written, graph.shape(result).bytes());
  // A slice or gather reads only the elements that it copies. A barrier moves nothing.
  switch (op.opcode) {
    case Opcode::kOptimizationBarrier:
      return {};
    case Opcode::kSlice:
    case Opcode::kDynamicSlice:
    case Opcode::kGather: {
      cost.bytes_read = cost.bytes_written;
      for (size_t i = 1; i < op.operands.size(); ++i) {
        cost.bytes_read = Add(cost.bytes_read, graph.shape(op.operands[i]).bytes());
      }
      break;
    }
    default:
      break;
  }
  return cost;
}

OpCost CostOf(const Graph& graph) {
  OpCost total;
  for (const Op& op : graph.ops()) total = Add(total, CostOf(graph, op));
  return total;
}

}  // namespace alpa::graph
