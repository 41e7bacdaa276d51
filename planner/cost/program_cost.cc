#include "planner/cost/program_cost.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "graph/cost.h"
#include "graph/fusion/exchange_dots.h"
#include "graph/fusion/fusion.h"
#include "graph/fusion/packing.h"
#include "graph/fusion/storage.h"
#include "graph/fusion/view.h"

namespace alpa::planner {

using cluster::DeviceProfile;
using graph::Graph;
using graph::Op;
using graph::Opcode;
using graph::ValueId;

namespace {

// The time per byte without a cache is the one measured for the largest amount of traffic. A byte counts as uncached if
// its time is at least this share of the time without a cache.
constexpr double kUncached = 0.7;

bool IsTranscendental(Opcode opcode) {
  switch (opcode) {
    case Opcode::kExp: case Opcode::kExpm1: case Opcode::kLog: case Opcode::kLog1p: case Opcode::kLogistic:
    case Opcode::kTanh: case Opcode::kErf: case Opcode::kSine: case Opcode::kCosine: case Opcode::kTan:
    case Opcode::kCbrt: case Opcode::kAtan2: case Opcode::kPower:
      return true;
    default: return false;
  }
}

bool IsDivision(Opcode opcode) {
  switch (opcode) {
    case Opcode::kDivide: case Opcode::kRemainder: case Opcode::kSqrt: case Opcode::kRsqrt: return true;
    default: return false;
  }
}

// Returns the number of runs in which a view of `elements` elements is read. A run is a sequence of neighbouring
// elements, or one element that is repeated. Returns 0 for scalars and linear views, because reading them costs nothing
// per run.
double ContiguousRuns(const fusion::View& view, double elements) {
  if (view.IsScalar() || view.IsLinear()) return 0;
  const int64_t step = view.strides.back();
  return step == 0 || step == 1 ? elements / static_cast<double>(view.dims.back()) : elements;
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

// Returns the shape of the matrix product of patches and kernel that computes the convolution.
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

class ProgramCostModel {
 public:
  ProgramCostModel(const Graph& graph, const DeviceProfile& device, const CollectiveCostFn& collective, double sharers)
      : graph_(graph), device_(device), collective_(collective), sharers_(sharers), plan_(fusion::PlanFusion(graph)) {}

  ProgramCost Run(const std::vector<int32_t>& alias) {
    fusion::StorageProblem problem = fusion::StorageOf(graph_, plan_, alias);
    for (const fusion::Unit& unit : plan_.units) {
      problem.units.push_back(unit.fused ? Fused(unit) : Single(graph_.ops()[unit.ops.back()]));
    }
    cost_.temporary_bytes = fusion::PlanStorage(problem).arena;
    AddMemory(alias);
    return cost_;
  }

 private:
  // The work of one unit of the fusion plan.
  struct Work {
    double seconds = 0;     // time of the unit without memory traffic
    bool overlaps = false;  // true: overlaps with memory traffic, so the longer of the two times counts, not their sum
    std::vector<std::pair<int, double>> reads, writes;  // value, bytes
  };

  // Adds the time of all units to cost_. Moving a value takes longer if many other bytes were moved since its last use,
  // because the value is then no longer in the nearer caches. Parameters and results were last used in the previous run
  // of the program.
  void AddMemory(const std::vector<int32_t>& alias) {
    double total = static_cast<double>(cost_.temporary_bytes);  // bytes that one run of the program touches
    // One entry per value: the bytes that this run had moved when it last touched the value. -1: this run has not
    // touched the value.
    std::vector<double> touched(graph_.values().size(), -1);
    std::vector<bool> lasting(graph_.values().size(), false);  // one entry per value: whether its memory holds a result
    for (ValueId id : graph_.parameters()) total += BytesOf(id.value());
    for (size_t r = 0; r < graph_.results().size(); ++r) {
      const int root = plan_.root[graph_.results()[r].value()];
      lasting[root] = true;
      if (r >= alias.size() || alias[r] < 0) total += BytesOf(root);
    }
    total *= sharers_;  // the bytes of the other devices pass through the same cache
    const cluster::Curve& curve = device_.memory;
    const double slowest = curve.points.empty() ? 0 : curve.points.back().seconds / curve.points.back().amount;
    double moved = 0;
    for (const Work& work : work_) {
      double own = 0;
      for (const auto& [value, bytes] : work.reads) own += bytes;
      for (const auto& [value, bytes] : work.writes) own += bytes;
      double memory = 0, uncached = 0;
      const auto add = [&](double bytes, double since) {
        const double amount = std::max({1.0, own, std::min(since, total)});
        const double each = device_.memory.Seconds(amount) / amount;
        memory += bytes * each;
        if (each >= kUncached * slowest) uncached += bytes * each;
      };
      for (const auto& [value, bytes] : work.reads) add(bytes, touched[value] < 0 ? total : moved - touched[value]);
      // The memory of temporaries is reused soon, so it is still cached.
      for (const auto& [value, bytes] : work.writes) add(bytes, lasting[value] ? total : 0);
      moved += own;
      for (const auto& [value, bytes] : work.reads) touched[value] = moved;
      for (const auto& [value, bytes] : work.writes) touched[value] = moved;
      if (!work.overlaps || memory > work.seconds) cost_.memory_seconds += uncached;
      cost_.compute_seconds +=
          (work.overlaps ? std::max(work.seconds, memory) : work.seconds + memory) + device_.kernel_seconds;
    }
  }

  double BytesOf(int value) const { return static_cast<double>(graph_.values()[value].shape.bytes()); }

  fusion::StorageUnit Fused(const fusion::Unit& unit) {
    fusion::StorageUnit storage;
    std::vector<int> members;
    for (int o : unit.ops) {
      for (ValueId id : graph_.ops()[o].results) members.push_back(id.value());
    }
    Work work;
    double& seconds = work.seconds;
    const auto n = static_cast<double>(unit.n);
    std::vector<int> seen;  // values that the kernel has loaded; it loads each of them once
    for (int o : unit.ops) {
      const Op& op = graph_.ops()[o];
      if (plan_.roles[o] == fusion::Role::kReduce) {
        seconds += n * device_.reduced_seconds + RowsOf(op, n) * device_.run_seconds;
      } else if (plan_.roles[o] == fusion::Role::kElement) {
        seconds += n * (IsTranscendental(op.opcode) ? device_.transcendental_seconds
                        : IsDivision(op.opcode)     ? device_.division_seconds
                                                    : device_.element_seconds);
      }
      for (ValueId id : op.operands) {
        int root = plan_.root[id.value()];
        if (std::find(members.begin(), members.end(), root) != members.end()) continue;
        if (std::find(seen.begin(), seen.end(), root) != seen.end()) continue;
        seen.push_back(root);
        // A view reads the memory of its source.
        if (const Op& source = graph_.def(ValueId(root)); RoleOf(root) == fusion::Role::kView) {
          const double runs = ContiguousRuns(fusion::ViewOf(graph_, source), n);
          if (runs > 0) seconds += runs * device_.run_seconds + n * device_.element_seconds;
          root = plan_.root[source.operands[0].value()];
        } else if (RoleOf(root) == fusion::Role::kIota) {
          continue;
        }
        if (std::find(storage.reads.begin(), storage.reads.end(), root) != storage.reads.end()) continue;
        if (IsConstant(root) && graph_.values()[root].shape.elements() == 1) continue;
        storage.reads.push_back(root);
        work.reads.push_back({root, std::min(BytesOf(root), n * 8)});
      }
    }
    for (int value : members) {
      if (!plan_.needed[value] || plan_.recomputed[value]) continue;
      storage.writes.push_back(value);
      work.writes.push_back({value, BytesOf(value)});
      std::vector<fusion::ShareOption> options;
      for (int read : storage.reads) {
        if (BytesOf(read) == BytesOf(value)) options.push_back({read, fusion::Sharing::kElementwise});
      }
      storage.shares.push_back(std::move(options));
    }
    work_.push_back(std::move(work));
    return storage;
  }

  double Elements(ValueId id) const { return static_cast<double>(graph_.shape(id).elements()); }

  // Returns the number of contiguous runs in which a reduction reads its operand. If it reduces the innermost
  // dimensions, each row is a run. If there are kept dimensions between reduced ones, adds the runs of the reordered
  // operand.
  double RowsOf(const Op& reduce, double n) const {
    const std::optional<fusion::ReduceLayout> layout = fusion::LayoutOf(graph_, reduce);
    if (!layout) return 0;
    const double rows = layout->inner == 1 ? static_cast<double>(layout->outer) : 0;
    return rows + (layout->order ? ContiguousRuns(*layout->order, n) : 0);
  }

  fusion::Role RoleOf(int value) const { return plan_.roles[graph_.value(ValueId(value)).op.value()]; }
  bool IsConstant(int value) const { return graph_.def(ValueId(value)).opcode == Opcode::kConstant; }

  fusion::StorageUnit Single(const Op& op) {
    fusion::StorageUnit storage;
    for (ValueId id : op.operands) storage.reads.push_back(plan_.root[id.value()]);
    for (ValueId id : op.results) storage.writes.push_back(id.value());
    storage.shares.resize(storage.writes.size());
    if (graph::IsCollective(op.opcode)) {
      if (op.opcode == Opcode::kAllReduce) storage.scratch = fusion::PackingOf(graph_, op).scratch;
      for (size_t i = 0; i < storage.writes.size() && op.opcode == Opcode::kAllReduce; ++i) {
        storage.shares[i].push_back({storage.reads[i], fusion::Sharing::kUpdate});
      }
      if (collective_) cost_.collective_seconds += collective_(graph_, op);
      ++cost_.collectives;
      return storage;
    }
    if (op.opcode == Opcode::kDynamicUpdateSlice || op.opcode == Opcode::kScatter) {
      storage.shares[0].push_back({storage.reads[0], fusion::Sharing::kUpdate});
    }
    Work work;
    const graph::OpCost cost = graph::CostOf(graph_, op);
    work.seconds = SecondsOf(op, cost);
    work.overlaps = Overlaps(op.opcode);
    // An operand causes at most the traffic of the whole op. For example, a gather reads only some rows of its table.
    double read = static_cast<double>(cost.bytes_read), written = static_cast<double>(cost.bytes_written);
    for (int value : storage.reads) {
      work.reads.push_back({value, std::min(read, BytesOf(value))});
      read -= work.reads.back().second;
    }
    for (int value : storage.writes) {
      work.writes.push_back({value, std::min(written, BytesOf(value))});
      written -= work.writes.back().second;
    }
    work_.push_back(std::move(work));
    return storage;
  }

  // Returns whether the time of the op overlaps with its memory traffic. The measured time of a product includes the
  // traffic. The other ops of this list need more time per element for computing than for traffic.
  static bool Overlaps(Opcode opcode) {
    switch (opcode) {
      case Opcode::kDot: case Opcode::kConvolution: case Opcode::kSort: case Opcode::kScatter:
      case Opcode::kSelectAndScatter: case Opcode::kReduceWindow:
        return true;
      default: return false;
    }
  }

  // Returns the seconds of an op that is not fused, without memory traffic.
  double SecondsOf(const Op& op, const graph::OpCost& cost) const {
    switch (op.opcode) {
      case Opcode::kDot: return Product(op, ShapeOfDot(graph_, op));
      case Opcode::kConvolution: return Product(op, ShapeOfConvolution(graph_, op));
      case Opcode::kWhile: case Opcode::kConditional: {
        double seconds = 0;
        for (const auto& region : op.regions) {
          seconds += EstimateProgramCost(*region, {}, device_, collective_).compute_seconds;
        }
        return seconds;
      }
      case Opcode::kSort: case Opcode::kScatter: case Opcode::kSelectAndScatter: case Opcode::kReduceWindow:
        return static_cast<double>(cost.flops) * device_.slow_element_seconds;
      case Opcode::kBroadcast: case Opcode::kTranspose: case Opcode::kReverse: case Opcode::kPad:
        return Elements(op.results[0]) * device_.slow_element_seconds;
      default:
        return std::max(Elements(op.results[0]), static_cast<double>(cost.flops)) * device_.element_seconds;
    }
  }

  double Product(const Op& op, const ProductShape& shape) const {
    // If products of 16-bit floats were measured separately on the device, use these measurements.
    const bool half = graph::SizeOf(graph_.shape(op.operands[0]).dtype) == 2 && !device_.half_products.empty();
    return static_cast<double>(shape.batch) *
           ProductSeconds(half ? device_.half_products : device_.products, shape.m, shape.n, shape.k);
  }

  const Graph& graph_;
  const DeviceProfile& device_;
  const CollectiveCostFn& collective_;
  const double sharers_;
  const fusion::FusionPlan plan_;
  std::vector<Work> work_;    // one entry per unit other than collectives, in order
  ProgramCost cost_;
};

}  // namespace

double ProductSeconds(const std::vector<cluster::ProductPoint>& measured, int64_t m, int64_t n, int64_t k) {
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (flops <= 0 || measured.empty()) return 0;
  // A product outside the measured range has the rate at the edge of the range.
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
    const double flops_per_second =
        2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) / p.seconds;
    rate += weight * std::log(flops_per_second);
    weights += weight;
  }
  return flops / std::exp(rate / weights);
}

