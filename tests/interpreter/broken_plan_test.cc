// Tests plans that a user wrote or changed by hand. Each fault is refused with its own message.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/reason.h"
#include "plan/plan_file.h"
#include "plan/serialize.h"
#include "planner/job_plan.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "proto/plan.pb.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using plan::Plan;
using ::testing::HasSubstr;

constexpr int kDevices = 8;

// A plan without faults: a pipeline of two meshes, each with data degree 2 and tensor degree 2. Leaves: w0..w5, m0..m5,
// x, y.
struct ValidCase {
  testing::Step step = testing::MakeDeepStep(6, false);
  Plan plan;
  ValidCase() {
    planner::PlanOptions options;
    options.pipeline.meshes = 2;
    options.data_parallel = options.tensor_parallel = 2;
    options.microbatches = 4;
    auto made = planner::MakePlan(step.graph, step.roles, testing::Devices(kDevices), options);
    if (!made.ok()) ADD_FAILURE() << made.status();
    plan = *std::move(made);
  }
  planner::JobProgram program() const { return {step.graph, step.roles}; }
  // Returns the graph parameter of leaf x.
  int X() const { return static_cast<int>(step.roles.inputs.size()) - 2; }
};
const ValidCase& Valid() {
  static const ValidCase& valid = *new ValidCase;
  return valid;
}

absl::Status Verdict(const Plan& plan) {
  return plan::Verify(plan, Valid().step.graph, Valid().step.roles,
                      testing::ClusterOf(kDevices + 1));  // has one device more than the plan uses
}

TEST(BrokenPlanTest, APlanWithoutFaultsIsAccepted) {
  const Plan& plan = Valid().plan;
  EXPECT_EQ(Verdict(plan), absl::OkStatus());
  proto::Plan message;
  plan::ToProto(plan::Numbered(plan), &message);
  const auto read = planner::ReadGivenPlan(message, Valid().program());
  ASSERT_TRUE(read.ok()) << read.status();
  const auto made = planner::LowerJob(*read, Valid().program(), /*given=*/true);
  EXPECT_TRUE(made.ok()) << made.status();
}

