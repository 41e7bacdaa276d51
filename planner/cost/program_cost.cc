#include "planner/cost/program_cost.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "graph/cost.h"
#include "graph/fusion/exchange_dots.h"
#include "graph/fusion/fusion.h"
#include "graph/fusion/storage.h"

namespace alpa::planner {

using cluster::DeviceProfile;
using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;

namespace {

bool IsTranscendental(Opcode opcode) {
  switch (opcode) {
    case Opcode::kExp: case Opcode::kExpm1: case Opcode::kLog: case Opcode::kLog1p: case Opcode::kLogistic: case Opcode::kTanh:
    case Opcode::kErf: case Opcode::kSine: case Opcode::kCosine: case Opcode::kTan: case Opcode::kCbrt: case Opcode::kAtan2:
    case Opcode::kPower:
      return true;
    default: return false;
  }
}

struct ProductShape {
  int64_t batch = 1, m = 1, n = 1, k = 1;
};

ProductShape ShapeOfDot(const Graph& graph, const Op& op) {
  const auto& attrs = op.as<graph::DotAttrs>();
  const graph::Shape& lhs = graph.shape(op.operands[0]);
  ProductShape shape;
  for (int64_t d : attrs.lhs_batch) shape.batch *= lhs.dims[d];
  for (int64_t d : attrs.lhs_contracting) shape.k *= lhs.dims[d];
  const int64_t each = std::max<int64_t>(1, shape.batch * shape.k);
  shape.m = lhs.elements() / each;
  shape.n = graph.shape(op.operands[1]).elements() / each;
  return shape;
}

// As the product of patches and kernel.
ProductShape ShapeOfConvolution(const Graph& graph, const Op& op) {
  const auto& attrs = op.as<graph::ConvolutionAttrs>();
  const graph::Shape& out = graph.shape(op.results[0]);
  ProductShape shape;
  shape.batch = std::max(attrs.feature_group_count, attrs.batch_group_count);
  shape.n = std::max<int64_t>(1, out.dims[attrs.output_feature] / shape.batch);
  shape.m = out.elements() / std::max<int64_t>(1, shape.n * shape.batch);
  const int64_t flops = graph::CostOf(graph, op).flops;
  shape.k = std::max<int64_t>(1, flops / std::max<int64_t>(1, 2 * out.elements()));
  return shape;
}

class Pricer {
 public:
  Pricer(const Graph& graph, const DeviceProfile& device, const CollectivePrice& collective)
      : graph_(graph), device_(device), collective_(collective), plan_(fusion::PlanFusion(graph)) {}

  ProgramCost Run(const std::vector<int32_t>& alias) {
    fusion::StorageProblem problem = fusion::StorageOf(graph_, plan_, alias);
    for (const fusion::Unit& unit : plan_.units) problem.units.push_back(unit.fused ? Fused(unit) : Single(graph_.ops()[unit.ops.back()]));
    cost_.temporary_bytes = fusion::PlanStorage(problem).arena;
    return cost_;
  }

 private:
  double BytesOf(int value) const { return static_cast<double>(graph_.values()[value].shape.bytes()); }

  fusion::StorageUnit Fused(const fusion::Unit& unit) {
    fusion::StorageUnit storage;
    std::vector<int> members;
    for (int o : unit.ops) {
      for (ValueId id : graph_.ops()[o].results) members.push_back(id.value());
    }
    double bytes = 0, seconds = 0;
    for (int o : unit.ops) {
      const Op& op = graph_.ops()[o];
      if (plan_.roles[o] == fusion::Role::kElement || plan_.roles[o] == fusion::Role::kReduce) {
        seconds += static_cast<double>(unit.n) *
                   (IsTranscendental(op.opcode) ? device_.transcendental_seconds : device_.element_seconds);
      }
      for (ValueId id : op.operands) {
        const int root = plan_.root[id.value()];
        if (std::find(members.begin(), members.end(), root) != members.end()) continue;
        if (std::find(storage.reads.begin(), storage.reads.end(), root) != storage.reads.end()) continue;
        if (IsConstant(root) && graph_.values()[root].shape.elements() == 1) continue;
        storage.reads.push_back(root);
        bytes += std::min(BytesOf(root), static_cast<double>(unit.n) * 8);
      }
    }
    for (int value : members) {
      if (!plan_.needed[value] || plan_.recomputed[value]) continue;
      storage.writes.push_back(value);
      bytes += BytesOf(value);
      std::vector<fusion::ShareOption> options;
      for (int read : storage.reads) {
        if (BytesOf(read) == BytesOf(value)) options.push_back({read, fusion::Sharing::kElementwise});
      }
      storage.shares.push_back(std::move(options));
    }
    cost_.compute_seconds += std::max(seconds, bytes > 0 ? device_.memory.Seconds(bytes) : 0) + device_.kernel_seconds;
    return storage;
  }

  bool IsConstant(int value) const { return graph_.def(ValueId(value)).opcode == Opcode::kConstant; }

  fusion::StorageUnit Single(const Op& op) {
    fusion::StorageUnit storage;
    for (ValueId id : op.operands) storage.reads.push_back(plan_.root[id.value()]);
    for (ValueId id : op.results) storage.writes.push_back(id.value());
    storage.shares.resize(storage.writes.size());
    if (graph::IsCollective(op.opcode)) {
      for (size_t i = 0; i < storage.writes.size() && op.opcode == Opcode::kAllReduce; ++i) {
        storage.shares[i].push_back({storage.reads[i], fusion::Sharing::kUpdate});
      }
      if (collective_) cost_.collective_seconds += collective_(graph_, op);
      return storage;
    }
    if (op.opcode == Opcode::kDynamicUpdateSlice || op.opcode == Opcode::kScatter) {
      storage.shares[0].push_back({storage.reads[0], fusion::Sharing::kUpdate});
    }
    cost_.compute_seconds += SecondsOf(op) + device_.kernel_seconds;
    return storage;
  }