ProgramCost EstimateProgramCost(const Graph& program, const std::vector<int32_t>& alias, const DeviceProfile& device,
                                const CollectiveCostFn& collective, double sharers) {
  // The shared pointer refers to the caller's graph without owning it.
  const std::shared_ptr<const Graph> graph =
      fusion::ExchangeDots(std::shared_ptr<const Graph>(std::shared_ptr<void>(), &program));
  return ProgramCostModel(*graph, device, collective, sharers).Run(alias);
}

namespace {

// Returns only the measured product with the best rate, so that every product gets this rate.
std::vector<cluster::ProductPoint> Best(const std::vector<cluster::ProductPoint>& measured) {
  const auto rate = [](const cluster::ProductPoint& p) {
    return static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) / p.seconds;
  };
  const auto best = std::max_element(measured.begin(), measured.end(),
                                     [&](const auto& a, const auto& b) { return rate(a) < rate(b); });
  return best == measured.end() ? measured : std::vector<cluster::ProductPoint>{*best};
}

// Returns the profile without overheads, and with its best product rate and best memory rate at every size.
DeviceProfile AtItsBest(DeviceProfile device) {
  device.products = Best(device.products);
  device.half_products = Best(device.half_products);
  double per_second = 0;
  for (const cluster::CurvePoint& point : device.memory.points) {
    per_second = std::max(per_second, point.amount / point.seconds);
  }
  if (per_second > 0) device.memory = cluster::Curve::Line(1e-15, per_second);
  device.kernel_seconds = device.program_seconds = 0;
  return device;
}

}  // namespace

double RooflineSeconds(const Graph& program, const cluster::Cluster& cluster) {
  std::vector<double> alone;  // one entry per profile: seconds of the whole step on one device with this profile
  for (const DeviceProfile& device : cluster.profiles) {
    alone.push_back(EstimateProgramCost(program, {}, AtItsBest(device), nullptr).compute_seconds);
  }
  // If the devices of a host use more cores than the host has, each of these devices counts as a fraction of a device.
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