TEST(BrokenPlanTest, TheVerifierRefusesEachFaultWithItsOwnMessage) {
  const int x = Valid().X();
  const auto on_first = [](const Plan& plan) {  // returns a state leaf that lies on the first mesh
    int p = 0;
    while (!plan.stages[0].input_shardings[p]) ++p;
    return p;
  };
  const struct {
    const char* error;
    std::function<void(Plan&)> damage;
  } rows[] = {
      {"the plan has version 7; this build reads only version 1", [](Plan& p) { p.version = 7; }},
      {"the plan is for program", [](Plan& p) { ++p.program_fingerprint; }},
      {"microbatches = 0 is outside", [](Plan& p) { p.microbatches = 0; }},
      {"device 99 is not in the cluster", [](Plan& p) { p.meshes[1].devices[3] = DeviceId(99); }},
      {"device 0 is in two meshes", [](Plan& p) { p.meshes[1].devices[0] = p.meshes[0].devices[0]; }},
      {"mesh shape has 6 positions but 4 devices", [](Plan& p) { p.meshes[0].shape[1] = 3; }},
      {"the plan has 0 stages", [](Plan& p) { p.stages.clear(); }},
      {"stage 1 names mesh 7; the plan has 2", [](Plan& p) { p.stages[1].mesh = MeshId(7); }},
      {"stage 1 differs in axes or input shardings from another stage",
       [](Plan& p) { p.stages[1].mesh = MeshId(0); }},
      {"no stage is on mesh 2",
       [](Plan& p) {
         p.meshes.push_back({{1}, {"data"}, {DeviceId(kDevices)}});
       }},
      {"schedule \"2f2b\" is unknown", [](Plan& p) { p.schedule = "2f2b"; }},
      {"2 stages, but 0 stage cuts", [](Plan& p) { p.stage_cuts.clear(); }},
      {"stage 1 begins at op 0; stage cuts must be positive and increase", [](Plan& p) { p.stage_cuts[0] = 0; }},
      {"stage 0 shards 1 inputs", [](Plan& p) { p.stages[0].input_shardings.resize(1); }},
      {"lies on 2 meshes; expected exactly one",
       [&](Plan& p) {
         const int leaf = on_first(p);
         p.stages[1].input_shardings[leaf] = p.stages[0].input_shardings[leaf];
       }},
      {"lies on 0 meshes; expected exactly one", [&](Plan& p) { p.stages[0].input_shardings[on_first(p)].reset(); }},
      {"the seeds and cuts imply",
       [&](Plan& p) {
         for (plan::StagePlan& stage : p.stages) {
           if (stage.input_shardings[x]) stage.input_shardings[x] = plan::Sharding::Replicated();
         }
       }},
      {"a batch seed names input 99; the program has 14", [](Plan& p) { p.batch_seeds[0].leaf = 99; }},
      {"a batch seed names dimension 9 of", [](Plan& p) { p.batch_seeds[0].dim = 9; }},
      {"two batch seeds name", [](Plan& p) { p.batch_seeds.push_back(p.batch_seeds[0]); }},
      {"outer = 3 for", [](Plan& p) { p.batch_seeds[0].outer = 3; }},
      {"outer = 4611686018427387904 for", [](Plan& p) { p.batch_seeds[0].outer = int64_t{1} << 62; }},
      {"5 microbatches do not divide", [](Plan& p) { p.microbatches = 5; }},
      {"a cut names dimension 9 of", [](Plan& p) { p.stages[0].axes[1].cuts[0].dim = 9; }},
      {"a cut names input -1; the program has 14", [](Plan& p) { p.stages[0].axes[1].cuts[0].leaf = -1; }},
      {"two cuts along one axis name",
       [](Plan& p) { p.stages[0].axes[1].cuts.push_back(p.stages[0].axes[1].cuts[0]); }},
      {"an axis has value pins (1); a plan with several stages",
       [](Plan& p) { p.stages[0].axes[1].pins = {{0, 1, {}, {}}}; }},
      {"axis 0 is out of order", [](Plan& p) { p.stages[0].axes[1].mesh_axis = 0; }},
      {"the mesh has 2 axes, but the stage uses 1", [](Plan& p) { p.stages[0].axes.pop_back(); }},
      {"shard_truths_from = -1", [](Plan& p) { p.stages[1].axes[0].reduce_scatter_from = -1; }},
      {"in a pipeline, data parallelism must be one of `axes`",
       [](Plan& p) {
         for (plan::StagePlan& stage : p.stages) {
           stage.axes.erase(stage.axes.begin());
           stage.data_axis = 0;
         }
       }},
  };
  for (const auto& row : rows) {
    Plan plan = Valid().plan;
    row.damage(plan);
    const absl::Status status = Verdict(plan);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.error;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.error));
  }
}

// Some faults only show when the plan is lowered.
TEST(BrokenPlanTest, LoweringRefusesFaultsThatTheVerifierCannotSee) {
  const struct {
    const char* error;
    std::function<void(Plan&)> damage;
  } rows[] = {
      {"cut", [](Plan& p) { p.stage_cuts[0] = 1'000'000; }},
      {"but its cuts lead to",
       [](Plan& p) {
         int leaf = 0;
         while (!p.stages[0].input_shardings[leaf]) ++leaf;
         std::swap(p.stages[0].input_shardings[leaf], p.stages[1].input_shardings[leaf]);
       }},
  };
  for (const auto& row : rows) {
    Plan plan = plan::Numbered(Valid().plan);
    row.damage(plan);
    proto::Plan message;
    plan::ToProto(plan, &message);
    const auto read = planner::ReadGivenPlan(message, Valid().program());
    ASSERT_TRUE(read.ok()) << read.status();
    const absl::Status status = planner::LowerJob(*read, Valid().program(), /*given=*/true).status();
    EXPECT_EQ(ReasonOf(status), reason::kBadPlan) << row.error << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.error));
  }
}