  double SecondsOf(const Op& op) const {
    const graph::OpCost cost = graph::CostOf(graph_, op);
    const double moved = static_cast<double>(cost.bytes_read) + static_cast<double>(cost.bytes_written);
    const double memory = moved > 0 ? device_.memory.Seconds(moved) : 0;
    switch (op.opcode) {
      case Opcode::kDot: return std::max(memory, Product(op, ShapeOfDot(graph_, op)));
      case Opcode::kConvolution: return std::max(memory, Product(op, ShapeOfConvolution(graph_, op)));
      case Opcode::kWhile: case Opcode::kConditional: {
        double seconds = 0;
        for (const auto& region : op.regions) seconds += PriceProgram(*region, {}, device_, collective_).compute_seconds;
        return seconds;
      }
      case Opcode::kSort: case Opcode::kScatter: case Opcode::kSelectAndScatter: case Opcode::kReduceWindow:
        return std::max(memory, static_cast<double>(cost.flops) * device_.slow_element_seconds);
      default: return std::max(memory, static_cast<double>(cost.flops) * device_.element_seconds);
    }
  }

  double Product(const Op& op, const ProductShape& shape) const {
    const bool half = graph::SizeOf(graph_.shape(op.operands[0]).dtype) == 2 && !device_.half_products.empty();
    return static_cast<double>(shape.batch) *
           ProductSeconds(half ? device_.half_products : device_.products, shape.m, shape.n, shape.k);
  }

  const Graph& graph_;
  const DeviceProfile& device_;
  const CollectivePrice& collective_;
  const fusion::FusionPlan plan_;
  ProgramCost cost_;
};

}  // namespace

double ProductSeconds(const std::vector<cluster::ProductPoint>& measured, int64_t m, int64_t n, int64_t k) {
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (flops <= 0 || measured.empty()) return 0;
  // Beyond what was measured a rate stays what it is at the edge.
  cluster::ProductPoint least = measured.front(), most = measured.front();
  for (const cluster::ProductPoint& p : measured) {
    least.m = std::min(least.m, p.m), least.n = std::min(least.n, p.n), least.k = std::min(least.k, p.k);
    most.m = std::max(most.m, p.m), most.n = std::max(most.n, p.n), most.k = std::max(most.k, p.k);
  }
  m = std::clamp(m, least.m, most.m), n = std::clamp(n, least.n, most.n), k = std::clamp(k, least.k, most.k);
  double rate = 0, weights = 0;
  for (const cluster::ProductPoint& p : measured) {
    const double dm = std::log2(static_cast<double>(m) / static_cast<double>(p.m));
    const double dn = std::log2(static_cast<double>(n) / static_cast<double>(p.n));
    const double dk = std::log2(static_cast<double>(k) / static_cast<double>(p.k));
    const double distance = dm * dm + dn * dn + dk * dk + 1e-6;
    const double weight = 1 / (distance * distance);
    const double of_it = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) / p.seconds;
    rate += weight * std::log(of_it);
    weights += weight;
  }
  return flops / std::exp(rate / weights);
}

ProgramCost PriceProgram(const Graph& program, const std::vector<int32_t>& alias, const DeviceProfile& device,
                         const CollectivePrice& collective) {
  // A graph of the caller's, not owned.
  const std::shared_ptr<const Graph> graph =
      fusion::ExchangeDots(std::shared_ptr<const Graph>(std::shared_ptr<void>(), &program));
  return Pricer(*graph, device, collective).Run(alias);
}

namespace {

// One product at the best rate of those measured: all are as fast then.
std::vector<cluster::ProductPoint> Best(const std::vector<cluster::ProductPoint>& measured) {
  const auto rate = [](const cluster::ProductPoint& p) {
    return static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) / p.seconds;
  };
  const auto best = std::max_element(measured.begin(), measured.end(), [&](const auto& a, const auto& b) { return rate(a) < rate(b); });
  return best == measured.end() ? measured : std::vector<cluster::ProductPoint>{*best};
}

DeviceProfile AtItsBest(DeviceProfile device) {
  device.products = Best(device.products);
  device.half_products = Best(device.half_products);
  double per_second = 0;
  for (const cluster::CurvePoint& point : device.memory.points) per_second = std::max(per_second, point.amount / point.seconds);
  if (per_second > 0) device.memory = cluster::Curve::Line(1e-15, per_second);
  device.kernel_seconds = device.program_seconds = 0;
  return device;
}

}  // namespace

double RooflineSeconds(const Graph& program, const cluster::Cluster& cluster) {
  std::vector<double> alone;  // by profile: the whole step on one such device
  for (const DeviceProfile& device : cluster.profiles) {
    alone.push_back(PriceProgram(program, {}, AtItsBest(device), nullptr).compute_seconds);
  }
  // Devices that want more cores than their host has are so many fewer.
  std::vector<double> wanted(cluster.hosts.size(), 0);
  for (const cluster::Device& device : cluster.devices) wanted[device.host] += device.cores;
  double steps_per_second = 0;
  for (const cluster::Device& device : cluster.devices) {
    const double cores = cluster.hosts[device.host].cores;
    const double share = cores > 0 && wanted[device.host] > cores ? cores / wanted[device.host] : 1;
    if (alone[device.profile] > 0) steps_per_second += share / alone[device.profile];
  }
  return steps_per_second > 0 ? 1 / steps_per_second : 0;
}

}  // namespace alpa::planner
