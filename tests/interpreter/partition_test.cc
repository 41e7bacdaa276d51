// Tests that cutting an executable along more axes preserves its results. The executables may already have data
// parallelism and microbatches. After cuts along random axes, they still compute the results of the program.

#include <gtest/gtest.h>

#include <random>

#include "graph/evaluator.h"
#include "graph/print.h"
#include "planner/lower/lower.h"
#include "planner/partition/axis_pass.h"
#include "planner/planner.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/random_axis.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using graph::DType;
using graph::Literal;
using graph::Opcode;
using planner::AxisRequest;
using testing::kStateInputs;
using testing::MakeStep;
using testing::Step;
using testing::StepOptions;

// Counts the collectives of the stage programs named `program`, by opcode. A collective counts once per operand.
std::map<Opcode, int> CountCollectives(const plan::Executable& executable, const std::string& program) {
  std::map<Opcode, int> counts;
  for (const plan::StageProgram& p : executable.programs) {
    if (p.name != program) continue;
    for (const graph::Op& op : p.graph.ops()) {
      if (graph::IsCollective(op.opcode)) counts[op.opcode] += static_cast<int>(op.operands.size());
    }
  }
  return counts;
}

// Verifies and interprets the executable, and compares its results with those of the program.
absl::Status Check(const Step& step, const plan::Executable& executable, const StepOptions& options) {
  if (absl::Status status = plan::Verify(executable); !status.ok()) return status;
  const std::vector<Literal> inputs = testing::RandomInputs(step, 3);
  const auto expected = graph::Evaluate(step.graph, inputs);
  if (!expected.ok()) return expected.status();
  const auto actual = testing::Interpret(executable, inputs, kStateInputs);
  if (!actual.ok()) return actual.status();
  return testing::CheckClose(*actual, *expected, options.dtype == DType::kBF16 ? 3e-2 : 1e-5);
}

class RandomAxesTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomAxesTest, ExecutableComputesTheResultsOfTheProgram) {
  std::mt19937 random(GetParam());
  StepOptions options{.masked = random() % 3 == 0, .noise = random() % 2 == 0, .time_major = random() % 3 == 0};
  if (random() % 4 == 0) options.dtype = DType::kBF16;
  const int k = random() % 2 == 0 ? 1 : 2;
  if (k == 1) options.batch_norm = random() % 3 == 0;
  const Step step = MakeStep(options);
  auto executable = testing::PlanAndLower(step, random() % 2 == 0 ? 1 : 2, k, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok()) << executable.status();
  const int axes = 1 + static_cast<int>(random() % 2);
  for (int axis = 0; axis < axes; ++axis) {
    const AxisRequest request = testing::RandomAxis(random, *executable, "axis" + std::to_string(axis));
    executable = planner::CutAlongAxis(*executable, request);
    ASSERT_TRUE(executable.ok()) << executable.status();
  }
  const absl::Status status = Check(step, *executable, options);
  EXPECT_TRUE(status.ok()) << status << "\n" << plan::Print(*executable);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomAxesTest, ::testing::Range(0, 150));

// This is Megatron's two-layer block. It splits the columns of the first weight and the rows of the second weight.
TEST(PartitionTest, AColumnAndARowSplitWeightNeedOneAllReduceInTheForward) {
  const Step step = MakeStep({});
  auto executable = testing::PlanAndLower(step, 1, 2, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok());
  AxisRequest request{MeshId(0), "model", 2, testing::Devices(2), {{0, 1}, {1, 0}}, 0};
  auto cut = planner::CutAlongAxis(*executable, request);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(Check(step, *cut, {}).ok()) << Check(step, *cut, {});
  EXPECT_EQ(CountCollectives(*cut, "microbatch"), (std::map<Opcode, int>{{Opcode::kAllReduce, 1}}));
  // The squared norms of both gradients are added before they are reduced.
  EXPECT_EQ(CountCollectives(*cut, "update"), (std::map<Opcode, int>{{Opcode::kAllReduce, 1}}));
}

// With ZeRO, each gradient is reduce-scattered.
TEST(PartitionTest, LargeGradientsAreReduceScattered) {
  const Step step = MakeStep({});
  auto executable = testing::PlanAndLower(step, 1, 1, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok());
  AxisRequest request{MeshId(0), "data", 2, testing::Devices(2),
                      {{3, 0, plan::CutRank::kBatch}, {4, 0, plan::CutRank::kBatch}, {0, -1}, {1, -1}}, 2};
  auto cut = planner::CutAlongAxis(*executable, request);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(Check(step, *cut, {}).ok()) << Check(step, *cut, {});
  const auto counts = CountCollectives(*cut, "step");
  EXPECT_EQ(counts.at(Opcode::kReduceScatter), 2) << graph::Print(cut->programs[0].graph);
}

// Holds the pins of a user. Plans with these pins go through the planner, the verifiers and lowering.
struct PinnedCase {
  std::string name;
  int data = 1, tensor = 1, zero = 0;
};

class PinnedPlansTest : public ::testing::TestWithParam<std::tuple<PinnedCase, int>> {};

TEST_P(PinnedPlansTest, ExecutableComputesTheResultsOfTheProgram) {
  const auto& [pinned, k] = GetParam();
  for (const StepOptions& step_options :
       {StepOptions{}, StepOptions{.masked = true}, StepOptions{.noise = true, .time_major = true}}) {
    const Step step = MakeStep(step_options);
    planner::PlanOptions options;
    options.data_parallel = pinned.data;
    options.tensor_parallel = pinned.tensor;
    options.zero = pinned.zero;
    options.shard_from = 6;
    options.microbatches = k;
    const int devices = pinned.data * pinned.tensor;
    const auto plan = planner::MakePlan(step.graph, step.roles, testing::Devices(devices), options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::Status valid = plan::Verify(*plan, step.graph, step.roles, testing::ClusterOf(devices));
    ASSERT_TRUE(valid.ok()) << valid;
    const auto executable = planner::Lower(*plan, step.graph, step.roles);
    ASSERT_TRUE(executable.ok()) << executable.status();
    const absl::Status status = Check(step, *executable, step_options);
    EXPECT_TRUE(status.ok()) << status << "\n"
                             << plan::Print(*plan, step.graph, step.roles) << plan::Print(*executable);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Plans, PinnedPlansTest,
    ::testing::Combine(::testing::Values(PinnedCase{"tensor2", 1, 2}, PinnedCase{"tensor3", 1, 3},
                                         PinnedCase{"data2_tensor2", 2, 2}, PinnedCase{"zero1", 2, 1, 1},
                                         PinnedCase{"zero2", 2, 1, 2}, PinnedCase{"zero3", 4, 1, 3},
                                         PinnedCase{"zero3_tensor2", 2, 2, 3}),
                       ::testing::Values(1, 2, 4)),
    [](const auto& info) { return std::get<0>(info.param).name + "_k" + std::to_string(std::get<1>(info.param)); });

}  // namespace
}  // namespace alpa