// Some faults of value pins are visible in the plan. The others only show when the plan is lowered.
TEST(BrokenPlanTest, ImpossibleValuePinsAreRefused) {
  using plan::AxisState;
  const testing::Step step = testing::MakeDeepStep(2, false);
  const planner::JobProgram program{step.graph, step.roles};
  planner::PlanOptions options;
  options.data_parallel = options.tensor_parallel = 2;
  const auto made = planner::MakePlan(step.graph, step.roles, testing::Devices(4), options);
  ASSERT_TRUE(made.ok()) << made.status();
  plan::AxisCut bare = made->stages[0].axes[0];
  bare.pins.clear();
  // `product` is the value number of the first matrix product.
  planner::PlanOptions data;
  data.data_parallel = 2;
  const auto lowered = planner::MakeAndLower(step.graph, step.roles, testing::Devices(2), data);
  ASSERT_TRUE(lowered.ok()) << lowered.status();
  int32_t product = -1;
  const graph::Graph& graph = lowered->executable.programs[0].graph;
  for (const graph::Op& op : graph.ops()) {
    if (op.opcode == graph::Opcode::kDot && product < 0) product = op.results[0].value();
  }
  ASSERT_GE(product, 0);
  const int32_t huge = std::numeric_limits<int32_t>::max();
  const AxisState replicated = AxisState::Replicated(), sum = AxisState::Partial(graph::ReduceKind::kSum);
  const struct {
    const char* error;
    std::vector<plan::ValuePin> pins;
  } rows[] = {
      {"a pin names value -1 of program 0", {{0, -1, replicated, {}}}},
      {"two pins along one axis name value 3", {{0, 3, replicated, {}}, {0, 3, replicated, {}}}},
      {"a split along dimension -1", {{0, product, AxisState::Split(-1), {}}}},
      {"a split along dimension 0 with outer = -1", {{0, product, AxisState::Split(0, -1), {}}}},
      {"a pin names program 7", {{7, 1, replicated, {}}}},
      {"a pin names value 2147483647", {{0, huge, replicated, {}}}},
      {"a parameter", {{0, graph.parameters()[0].value(), replicated, {}}}},
      {"which that op cannot", {{0, product, AxisState::Split(5), {}}}},
      {"which that op cannot", {{0, product, AxisState::Split(0, int64_t{1} << 62), {}}}},
      {"which that op cannot", {{0, product, AxisState::Partial(graph::ReduceKind::kMax), {}}}},
      {"which that op cannot", {{0, product, sum, {sum, replicated}}}},
      {"which that op cannot", {{0, product, sum, {replicated}}}},
      {"which that op cannot", {{0, product, AxisState::Split(0), {AxisState::Split(99), replicated}}}},
  };
  for (const auto& row : rows) {
    Plan plan = plan::Numbered(*made);
    plan.stages[0].axes[0] = bare;
    plan.stages[0].axes[0].pins = row.pins;
    proto::Plan message;
    plan::ToProto(plan, &message);
    const auto read = planner::ReadGivenPlan(message, program);
    const absl::Status status = read.ok() ? planner::LowerJob(*read, program, /*given=*/true).status() : read.status();
    EXPECT_EQ(ReasonOf(status), reason::kBadPlan) << row.error << ": " << status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.error << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.error));
  }
  // A pin that the op can follow is accepted, with and without the states of its operands.
  for (const std::vector<AxisState>& operands :
       {std::vector<AxisState>{}, {AxisState::Split(1), AxisState::Split(0)}}) {
    Plan plan = plan::Numbered(*made);
    plan.stages[0].axes[0] = bare;
    plan.stages[0].axes[0].pins = {{0, product, sum, operands}};
    EXPECT_TRUE(planner::Lower(plan, step.graph, step.roles).ok())
        << planner::Lower(plan, step.graph, step.roles).status();
    EXPECT_NE(plan::Fingerprint(plan), plan::Fingerprint(plan::Numbered(*made)));
  }
}

}  // namespace
}  // namespace alpa
