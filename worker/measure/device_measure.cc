#include "worker/measure/device_measure.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/status.h"
#include "graph/builder.h"
#include "worker/measure/probe.h"

namespace alpa::worker {

using graph::DType;
using graph::Graph;
using graph::GraphBuilder;
using graph::Opcode;
using graph::Shape;
using graph::ValueId;

namespace {

// What each number may take, in seconds. Together they stay below the shares of the limit in MeasureDevice.
constexpr double kPatience = 4e-3;

Graph Product(int64_t m, int64_t n, int64_t k, DType dtype) {
  GraphBuilder b;
  graph::DotAttrs attrs;
  attrs.lhs_contracting = {1};
  attrs.rhs_contracting = {0};
  const ValueId lhs = b.Parameter({dtype, {m, k}}), rhs = b.Parameter({dtype, {k, n}});
  b.SetResults({b.Dot(lhs, rhs, attrs, dtype)});
  return b.Build();
}

// One fused kernel that reads two arrays and writes one: 12 bytes an element.
constexpr int64_t kBytesOfSum = 12;
Graph Sum(int64_t elements) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {elements}}), y = b.Parameter({DType::kF32, {elements}});
  b.SetResults({b.Binary(Opcode::kAdd, x, y)});
  return b.Build();
}

// One fused kernel of so many cheap ops an element.
Graph Chain(int64_t elements, int ops) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {elements}}), y = b.Parameter({DType::kF32, {elements}});
  ValueId value = x;
  for (int i = 0; i < ops; ++i) value = b.Binary(i % 2 == 0 ? Opcode::kAdd : Opcode::kMultiply, value, y);
  b.SetResults({value});
  return b.Build();
}

Graph Functions(int64_t elements, int rounds) {
  GraphBuilder b;
  ValueId value = b.Parameter({DType::kF32, {elements}});
  for (int i = 0; i < rounds; ++i) {
    for (Opcode opcode : {Opcode::kTanh, Opcode::kExp, Opcode::kLog}) value = b.Unary(opcode, value);
  }
  b.SetResults({value});
  return b.Build();
}
constexpr int kFunctions = 3;

// So many kernels that have next to nothing to do, and cannot be made one.
Graph Kernels(int count) {
  GraphBuilder b;
  std::vector<ValueId> results;
  for (int i = 0; i < count; ++i) {
    const ValueId x = b.Parameter({DType::kF32, {i + 1}});
    results.push_back(b.Binary(Opcode::kAdd, x, x));
  }
  b.SetResults(std::move(results));
  return b.Build();
}

// Rows added to a table, as the gradient of an embedding is.
constexpr int64_t kTableRows = 256, kTableWidth = 64;
Graph Scatter(int64_t rows) {
  GraphBuilder b;
  const Shape table{DType::kF32, {kTableRows, kTableWidth}};
  const ValueId operand = b.Parameter(table), indices = b.Parameter({DType::kS32, {rows, 1}}),
                updates = b.Parameter({DType::kF32, {rows, kTableWidth}});
  graph::ScatterAttrs attrs;
  attrs.update_window_dims = {1};
  attrs.inserted_window_dims = {0};
  attrs.scatter_dims_to_operand_dims = {0};
  attrs.index_vector_dim = 1;
  b.SetResults(b.AddOp(Opcode::kScatter, {operand, indices, updates}, {table}, attrs,
                       {graph::ReduceRegion(graph::ReduceKind::kSum, DType::kF32)}));
  return b.Build();
}

absl::StatusOr<double> SecondsOf(kernels::Backend& backend, const Graph& graph, double patience = kPatience, int index_limit = 1) {
  ALPA_ASSIGN_OR_RETURN(const auto probe, Probe::Make(backend, 0, graph, index_limit));
  return probe->Fastest(patience);
}

// What each of `more - fewer` further parts adds, at least next to nothing.
double Slope(double fewer_seconds, double more_seconds, double parts) {
  return std::max(more_seconds - fewer_seconds, 1e-12) / parts;
}

// Every combination of these extents, by increasing work.
std::vector<cluster::ProductPoint> ProductSizes(const std::vector<int64_t>& extents) {
  std::vector<cluster::ProductPoint> sizes;
  for (int64_t m : extents) {
    for (int64_t n : extents) {
      for (int64_t k : extents) sizes.push_back({m, n, k, 0});
    }
  }
  std::stable_sort(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.m * a.n * a.k < b.m * b.n * b.k; });
  return sizes;
}

absl::StatusOr<std::vector<cluster::ProductPoint>> MeasureProducts(kernels::Backend& backend, DType dtype,
                                                                   const std::vector<int64_t>& extents, double overhead,
                                                                   const TimeLimit& limit) {
  std::vector<cluster::ProductPoint> measured;
  double per_operation = 0;
  for (cluster::ProductPoint point : ProductSizes(extents)) {
    const auto work = static_cast<double>(point.m * point.n * point.k);
    if (!measured.empty() && !limit.Allows(2 * work * per_operation)) break;
    auto seconds = SecondsOf(backend, Product(point.m, point.n, point.k, dtype));
    if (absl::IsUnimplemented(seconds.status())) return measured;
    if (!seconds.ok()) return seconds.status();
    point.seconds = std::max(*seconds - overhead, *seconds / 10);
    per_operation = *seconds / work;
    measured.push_back(point);
  }
  return measured;
}

