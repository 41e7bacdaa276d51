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

// In a program, the operands of a product are rarely in the nearest caches, because other kernels have run since the
// operands were computed. A probe therefore runs several products in turn. Together, they move about this number of
// bytes.
constexpr double kWorkingSet = 3 << 20;

// Seconds that the measurement of one number may take, so that all numbers together fit into the time limit of
// MeasureDevice.
constexpr double kPatience = 4e-3;

// Returns a program of `count` matrix products, each of which uses separate memory.
Graph Products(const cluster::ProductPoint& size, DType dtype, int64_t count) {
  GraphBuilder b;
  graph::DotAttrs attrs;
  attrs.lhs_contracting = {1};
  attrs.rhs_contracting = {0};
  std::vector<ValueId> results;
  for (int64_t i = 0; i < count; ++i) {
    const ValueId lhs = b.Parameter({dtype, {size.m, size.k}}), rhs = b.Parameter({dtype, {size.k, size.n}});
    results.push_back(b.Dot(lhs, rhs, attrs, dtype));
  }
  b.SetResults(std::move(results));
  return b.Build();
}

// Returns a program of `count` fused kernels. Each kernel reads two arrays and writes one (12 bytes per element). The
// kernels share no memory.
constexpr int64_t kBytesOfSum = 12;
Graph Sums(int64_t elements, int64_t count) {
  GraphBuilder b;
  std::vector<ValueId> results;
  for (int64_t i = 0; i < count; ++i) {
    const ValueId x = b.Parameter({DType::kF32, {elements}}), y = b.Parameter({DType::kF32, {elements}});
    results.push_back(b.Binary(Opcode::kAdd, x, y));
  }
  b.SetResults(std::move(results));
  return b.Build();
}

// Returns a program of one fused kernel with `ops` ops per element, which cycle through `kinds`. Each op reads the
// result of the op before it. The second operand alternates between a constant and an earlier value. The number of live
// values and constants is typical of an optimizer's update.
Graph Chain(int64_t elements, const std::vector<Opcode>& kinds, int ops) {
  constexpr int kLive = 6;
  GraphBuilder b;
  std::vector<ValueId> values;
  for (int i = 0; i < kLive; ++i) values.push_back(b.Parameter({DType::kF32, {elements}}));
  for (int i = 0; i < ops; ++i) {
    const Opcode kind = kinds[i % kinds.size()];
    const ValueId last = values.back();
    const ValueId before = i % 2 == 0 ? b.Full({DType::kF32, {elements}}, 1.5 + i) : values[values.size() - kLive];
    values.push_back(kind == Opcode::kSelect
                         ? b.Select(b.Compare(graph::CompareDirection::kLt, last, before), last, before)
                     : kind == Opcode::kSqrt ? b.Unary(kind, last)
                                             : b.Binary(kind, last, before));
  }
  b.SetResults({values.back()});
  return b.Build();
}

// Returns a program of one fused kernel that sums a matrix along `dim`.
Graph Reduction(int64_t rows, int64_t columns, int64_t dim) {
  GraphBuilder b;
  b.SetResults({b.Reduce(b.Parameter({DType::kF32, {rows, columns}}), graph::ReduceKind::kSum, {dim})});
  return b.Build();
}

// Returns a program like Sums(elements, 1), but with a smaller second array: one number per `run` elements of the first
// array.
Graph Broadcast(int64_t elements, int64_t run) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {elements / run, run}}), y = b.Parameter({DType::kF32, {elements / run}});
  b.SetResults({b.Binary(Opcode::kAdd, x, b.Broadcast(y, {elements / run, run}, {0}))});
  return b.Build();
}

// Returns a program of one fused kernel, which applies kFunctions transcendental functions to each element, `rounds`
// times.
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

