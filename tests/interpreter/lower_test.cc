// Lowering keeps what a step computes: the executable, interpreted on n devices with k micro-batches, gives what the
// program gives on the whole batch.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/simplify.h"
#include "graph/verify.h"
#include "planner/lower/lower.h"
#include "planner/microbatch/analysis.h"
#include "planner/planner.h"
#include "tests/interpreter/interpreter.h"

namespace alpa {
namespace {

using graph::DType;
using graph::Graph;
using graph::GraphBuilder;
using graph::Literal;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;
using graph::ValueId;

constexpr int64_t kBatch = 16, kIn = 5, kHidden = 6, kOut = 3;

struct Step {
  Graph graph;
  plan::Roles roles;
};

struct StepOptions {
  bool masked = false;      // mean over the examples that a mask names
  bool batch_norm = false;  // of the hidden layer
  bool noise = false;       // added to the hidden layer, made from iota and a key in the state
  bool time_major = false;  // x is [T, B, ..] and flattened to [T*B, ..]
  DType dtype = DType::kF32;
};

// A training step of a two-layer perceptron with squared loss and clipping, its backward written out.
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
  ValueId weight;   // of each row
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
    ValueId d_mean = mul(b.Reduce(d_pre, ReduceKind::kSum, {0}), b.Full({t, {kHidden}}, 1.0 / static_cast<double>(rows)));
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

void ExpectClose(const std::vector<Literal>& actual, const std::vector<Literal>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t r = 0; r < actual.size(); ++r) {
    ASSERT_EQ(actual[r].shape(), expected[r].shape());
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < expected[r].shape().elements(); ++i) {
      largest = std::max(largest, std::abs(expected[r].ValueAt(i)));
      difference = std::max(difference, std::abs(actual[r].ValueAt(i) - expected[r].ValueAt(i)));
    }
    EXPECT_LE(difference, tolerance * largest) << "result " << r;
  }
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

const std::vector<int32_t> kStateInputs = {0, 1, 2, -1, -1, -1};

struct Case {
  std::string name;
  StepOptions options;
  bool coupled = false;
};

class LowerTest : public ::testing::TestWithParam<std::tuple<Case, int, int>> {};

TEST_P(LowerTest, EqualsTheWholeBatch) {
  const auto& [test_case, devices, k] = GetParam();
  const Step step = MakeStep(test_case.options);
  ASSERT_TRUE(graph::Verify(step.graph).ok()) << graph::Verify(step.graph);
  const std::vector<Literal> inputs = RandomInputs(step, 7);
  const auto executable = PlanAndLower(step, devices, k, plan::Statistics::kExact);
  if (test_case.coupled && k > 1) {
    ASSERT_FALSE(executable.ok());
    EXPECT_EQ(executable.status().code(), absl::StatusCode::kFailedPrecondition);
    return;
  }
  ASSERT_TRUE(executable.ok()) << executable.status();
  const auto expected = graph::Evaluate(step.graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto actual = testing::Interpret(*executable, inputs, kStateInputs);
  ASSERT_TRUE(actual.ok()) << actual.status() << plan::Print(*executable);
  ExpectClose(*actual, *expected, test_case.options.dtype == DType::kBF16 ? 2e-2 : 1e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Steps, LowerTest,
    ::testing::Combine(::testing::Values(Case{"plain", {}}, Case{"masked", {.masked = true}},
                                         Case{"noise", {.noise = true}}, Case{"batch_norm", {.batch_norm = true}, true},
                                         Case{"time_major", {.noise = true, .time_major = true}},
                                         Case{"bf16", {.masked = true, .dtype = DType::kBF16}}),
                       ::testing::Values(1, 2, 4), ::testing::Values(1, 2, 4)),
    [](const auto& info) {
      return std::get<0>(info.param).name + "_devices" + std::to_string(std::get<1>(info.param)) + "_k" +
             std::to_string(std::get<2>(info.param));
    });

TEST(AnalysisTest, TrainingStepHasOneLoopAndAMaskedOneTwo) {
  for (const bool masked : {false, true}) {
    const Step step = MakeStep({.masked = masked});
    planner::AnalysisOptions options{8, {{3, 0}, {4, 0}}, false, false};
    if (masked) options.seeds.push_back({5, 0});
    const auto analysis = planner::Analyse(step.graph, step.roles, options);
    EXPECT_EQ(analysis.loops, masked ? 2 : 1);
    EXPECT_TRUE(analysis.couplings.empty());
    EXPECT_EQ(analysis.split_flops, analysis.total_flops);
  }
}

TEST(AnalysisTest, GradientsAreReducedOnce) {
  const Step step = MakeStep({});
  const auto executable = PlanAndLower(step, 4, 2, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok()) << executable.status();
  int collectives = 0;
  for (const plan::StageProgram& program : executable->programs) {
    for (const graph::Op& op : program.graph.ops()) {
      if (!graph::IsCollective(op.opcode)) continue;
      ++collectives;
      EXPECT_EQ(program.name, "update");
      EXPECT_EQ(op.opcode, Opcode::kAllReduce);
      EXPECT_EQ(op.operands.size(), 3u);   // two gradients and the loss
    }
  }
  EXPECT_EQ(collectives, 1);
}

// Local statistics: each micro-batch with its own mean; the step is the mean over micro-batches of what each gives alone.
class LocalStatisticsTest : public ::testing::TestWithParam<int> {};

TEST_P(LocalStatisticsTest, EqualsEachMicroBatchAlone) {
  constexpr int kMicroBatches = 4;
  const Step step = MakeStep({.batch_norm = true});
  const std::vector<Literal> inputs = RandomInputs(step, 11);
  const auto executable = PlanAndLower(step, GetParam(), kMicroBatches, plan::Statistics::kLocal);
  ASSERT_TRUE(executable.ok()) << executable.status();
  const auto actual = testing::Interpret(*executable, inputs, kStateInputs);
  ASSERT_TRUE(actual.ok()) << actual.status();
  // Reference: gradients of each chunk by a step on the chunk repeated to the full batch size (its statistics are the
  // chunk's own, its mean loss the chunk's mean).
  double loss = 0;
  std::vector<double> g1(kIn * kHidden), error;
  for (int m = 0; m < kMicroBatches; ++m) {
    std::vector<Literal> chunk = inputs;
    for (int leaf : {3, 4}) {
      const Shape& shape = inputs[leaf].shape();
      const int64_t size = shape.bytes() / kMicroBatches;
      std::vector<std::byte> bytes;
      for (int repeat = 0; repeat < kMicroBatches; ++repeat) {
        const auto slice = inputs[leaf].bytes().subspan(m * size, size);
        bytes.insert(bytes.end(), slice.begin(), slice.end());
      }
      chunk[leaf] = Literal(shape, std::move(bytes));
    }
    const auto alone = graph::Evaluate(step.graph, chunk);
    ASSERT_TRUE(alone.ok()) << alone.status();
    loss += (*alone)[3].ValueAt(0) / kMicroBatches;
    for (size_t i = 0; i < g1.size(); ++i) g1[i] += (*alone)[4].ValueAt(static_cast<int64_t>(i)) / kMicroBatches;
    for (int64_t i = 0; i < kBatch / kMicroBatches * kOut; ++i) error.push_back((*alone)[5].ValueAt(i));
  }
  EXPECT_NEAR((*actual)[3].ValueAt(0), loss, 1e-5 * loss);
  for (size_t i = 0; i < g1.size(); ++i) EXPECT_NEAR((*actual)[4].ValueAt(static_cast<int64_t>(i)), g1[i], 1e-5);
  for (size_t i = 0; i < error.size(); ++i) EXPECT_NEAR((*actual)[5].ValueAt(static_cast<int64_t>(i)), error[i], 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Devices, LocalStatisticsTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace alpa
