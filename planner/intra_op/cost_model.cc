#include "planner/intra_op/cost_model.h"

#include <algorithm>
#include <map>
#include <memory>

#include "graph/builder.h"
#include "graph/cost.h"
#include "planner/cost/collective_cost.h"
#include "planner/cost/fixed_costs.h"
#include "planner/cost/program_cost.h"
#include "planner/lower/local_op.h"

namespace alpa::planner::intra_op {

using graph::Graph;
using graph::Op;
using graph::Opcode;

namespace {

// Cost of a byte of state, as a share of the time to read the byte once.
constexpr double kStateShare = 0.01;

// Returns whether the op costs nothing, because it is fused into its readers or because no kernel runs for it.
bool IsFree(Opcode opcode) {
  switch (opcode) {
    case Opcode::kParameter: case Opcode::kConstant: case Opcode::kIota: case Opcode::kBroadcast: case Opcode::kReshape:
    case Opcode::kOptimizationBarrier: case Opcode::kAxisIndex:
      return true;
    default: return false;
  }
}

double BytesIn(const Graph& graph, graph::ValueId v, const AxisState& state, int64_t n) {
  const double bytes = static_cast<double>(graph.shape(v).bytes());
  return state.split() ? bytes / static_cast<double>(n) : bytes;
}

// Returns the bytes of the results, plus the bytes of the operands if the op is not elementwise.
double BytesMoved(const Graph& graph, const Op& op, const OpRule& rule, int64_t n) {
  double bytes = 0;
  for (size_t r = 0; r < op.results.size(); ++r) bytes += BytesIn(graph, op.results[r], rule.results[r], n);
  if (graph::IsElementwise(op.opcode)) return bytes;
  for (size_t i = 0; i < op.operands.size(); ++i) bytes += BytesIn(graph, op.operands[i], rule.operands[i], n);
  return bytes;
}

// Returns whether the devices share the work of the op.
bool Divided(const OpRule& rule) {
  const auto split = [](const AxisState& state) { return state.split(); };
  return std::any_of(rule.operands.begin(), rule.operands.end(), split) ||
         std::any_of(rule.results.begin(), rule.results.end(), split);
}

// Returns a graph that runs a collective over other axes on operand `part` only, with the shape of one device's tile.
Graph PartOf(const Graph& graph, const Op& op, int part, const OpRule& rule, int64_t n) {
  graph::GraphBuilder builder;
  graph::Shape from = graph.shape(op.operands[part]), to = graph.shape(op.results[part]);
  from.dims = ChunkDims(from.dims, rule.operands[0], n);
  to.dims = ChunkDims(to.dims, rule.results[0], n);
  builder.SetResults(builder.AddOp(op.opcode, {builder.Parameter(from)}, {to}, op.attrs));
  return builder.Build();
}

// Returns a graph that runs the op on one device's tiles.
Graph LocalGraph(const Graph& graph, const Op& op, const OpRule& rule, int64_t n) {
  graph::GraphBuilder builder;
  std::vector<graph::ValueId> operands;
  for (size_t i = 0; i < op.operands.size(); ++i) {
    graph::Shape shape = graph.shape(op.operands[i]);
    shape.dims = ChunkDims(shape.dims, rule.operands[i], n);
    operands.push_back(builder.Parameter(shape));
  }
  const graph::ValueId chunk = builder.Parameter({graph::DType::kS32, {}});
  builder.SetResults(EmitLocalOp(builder, graph, op, operands, rule.operands, rule.results, n, [&] { return chunk; }));
  return builder.Build();
}

}  // namespace

MoveCosts SentBytes(double bytes, double partial_bytes, int64_t n) {
  const double share = static_cast<double>(n - 1) / static_cast<double>(n);
  return {bytes * share, 2 * partial_bytes * share, partial_bytes * share, bytes * share / static_cast<double>(n)};
}

CostModel FixedCostModel(const cluster::Mesh& mesh, int64_t n) {
  CostModel model;
  model.state_byte = kStateByteCost;
  model.move = [n](double bytes, double partial_bytes) {
    MoveCosts move = SentBytes(bytes, partial_bytes, n);
    for (double* cost : {&move.gather, &move.reduce, &move.scatter, &move.exchange}) *cost += kCollectiveStartCost;
    return move;
  };
  model.op = [mesh, n](const Graph& graph, const Op& op, int part, const OpRule& rule) -> double {
    if (IsFree(op.opcode)) return 0;
    if (part >= 0) {
      const Graph local = PartOf(graph, op, part, rule, n);
      return CollectiveBytes(local, local.ops().back(), GroupSize(op, mesh));
    }
    if (graph::IsProduct(op.opcode)) {
      const double flops = static_cast<double>(graph::CostOf(graph, op).flops);
      return kProductFlopCost * (Divided(rule) ? flops / static_cast<double>(n) : flops);
    }
    return kWrittenByteCost * BytesMoved(graph, op, rule, n);
  };
  return model;
}

CostModel MeasuredCostModel(const cluster::Mesh& mesh, const cluster::Cluster& cluster) {
  const int64_t n = mesh.shape.back();
  const auto axis = static_cast<int64_t>(mesh.shape.size()) - 1;
  const cluster::DeviceProfile& device = cluster.profiles[cluster.Find(mesh.devices[0])->profile];
  CostModel model;
  model.state_byte = kStateShare * device.memory.Seconds(1 << 20) / (1 << 20);
  auto known = std::make_shared<std::map<std::pair<double, double>, MoveCosts>>();
  model.move = [n, axis, mesh, &cluster, known](double bytes, double partial_bytes) {
    const auto [found, added] = known->try_emplace({bytes, partial_bytes});
    if (!added) return found->second;
    const auto seconds = [&](Opcode opcode, double larger) {
      graph::GraphBuilder builder;
      const auto elements = std::max<int64_t>(1, static_cast<int64_t>(larger));
      graph::CollectiveAttrs attrs;
      attrs.mesh_axes = {axis};
      const graph::ValueId array = builder.Parameter({graph::DType::kS8, {elements}});
      builder.SetResults(builder.AddOp(opcode, {array}, {{graph::DType::kS8, {elements}}}, attrs));
      const Graph graph = builder.Build();
      return CollectiveSeconds(graph, graph.ops().back(), mesh, cluster);
    };
    return found->second = {seconds(Opcode::kAllGather, bytes), seconds(Opcode::kAllReduce, partial_bytes),
                            seconds(Opcode::kReduceScatter, partial_bytes),
                            seconds(Opcode::kAllToAll, bytes / static_cast<double>(n))};
  };
  model.op = [n, mesh, &cluster, &device](const Graph& graph, const Op& op, int part, const OpRule& rule) -> double {
    if (IsFree(op.opcode)) return 0;
    if (part >= 0) {
      const Graph local = PartOf(graph, op, part, rule, n);
      return CollectiveSeconds(local, local.ops().back(), mesh, cluster);
    }
    if (graph::IsElementwise(op.opcode) || op.opcode == Opcode::kTranspose || op.opcode == Opcode::kSlice) {
      const double bytes = BytesMoved(graph, op, rule, n);
      const double elements = bytes / static_cast<double>(graph::SizeOf(graph.shape(op.results[0]).dtype));
      return std::max(elements * device.element_seconds, bytes > 0 ? device.memory.Seconds(bytes) : 0);
    }
    return EstimateProgramCost(LocalGraph(graph, op, rule, n), {}, device, nullptr).compute_seconds;
  };
  return model;
}

}  // namespace alpa::planner::intra_op