// Returns a program of `times` groups of kernels. Each group has one large kernel, which moves much memory, and then
// `small` small kernels, which do almost nothing and cannot be fused. The memory traffic of the large kernels drives
// the descriptions of the small kernels out of the caches, as in real programs.
Graph Kernels(int times, int small) {
  constexpr int64_t kMuch = 192 << 10, kFew = 32;
  GraphBuilder b;
  std::vector<ValueId> results, much;
  for (int i = 0; i <= times; ++i) much.push_back(b.Parameter({DType::kF32, {kMuch}}));
  for (int i = 0; i < times; ++i) {
    results.push_back(b.Binary(Opcode::kAdd, much[i], much[i + 1]));
    for (int k = 0; k < small; ++k) {
      const ValueId x = b.Parameter({DType::kF32, {kFew}});
      const ValueId scaled = b.Binary(Opcode::kMultiply, x, b.Full({DType::kF32, {kFew}}, 1 + k));
      results.push_back(k % 2 == 0 ? b.Binary(Opcode::kAdd, scaled, x)
                                   : b.Reduce(scaled, graph::ReduceKind::kSum, {0}));
    }
  }
  b.SetResults(std::move(results));
  return b.Build();
}

// Returns a program of one small kernel.
Graph Tiny() {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {1}});
  b.SetResults({b.Binary(Opcode::kAdd, x, x)});
  return b.Build();
}

// Returns a program that adds rows to a table, like the gradient of an embedding.
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

// Returns the seconds of one run of `graph` on device 0.
absl::StatusOr<double> SecondsOf(kernels::Backend& backend, const Graph& graph, double patience = kPatience,
                                 int index_limit = 1) {
  ALPA_ASSIGN_OR_RETURN(const auto probe, Probe::Make(backend, 0, graph, index_limit));
  return probe->Fastest(patience);
}

// Returns the seconds that one part of a program takes, if `parts` additional parts raise the program's time from
// `fewer_seconds` to `more_seconds`. The result is always positive.
double Slope(double fewer_seconds, double more_seconds, double parts) {
  return std::max(more_seconds - fewer_seconds, 1e-12) / parts;
}

// The overhead of a probe's program and of each of its kernels, in seconds, if all data is in the nearest caches.
struct Overhead {
  double program = 0, kernel = 0;
};

// Extents of matrix products. Every combination of extents in `first` is measured. Then, while there is time, the other
// combinations of extents from both lists are measured. `first` spans the full range. If time is short, the grid is
// therefore coarser, but it covers the same range.
struct Extents {
  std::vector<int64_t> first, more;
};

struct ProductSizes {
  std::vector<cluster::ProductPoint> needed, optional;  // each in order of increasing work
};

ProductSizes SizesOf(const Extents& extents) {
  ProductSizes sizes;
  std::vector<int64_t> all = extents.first;
  all.insert(all.end(), extents.more.begin(), extents.more.end());
  const auto is_first = [&](int64_t extent) {
    return std::find(extents.first.begin(), extents.first.end(), extent) != extents.first.end();
  };
  for (int64_t m : all) {
    for (int64_t n : all) {
      for (int64_t k : all) {
        (is_first(m) && is_first(n) && is_first(k) ? sizes.needed : sizes.optional).push_back({m, n, k, 0});
      }
    }
  }
  for (auto* list : {&sizes.needed, &sizes.optional}) {
    std::stable_sort(list->begin(), list->end(),
                     [](const auto& a, const auto& b) { return a.m * a.n * a.k < b.m * b.n * b.k; });
  }
  return sizes;
}

