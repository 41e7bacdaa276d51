// Tests that lowering preserves the results of a step. The executable is interpreted on n devices with k microbatches.
// The program is evaluated on the whole batch. Interpreting and evaluating must give the same results.

#include <gtest/gtest.h>

#include "graph/evaluator.h"
#include "graph/verify.h"
#include "planner/microbatch/analysis.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using graph::DType;
using graph::Literal;
using graph::Opcode;
using graph::Shape;
using testing::kBatch;
using testing::kHidden;
using testing::kIn;
using testing::kOut;
using testing::kStateInputs;
using testing::MakeStep;
using testing::PlanAndLower;
using testing::RandomInputs;
using testing::Step;
using testing::StepOptions;

struct Case {
  std::string name;
  StepOptions options;
  bool coupled = false;  // the program cannot be lowered with k > 1
};

class LowerTest : public ::testing::TestWithParam<std::tuple<Case, int, int>> {};

TEST_P(LowerTest, ExecutableComputesTheResultsOfTheWholeBatch) {
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
  const absl::Status close =
      testing::CheckClose(*actual, *expected, test_case.options.dtype == DType::kBF16 ? 2e-2 : 1e-5);
  EXPECT_TRUE(close.ok()) << close;
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

TEST(AnalysisTest, ATrainingStepHasOneLoopAndAMaskedStepHasTwo) {
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

// With local statistics, each microbatch uses its own mean. To get the expected loss and gradients, the test runs each
// microbatch alone and averages these values.
class LocalStatisticsTest : public ::testing::TestWithParam<int> {};

TEST_P(LocalStatisticsTest, LossAndGradientsAreTheMeansOverTheMicrobatches) {
  constexpr int kMicrobatches = 4;
  const Step step = MakeStep({.batch_norm = true});
  const std::vector<Literal> inputs = RandomInputs(step, 11);
  const auto executable = PlanAndLower(step, GetParam(), kMicrobatches, plan::Statistics::kLocal);
  ASSERT_TRUE(executable.ok()) << executable.status();
  const auto actual = testing::Interpret(*executable, inputs, kStateInputs);
  ASSERT_TRUE(actual.ok()) << actual.status();
  // The reference runs the step once per microbatch, on a batch of full size that repeats this microbatch. The
  // statistics and the mean loss of such a batch are those of the microbatch.
  double loss = 0;
  std::vector<double> g1(kIn * kHidden), error;
  for (int m = 0; m < kMicrobatches; ++m) {
    std::vector<Literal> repeated = inputs;
    for (int leaf : {3, 4}) {
      const Shape& shape = inputs[leaf].shape();
      const int64_t size = shape.bytes() / kMicrobatches;
      std::vector<std::byte> bytes;
      for (int repeat = 0; repeat < kMicrobatches; ++repeat) {
        const auto slice = inputs[leaf].bytes().subspan(m * size, size);
        bytes.insert(bytes.end(), slice.begin(), slice.end());
      }
      repeated[leaf] = Literal(shape, std::move(bytes));
    }
    const auto alone = graph::Evaluate(step.graph, repeated);
    ASSERT_TRUE(alone.ok()) << alone.status();
    loss += (*alone)[3].ValueAt(0) / kMicrobatches;
    for (size_t i = 0; i < g1.size(); ++i) g1[i] += (*alone)[4].ValueAt(static_cast<int64_t>(i)) / kMicrobatches;
    for (int64_t i = 0; i < kBatch / kMicrobatches * kOut; ++i) error.push_back((*alone)[5].ValueAt(i));
  }
  EXPECT_NEAR((*actual)[3].ValueAt(0), loss, 1e-5 * loss);
  for (size_t i = 0; i < g1.size(); ++i) EXPECT_NEAR((*actual)[4].ValueAt(static_cast<int64_t>(i)), g1[i], 1e-5);
  for (size_t i = 0; i < error.size(); ++i) EXPECT_NEAR((*actual)[5].ValueAt(static_cast<int64_t>(i)), error[i], 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Devices, LocalStatisticsTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace alpa