absl::StatusOr<cluster::Curve> MeasureMemory(kernels::Backend& backend, double overhead, const TimeLimit& limit) {
  cluster::Curve curve;
  double per_byte = 0;
  for (double bytes = 1 << 10; bytes <= 96 << 20; bytes *= 4) {
    // Twice for the runs, and again as much for memory that is touched the first time.
    if (!curve.points.empty() && !limit.Allows(8 * bytes * per_byte)) break;
    const int64_t elements = std::max<int64_t>(1, static_cast<int64_t>(bytes) / kBytesOfSum);
    ALPA_ASSIGN_OR_RETURN(const double seconds, SecondsOf(backend, Sum(elements), 2 * kPatience));
    double alone = std::max(seconds - overhead, seconds / 10);
    if (!curve.points.empty()) alone = std::max(alone, curve.points.back().seconds);  // more bytes are never faster
    curve.points.push_back({static_cast<double>(elements * kBytesOfSum), alone});
    per_byte = seconds / bytes;
  }
  return curve;
}

}  // namespace

absl::StatusOr<cluster::DeviceProfile> MeasureDevice(kernels::Backend& backend, const TimeLimit& limit) {
  cluster::DeviceProfile profile;
  constexpr int kFew = 2, kMany = 34;
  ALPA_ASSIGN_OR_RETURN(const double few, SecondsOf(backend, Kernels(kFew)));
  ALPA_ASSIGN_OR_RETURN(const double many, SecondsOf(backend, Kernels(kMany)));
  profile.kernel_seconds = Slope(few, many, kMany - kFew);
  profile.program_seconds = std::max(few - kFew * profile.kernel_seconds, 1e-9);
  const double overhead = profile.kernel_seconds + profile.program_seconds;  // of a program of one kernel

  // Large enough to be shared among a device's threads, small enough for its caches.
  constexpr int64_t kElements = 32 << 10;
  ALPA_ASSIGN_OR_RETURN(const double short_chain, SecondsOf(backend, Chain(kElements, 8)));
  ALPA_ASSIGN_OR_RETURN(const double long_chain, SecondsOf(backend, Chain(kElements, 40)));
  profile.element_seconds = Slope(short_chain, long_chain, 32.0 * kElements);
  ALPA_ASSIGN_OR_RETURN(const double one_round, SecondsOf(backend, Functions(kElements, 1)));
  ALPA_ASSIGN_OR_RETURN(const double three_rounds, SecondsOf(backend, Functions(kElements, 3)));
  profile.transcendental_seconds = Slope(one_round, three_rounds, 2.0 * kFunctions * kElements);
  constexpr int64_t kRows = 512;
  ALPA_ASSIGN_OR_RETURN(const double scatter, SecondsOf(backend, Scatter(kRows), kPatience, kTableRows));
  profile.slow_element_seconds = std::max(scatter - overhead, scatter / 10) / (kRows * kTableWidth);

  const double left = std::max(0.0, limit.left());
  ALPA_ASSIGN_OR_RETURN(profile.memory, MeasureMemory(backend, overhead, TimeLimit(0.25 * left)));
  ALPA_ASSIGN_OR_RETURN(profile.products, MeasureProducts(backend, DType::kF32, {1, 8, 32, 128, 512}, overhead, TimeLimit(0.55 * left)));
  if (profile.products.empty()) return Unimplemented("the backend multiplies no matrices of 32-bit floats");
  ALPA_ASSIGN_OR_RETURN(profile.half_products, MeasureProducts(backend, DType::kBF16, {8, 64, 512}, overhead, TimeLimit(0.2 * left)));
  return profile;
}

absl::StatusOr<double> MeasureMemoryStreams(kernels::Backend& backend, const TimeLimit& limit) {
  const int devices = backend.device_count();
  if (devices < 2) return 0;
  constexpr int64_t kElements = (24 << 20) / kBytesOfSum;
  std::vector<std::unique_ptr<Probe>> probes;
  for (int device = 0; device < devices; ++device) {
    ALPA_ASSIGN_OR_RETURN(auto probe, Probe::Make(backend, device, Sum(kElements)));
    probes.push_back(std::move(probe));
  }
  const double patience = std::clamp(limit.left() / 2, 0.0, 0.1);
  ALPA_ASSIGN_OR_RETURN(const double alone, probes.front()->Fastest(patience));
  ALPA_ASSIGN_OR_RETURN(const double together, Probe::FastestTogether(probes, patience));
  const double streams = devices * alone / together;
  return streams > 0.95 * devices ? 0 : std::max(1.0, streams);
}

}  // namespace alpa::worker