// Returns the sizes that were measured, with their seconds. The list is empty if the backend cannot multiply matrices
// of `dtype`.
absl::StatusOr<std::vector<cluster::ProductPoint>> MeasureProducts(kernels::Backend& backend, DType dtype,
                                                                   const Extents& extents, const Overhead& overhead,
                                                                   const TimeLimit& limit) {
  std::vector<cluster::ProductPoint> measured;
  ProductSizes sizes = SizesOf(extents);
  const size_t needed = sizes.needed.size();
  sizes.needed.insert(sizes.needed.end(), sizes.optional.begin(), sizes.optional.end());
  for (cluster::ProductPoint point : sizes.needed) {
    const auto bytes =
        static_cast<double>((point.m * point.k + point.k * point.n + point.m * point.n) * graph::SizeOf(dtype));
    const auto products = static_cast<int64_t>(std::clamp(kWorkingSet / bytes, 1.0, 16.0));
    const auto count = static_cast<double>(products);
    if (measured.size() >= needed && !limit.Allows(kPatience)) break;
    auto seconds = SecondsOf(backend, Products(point, dtype, products), kPatience / 2);
    if (absl::IsUnimplemented(seconds.status())) return measured;
    if (!seconds.ok()) return seconds.status();
    const double each = *seconds / count;
    point.seconds = std::max(each - overhead.kernel - overhead.program / count, each / 4);
    measured.push_back(point);
  }
  return measured;
}

absl::StatusOr<cluster::Curve> MeasureMemory(kernels::Backend& backend, const Overhead& overhead,
                                             const TimeLimit& limit) {
  cluster::Curve curve;
  double per_byte = 0;
  for (double bytes = 1 << 10; bytes <= 96 << 20; bytes *= 4) {
    // Eight run times are enough for the rounds of the probe and for the slow first access to its memory.
    if (!curve.points.empty() && !limit.Allows(8 * bytes * per_byte)) break;
    const int64_t elements = std::max<int64_t>(1, static_cast<int64_t>(bytes) / kBytesOfSum);
    ALPA_ASSIGN_OR_RETURN(const double seconds, SecondsOf(backend, Sums(elements, 1), 2 * kPatience));
    const double alone = std::max(seconds - overhead.kernel - overhead.program, seconds / 4);
    curve.points.push_back({static_cast<double>(elements * kBytesOfSum), alone});
    per_byte = seconds / bytes;
  }
  MakeMonotone(curve);
  return curve;
}

}  // namespace

