// Tests that the search can plan any program on any number of devices. No candidate fails because of a bug. The plan
// that the search returns computes the results of the program.
#include <gtest/gtest.h>

#include <random>

#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "graph/simplify.h"
#include "planner/lower/lower.h"
#include "planner/search/search.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/random_program.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using graph::DType;
using graph::GraphBuilder;
using graph::Opcode;
using graph::ReduceKind;
using graph::ValueId;
using testing::Step;

void CheckSearch(const Step& step, int devices, const planner::PlanOptions& options = {}) {
  const cluster::Cluster cluster = testing::MeasuredCluster(devices, 0);
  const auto searched = planner::Search(step.graph, step.roles, cluster, options, {});
  ASSERT_TRUE(searched.ok()) << searched.status() << "\n" << graph::Print(step.graph);
  EXPECT_EQ(searched->bugs, std::vector<std::string>()) << graph::Print(step.graph);
  const auto executable = planner::Lower(searched->plan, step.graph, step.roles);
  ASSERT_TRUE(executable.ok()) << executable.status();
  const std::vector<graph::Literal> inputs = testing::RandomInputs(step, 5);
  const auto expected = graph::Evaluate(step.graph, inputs);
  const auto actual = testing::Interpret(*executable, inputs, testing::StateInputs(step));
  ASSERT_TRUE(expected.ok() && actual.ok()) << expected.status() << actual.status();
  const absl::Status close = testing::CheckClose(*actual, *expected, 1e-5);
  EXPECT_TRUE(close.ok()) << close << "\n" << graph::Print(step.graph);
}

// Returns a step of SGD on mean(x @ w). The gradient does not depend on `w`, so for k > 1 the update is a program of
// few ops.
Step LinearStep() {
  GraphBuilder b;
  Step step;
  const ValueId w = b.Parameter({DType::kF32, {8, 4}}), x = b.Parameter({DType::kF32, {16, 8}});
  graph::DotAttrs product, transposed;
  product.lhs_contracting = {1}, product.rhs_contracting = {0};
  transposed.lhs_contracting = transposed.rhs_contracting = {0};
  const ValueId y = b.Dot(x, w, product, DType::kF32);
  const ValueId count = b.Scalar(DType::kF32, 64);
  const ValueId loss = b.Binary(Opcode::kDivide, b.Reduce(y, ReduceKind::kSum, {0, 1}), count);
  const ValueId cotangent = b.Full({DType::kF32, {16, 4}}, 1.0 / 64);
  const ValueId gradient = b.Dot(x, cotangent, transposed, DType::kF32);
  const ValueId change = b.Binary(Opcode::kMultiply, gradient, b.Full({DType::kF32, {8, 4}}, 0.1));
  b.SetResults({b.Binary(Opcode::kSubtract, w, change), loss});
  step.roles.inputs = {{plan::InputRole::Kind::kState, "w"}, {plan::InputRole::Kind::kBatch, "x"}};
  step.roles.outputs = {{plan::OutputRole::Kind::kState, "w", 0}, {plan::OutputRole::Kind::kAux, "loss", -1}};
  step.graph = graph::Simplify(b.Build());
  return step;
}

// Returns a decoding step. It writes one row per example and layer into a cache [layers, batch, positions, width],
// which is a state leaf.
Step DecodingStep() {
  GraphBuilder b;
  Step step;
  const ValueId cache = b.Parameter({DType::kF32, {2, 8, 6, 8}}), w = b.Parameter({DType::kF32, {2, 8, 8}});
  const ValueId x = b.Parameter({DType::kF32, {8, 8}});
  graph::DotAttrs product;
  product.lhs_contracting = {1}, product.rhs_contracting = {0};
  const ValueId zero = b.Scalar(DType::kS32, 0), position = b.Scalar(DType::kS32, 3);
  ValueId h = x, next = cache;
  for (int layer = 0; layer < 2; ++layer) {
    const ValueId weight = b.Reshape(b.Slice(w, {layer, 0, 0}, {layer + 1, 8, 8}), {8, 8});
    h = b.Unary(Opcode::kTanh, b.Dot(h, weight, product, DType::kF32));
    next = b.DynamicUpdateSlice(next, b.Reshape(h, {1, 8, 1, 8}), {b.Scalar(DType::kS32, layer), zero, position, zero});
    const ValueId mine = b.Slice(next, {layer, 0, 0, 0}, {layer + 1, 8, 6, 8});
    h = b.Binary(Opcode::kAdd, h, b.Reshape(b.Reduce(mine, ReduceKind::kSum, {2}), {8, 8}));
  }
  b.SetResults({next, b.Unary(Opcode::kCopy, w), b.Reduce(h, ReduceKind::kMax, {1})});
  step.roles.inputs = {{plan::InputRole::Kind::kState, "cache"},
                       {plan::InputRole::Kind::kState, "w"},
                       {plan::InputRole::Kind::kBatch, "x"}};
  step.roles.outputs = {{plan::OutputRole::Kind::kState, "cache", 0},
                        {plan::OutputRole::Kind::kState, "w", 1},
                        {plan::OutputRole::Kind::kAux, "largest", -1}};
  step.graph = graph::Simplify(b.Build());
  return step;
}

class AnyDevicesTest : public ::testing::TestWithParam<int> {};

TEST_P(AnyDevicesTest, ALossThatIsLinearInTheWeightsIsPlanned) { CheckSearch(LinearStep(), GetParam()); }

TEST_P(AnyDevicesTest, ADecodingStepWhoseCacheIsSplitAlongTheBatchIsPlanned) {
  CheckSearch(DecodingStep(), GetParam());
  for (int zero : {1, 2, 3}) {
    planner::PlanOptions options;
    options.zero = zero;
    CheckSearch(DecodingStep(), GetParam(), options);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, AnyDevicesTest, ::testing::Values(1, 2, 4, 8));

class AnyProgramTest : public ::testing::TestWithParam<int> {};

TEST_P(AnyProgramTest, IsPlannedWithoutABug) {
  std::mt19937 random(GetParam());
  const Step step = testing::RandomProgram(random, 4 + static_cast<int>(random() % 12));
  planner::PlanOptions options;
  if (random() % 3 == 0) options.microbatches = 2;
  options.tensor_seconds = 0.5;
  const cluster::Cluster cluster = testing::MeasuredCluster(4, 0);
  const auto searched = planner::Search(step.graph, step.roles, cluster, options, {});
  if (absl::IsFailedPrecondition(searched.status()) || absl::IsInvalidArgument(searched.status())) {
    GTEST_SKIP() << searched.status();  // the pinned number of microbatches does not fit the program
  }
  CheckSearch(step, 4, options);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AnyProgramTest, ::testing::Range(0, 60));

}  // namespace
}  // namespace alpa
