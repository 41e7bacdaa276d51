#include "tests/interpreter/steps.h"

#include <cmath>
#include <cstring>
#include <random>

#include "base/status.h"
#include "graph/builder.h"
#include "graph/simplify.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"

namespace alpa::testing {

using graph::DType;
using graph::GraphBuilder;
using graph::Literal;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;
using graph::ValueId;

Step MakeStep(const StepOptions& options) {
  GraphBuilder b;
  Step step;
  const DType t = options.dtype;
  auto input = [&](Shape shape, plan::InputRole::Kind kind, const std::string& path) {
    step.roles.inputs.push_back({kind, path});
    return b.Parameter(std::move(shape));
  };
  const auto kState = plan::InputRole::Kind::kState;
  const auto kBatchKind = plan::InputRole::Kind::kBatch;
  ValueId w1 = input({t, {kIn, kHidden}}, kState, "w1");
  ValueId w2 = input({t, {kHidden, kOut}}, kState, "w2");
  ValueId key = input({DType::kU32, {}}, kState, "key");
  ValueId x, y;
  const int64_t rows = options.time_major ? 2 * kBatch : kBatch;
  if (options.time_major) {
    x = b.Reshape(input({t, {2, kBatch, kIn}}, kBatchKind, "x"), {rows, kIn});
    y = b.Reshape(input({t, {2, kBatch, kOut}}, kBatchKind, "y"), {rows, kOut});
  } else {
    x = input({t, {rows, kIn}}, kBatchKind, "x");
    y = input({t, {rows, kOut}}, kBatchKind, "y");
  }
  auto mul = [&](ValueId p, ValueId q) { return b.Binary(Opcode::kMultiply, p, q); };
  auto sub = [&](ValueId p, ValueId q) { return b.Binary(Opcode::kSubtract, p, q); };
  auto full = [&](ValueId scalar, const std::vector<int64_t>& dims) { return b.Broadcast(scalar, dims, {}); };
  ValueId weight;   // weight of each row in the loss
  if (options.masked) {
    ValueId mask = input({t, {rows}}, kBatchKind, "mask");
    ValueId count = b.Reduce(mask, ReduceKind::kSum, {0});
    weight = b.Binary(Opcode::kDivide, mask, full(count, {rows}));
  } else {
    weight = b.Full({t, {rows}}, 1.0 / static_cast<double>(rows));
  }
  ValueId pre = b.Dot(x, w1, {{}, {}, {1}, {0}}, t);
  ValueId norm_scale;
  if (options.batch_norm) {
    ValueId mean = mul(b.Reduce(pre, ReduceKind::kSum, {0}), b.Full({t, {kHidden}}, 1.0 / static_cast<double>(rows)));
    pre = sub(pre, b.Broadcast(mean, {rows, kHidden}, {1}));
  }
  if (options.noise) {
    ValueId index = b.Iota({DType::kU32, {rows, kHidden}}, 0);
    ValueId bits = b.Binary(Opcode::kXor, mul(index, full(b.Scalar(DType::kU32, 2654435761.0), {rows, kHidden})),
                            full(key, {rows, kHidden}));
    bits = b.Binary(Opcode::kShiftRightLogical, bits, full(b.Scalar(DType::kU32, 16), {rows, kHidden}));
    ValueId noise = mul(b.Convert(bits, t), b.Full({t, {rows, kHidden}}, 1.0 / 65536));
    pre = b.Binary(Opcode::kAdd, pre, noise);
  }
  ValueId zero_hidden = b.Full({t, {rows, kHidden}}, 0);
  ValueId h = b.Binary(Opcode::kMaximum, pre, zero_hidden);
  ValueId error = sub(b.Dot(h, w2, {{}, {}, {1}, {0}}, t), y);
  ValueId loss = b.Reduce(mul(weight, b.Reduce(mul(error, error), ReduceKind::kSum, {1})), ReduceKind::kSum, {0});
  ValueId d_out = mul(mul(error, b.Full({t, {rows, kOut}}, 2)), b.Broadcast(weight, {rows, kOut}, {0}));
  ValueId g2 = b.Dot(h, d_out, {{}, {}, {0}, {0}}, t);
  ValueId d_pre = b.Select(b.Compare(graph::CompareDirection::kGt, pre, zero_hidden),
                           b.Dot(d_out, w2, {{}, {}, {1}, {1}}, t), zero_hidden);
  if (options.batch_norm) {
    ValueId d_mean =
        mul(b.Reduce(d_pre, ReduceKind::kSum, {0}), b.Full({t, {kHidden}}, 1.0 / static_cast<double>(rows)));
    d_pre = sub(d_pre, b.Broadcast(d_mean, {rows, kHidden}, {1}));
  }
  ValueId g1 = b.Dot(x, d_pre, {{}, {}, {0}, {0}}, t);
  ValueId norm = b.Unary(Opcode::kSqrt, b.Binary(Opcode::kAdd, b.Reduce(mul(g1, g1), ReduceKind::kSum, {0, 1}),
                                                 b.Reduce(mul(g2, g2), ReduceKind::kSum, {0, 1})));
  ValueId scale = b.Binary(Opcode::kDivide, b.Scalar(t, 0.1),
                           b.Binary(Opcode::kMaximum, norm, b.Scalar(t, 0.05)));
  ValueId next_key = b.Binary(Opcode::kAdd, key, b.Scalar(DType::kU32, 1));
  b.SetResults({sub(w1, mul(g1, full(scale, {kIn, kHidden}))), sub(w2, mul(g2, full(scale, {kHidden, kOut}))), next_key,
                loss, g1, error});
  using Out = plan::OutputRole::Kind;
  step.roles.outputs = {{Out::kState, "w1", 0}, {Out::kState, "w2", 1}, {Out::kState, "key", 2},
                        {Out::kAux, "loss", -1}, {Out::kAux, "g1", -1}, {Out::kAux, "error", -1}};
  step.graph = graph::Simplify(b.Build());
  return step;
}

Step MakeDeepStep(int layers, bool tied) {
  GraphBuilder b;
  Step step;
  const DType t = DType::kF32;
  const std::vector<int64_t> weight = {kWidth, kWidth}, rows = {kBatch, kWidth};
  auto input = [&](const std::vector<int64_t>& dims, plan::InputRole::Kind kind, const std::string& path) {
    step.roles.inputs.push_back({kind, path});
    return b.Parameter({t, dims});
  };
  auto mul = [&](ValueId p, ValueId q) { return b.Binary(Opcode::kMultiply, p, q); };
  auto add = [&](ValueId p, ValueId q) { return b.Binary(Opcode::kAdd, p, q); };
  auto sub = [&](ValueId p, ValueId q) { return b.Binary(Opcode::kSubtract, p, q); };
  std::vector<ValueId> w, m;
  for (int i = 0; i < layers; ++i) w.push_back(input(weight, plan::InputRole::Kind::kState, "w" + std::to_string(i)));
  for (int i = 0; i < layers; ++i) m.push_back(input(weight, plan::InputRole::Kind::kState, "m" + std::to_string(i)));
  const ValueId x = input(rows, plan::InputRole::Kind::kBatch, "x"),
                y = input(rows, plan::InputRole::Kind::kBatch, "y");

  const ValueId zero = b.Full({t, rows}, 0);
  std::vector<ValueId> h = {x}, z;
  for (int i = 0; i < layers; ++i) {
    z.push_back(b.Dot(h[i], w[i], {{}, {}, {1}, {0}}, t));
    h.push_back(add(b.Binary(Opcode::kMaximum, z[i], zero), mul(h[i], b.Full({t, rows}, 0.5))));
  }
  const ValueId out = tied ? b.Dot(h[layers], w[0], {{}, {}, {1}, {1}}, t) : h[layers];
  const ValueId error = sub(out, y);
  const double mean = 1.0 / static_cast<double>(kBatch);
  const ValueId loss = mul(b.Reduce(mul(error, error), ReduceKind::kSum, {0, 1}), b.Scalar(t, mean));
  const ValueId d_out = mul(error, b.Full({t, rows}, 2 * mean));
  ValueId d_h = tied ? b.Dot(d_out, w[0], {{}, {}, {1}, {0}}, t) : d_out;
  std::vector<ValueId> g(layers);
  for (int i = layers; i-- > 0;) {
    const ValueId d_z = b.Select(b.Compare(graph::CompareDirection::kGt, z[i], zero), d_h, zero);
    g[i] = b.Dot(h[i], d_z, {{}, {}, {0}, {0}}, t);
    d_h = add(b.Dot(d_z, w[i], {{}, {}, {1}, {1}}, t), mul(d_h, b.Full({t, rows}, 0.5)));
  }
  if (tied) g[0] = add(g[0], b.Dot(d_out, h[layers], {{}, {}, {0}, {0}}, t));
  ValueId square = b.Scalar(t, 0);
  for (ValueId gradient : g) square = add(square, b.Reduce(mul(gradient, gradient), ReduceKind::kSum, {0, 1}));
  const ValueId scale =
      b.Binary(Opcode::kDivide, b.Scalar(t, 0.5),
               b.Binary(Opcode::kMaximum, b.Unary(Opcode::kSqrt, square), b.Scalar(t, 0.1)));
  std::vector<ValueId> results, momenta;
  using Out = plan::OutputRole::Kind;
  for (int i = 0; i < layers; ++i) {
    momenta.push_back(add(mul(m[i], b.Full({t, weight}, 0.9)), mul(g[i], b.Broadcast(scale, weight, {}))));
    results.push_back(sub(w[i], mul(momenta[i], b.Full({t, weight}, 0.1))));
    step.roles.outputs.push_back({Out::kState, "w" + std::to_string(i), i});
  }
  for (int i = 0; i < layers; ++i) {
    results.push_back(momenta[i]);
    step.roles.outputs.push_back({Out::kState, "m" + std::to_string(i), layers + i});
  }
  results.push_back(loss);
  step.roles.outputs.push_back({Out::kAux, "loss", -1});
  b.SetResults(results);
  step.graph = graph::Simplify(b.Build());
  return step;
}

std::vector<int32_t> StateInputs(const Step& step) {
  std::vector<int32_t> inputs;
  for (const plan::OutputRole& output : step.roles.outputs) inputs.push_back(output.state_input);
  return inputs;
}

std::vector<Literal> RandomInputs(const Step& step, int seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<Literal> inputs;
  for (size_t p = 0; p < step.roles.inputs.size(); ++p) {
    const Shape& shape = step.graph.shape(step.graph.parameters()[p]);
    std::vector<std::byte> bytes(shape.bytes());
    for (int64_t i = 0; i < shape.elements(); ++i) {
      if (shape.dtype == DType::kU32) {
        const uint32_t value = random();
        std::memcpy(&bytes[i * 4], &value, 4);
        continue;
      }
      const float value = step.roles.inputs[p].path == "mask" ? static_cast<float>(random() % 2) : normal(random);
      if (shape.dtype == DType::kBF16) {
        const uint16_t bits = graph::FloatToBf16(value);
        std::memcpy(&bytes[i * 2], &bits, 2);
      } else {
        std::memcpy(&bytes[i * 4], &value, 4);
      }
    }
    inputs.push_back(Literal(shape, std::move(bytes)));
  }
  return inputs;
}

std::vector<DeviceId> Devices(int n) {
  std::vector<DeviceId> devices;
  for (int i = 0; i < n; ++i) devices.push_back(DeviceId(i));
  return devices;
}

cluster::Cluster ClusterOf(int n) {
  cluster::Cluster cluster;
  for (int i = 0; i < n; ++i) cluster.devices.push_back({DeviceId(i), "node", i, "cpu", 0});
  return cluster;
}

cluster::Cluster MeasuredCluster(int n, double cores, Bytes memory) {
  cluster::Cluster cluster = ClusterOf(n);
  cluster::DeviceProfile& profile = cluster.profiles.emplace_back();
  profile.name = "test";
  profile.products = {{64, 64, 64, 2.0 * 64 * 64 * 64 / kRate}};
  profile.memory = cluster::Curve::Line(1e-9, kRate);
  profile.element_seconds = profile.transcendental_seconds = profile.slow_element_seconds = 1 / kRate;
  cluster::Host& host = cluster.hosts.emplace_back();
  host.cores = cores;
  host.inside.message = cluster::Curve::Line(1e-7, 10 * kRate);
  for (cluster::Device& device : cluster.devices) {
    device.node = "node";
    device.host = device.profile = 0;
    device.cores = 1;
    device.memory = memory;
  }
  return cluster;
}

absl::Status CheckClose(const std::vector<Literal>& actual, const std::vector<Literal>& expected, double tolerance) {
  if (actual.size() != expected.size()) return Internal("got %d results, expected %d", actual.size(), expected.size());
  for (size_t r = 0; r < actual.size(); ++r) {
    if (actual[r].shape() != expected[r].shape()) {
      return Internal("result %d has the wrong shape %s", r, actual[r].shape().ToString());
    }
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < expected[r].shape().elements(); ++i) {
      const double d = std::abs(actual[r].ValueAt(i) - expected[r].ValueAt(i));
      largest = std::max(largest, std::abs(expected[r].ValueAt(i)));
      difference = std::isnan(d) ? HUGE_VAL : std::max(difference, d);
    }
    if (difference > tolerance * largest) {
      return Internal("result %d is off by %g; its largest expected value is %g", r, difference, largest);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<plan::Executable> PlanAndLower(const Step& step, int devices, int64_t k, plan::Statistics statistics) {
  planner::PlanOptions options;
  options.data_parallel = devices;
  options.microbatches = k;
  options.statistics = statistics;
  auto plan = planner::MakePlan(step.graph, step.roles, Devices(devices), options);
  if (!plan.ok()) return plan.status();
  if (absl::Status s = plan::Verify(*plan, step.graph, step.roles, ClusterOf(devices)); !s.ok()) return s;
  auto executable = planner::Lower(*plan, step.graph, step.roles);
  if (!executable.ok()) return executable.status();
  if (absl::Status s = plan::Verify(*executable); !s.ok()) return s;
  return executable;
}

}  // namespace alpa::testing