absl::StatusOr<cluster::DeviceProfile> MeasureDevice(kernels::Backend& backend, const TimeLimit& limit) {
  cluster::DeviceProfile profile;
  constexpr int kTimes = 12, kSmall = 16;
  ALPA_ASSIGN_OR_RETURN(const double without, SecondsOf(backend, Kernels(kTimes, 0), 5 * kPatience));
  ALPA_ASSIGN_OR_RETURN(const double with, SecondsOf(backend, Kernels(kTimes, kSmall), 5 * kPatience));
  profile.kernel_seconds = Slope(without, with, kTimes * kSmall);
  ALPA_ASSIGN_OR_RETURN(const double tiny, SecondsOf(backend, Tiny()));
  ALPA_ASSIGN_OR_RETURN(const double tinies, SecondsOf(backend, Sums(1, 33)));
  Overhead near;
  near.kernel = Slope(tiny, tinies, 32);
  near.program = std::max(tiny - near.kernel, 1e-9);
  profile.program_seconds = near.program;
  const double overhead = near.program + near.kernel;

  // The arrays are large enough that a device's threads share the work, and small enough for its caches.
  constexpr int64_t kElements = 32 << 10;
  const std::vector<Opcode> cheap = {Opcode::kAdd, Opcode::kMultiply, Opcode::kMaximum, Opcode::kSubtract,
                                     Opcode::kSelect};
  ALPA_ASSIGN_OR_RETURN(const double short_chain, SecondsOf(backend, Chain(kElements, cheap, 5)));
  ALPA_ASSIGN_OR_RETURN(const double long_chain, SecondsOf(backend, Chain(kElements, cheap, 25)));
  // The long chain has 20 ops more than the short one. 4 of them are selects, which count twice, because each needs a
  // comparison before it.
  profile.element_seconds = Slope(short_chain, long_chain, 24.0 * kElements);
  const std::vector<Opcode> divisions = {Opcode::kDivide, Opcode::kSqrt};
  ALPA_ASSIGN_OR_RETURN(const double few_divisions, SecondsOf(backend, Chain(kElements, divisions, 2)));
  ALPA_ASSIGN_OR_RETURN(const double many_divisions, SecondsOf(backend, Chain(kElements, divisions, 10)));
  profile.division_seconds = Slope(few_divisions, many_divisions, 8.0 * kElements);
  constexpr int64_t kRun = 16;
  ALPA_ASSIGN_OR_RETURN(const double linear, SecondsOf(backend, Sums(kElements, 1)));
  ALPA_ASSIGN_OR_RETURN(const double in_runs, SecondsOf(backend, Broadcast(kElements, kRun)));
  profile.run_seconds =
      Slope(linear + kElements * profile.element_seconds, in_runs, static_cast<double>(kElements / kRun));
  constexpr int64_t kRow = 64;
  constexpr int64_t kResults = kElements / kRow;
  ALPA_ASSIGN_OR_RETURN(const double of_rows, SecondsOf(backend, Reduction(kResults, kRow, 1)));
  ALPA_ASSIGN_OR_RETURN(const double of_columns, SecondsOf(backend, Reduction(kResults, kRow, 0)));
  profile.reduced_seconds = std::max((of_rows + of_columns) / 2 - overhead, of_rows / 4) / kElements;
  ALPA_ASSIGN_OR_RETURN(const double one_round, SecondsOf(backend, Functions(kElements, 1)));
  ALPA_ASSIGN_OR_RETURN(const double three_rounds, SecondsOf(backend, Functions(kElements, 3)));
  profile.transcendental_seconds = Slope(one_round, three_rounds, 2.0 * kFunctions * kElements);
  constexpr int64_t kRows = 512;
  ALPA_ASSIGN_OR_RETURN(const double scatter, SecondsOf(backend, Scatter(kRows), kPatience, kTableRows));
  profile.slow_element_seconds = std::max(scatter - overhead, scatter / 10) / (kRows * kTableWidth);

  const double left = std::max(0.0, limit.left());
  ALPA_ASSIGN_OR_RETURN(profile.memory, MeasureMemory(backend, near, TimeLimit(0.25 * left)));
  ALPA_ASSIGN_OR_RETURN(profile.products, MeasureProducts(backend, DType::kF32, {{8, 64, 512}, {1, 24, 192}}, near,
                                                          TimeLimit(0.55 * left)));
  if (profile.products.empty()) return Unimplemented("the backend cannot multiply matrices of 32-bit floats");
  ALPA_ASSIGN_OR_RETURN(profile.half_products, MeasureProducts(backend, DType::kBF16, {{8, 64, 512}, {}}, near,
                                                               TimeLimit(0.2 * left)));
  return profile;
}

absl::StatusOr<double> MeasureMemoryStreams(kernels::Backend& backend, const TimeLimit& limit) {
  const int devices = backend.device_count();
  if (devices < 2 || limit.left() <= 0) return 0;
  constexpr int64_t kElements = (48 << 20) / kBytesOfSum;
  std::vector<std::unique_ptr<Probe>> probes;
  for (int device = 0; device < devices; ++device) {
    ALPA_ASSIGN_OR_RETURN(auto probe, Probe::Make(backend, device, Sums(kElements, 1)));
    probes.push_back(std::move(probe));
  }
  const double patience = std::clamp(limit.left() / 2, 0.0, 0.1);
  ALPA_ASSIGN_OR_RETURN(const double alone, probes.front()->Fastest(patience));
  ALPA_ASSIGN_OR_RETURN(const double together, Probe::FastestTogether(probes, patience));
  const double streams = devices * alone / together;
  return streams > 0.95 * devices ? 0 : std::max(1.0, streams);
}

}  // namespace alpa::worker
