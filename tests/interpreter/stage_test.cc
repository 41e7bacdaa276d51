// Tests that cutting a step into stages preserves its results, with any labels (the stage of each op), meshes, axes and
// schedule. The last tests check the quality of the chosen cuts: the meshes send little, and each mesh holds an equal
// share of the state.

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "absl/strings/match.h"
#include "graph/evaluator.h"
#include "planner/lower/lower.h"
#include "planner/planner.h"
#include "planner/stage/choose_stage_cuts.h"
#include "planner/stage/stage_pass.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/random_plan.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using graph::DType;
using graph::Literal;
using planner::Schedule;
using testing::MakeDeepStep;
using testing::MakeStep;
using testing::Step;
using testing::StepOptions;

// Verifies and interprets the executable, and compares its results with those of the program.
absl::Status Check(const Step& step, const plan::Executable& executable, double tolerance = 1e-5) {
  if (absl::Status status = plan::Verify(executable); !status.ok()) return status;
  const std::vector<Literal> inputs = testing::RandomInputs(step, 3);
  const auto expected = graph::Evaluate(step.graph, inputs);
  if (!expected.ok()) return expected.status();
  const auto actual = testing::Interpret(executable, inputs, testing::StateInputs(step));
  if (!actual.ok()) return actual.status();
  return testing::CheckClose(*actual, *expected, tolerance);
}

// Returns a plan that passes the verifier.
absl::StatusOr<plan::Plan> PlanOf(const Step& step, int devices, const planner::PlanOptions& options) {
  auto plan = planner::MakePlan(step.graph, step.roles, testing::Devices(devices), options);
  if (!plan.ok()) return plan;
  if (absl::Status status = plan::Verify(*plan, step.graph, step.roles, testing::ClusterOf(devices)); !status.ok()) {
    return status;
  }
  return plan;
}

// ---- Random stage labels ----

// Draws up to two axes with random cuts, and adds them to `mesh`.
std::vector<plan::AxisCut> RandomAxes(std::mt19937& random, const Step& step, cluster::Mesh& mesh) {
  std::vector<plan::AxisCut> axes;
  const int count = static_cast<int>(random() % 3);
  std::vector<std::vector<int64_t>> tiles;
  for (graph::ValueId v : step.graph.parameters()) tiles.push_back(step.graph.shape(v).dims);
  for (int a = 0; a < count; ++a) {
    plan::AxisCut axis;
    axis.mesh_axis = a;
    const int64_t size = random() % 3 == 0 ? 3 : 2;
    mesh.shape.push_back(size);
    mesh.axis_names.push_back("axis" + std::to_string(a));
    if (random() % 3 == 0) axis.reduce_scatter_from = 1;
    axis.shard_accumulators = axis.reduce_scatter_from > 0 && random() % 2 == 0;
    for (size_t p = 0; p < tiles.size(); ++p) {
      if (random() % 2 == 0) continue;
      std::vector<int64_t> possible = {-1};
      for (size_t d = 0; d < tiles[p].size(); ++d) {
        if (tiles[p][d] % size == 0) possible.push_back(static_cast<int64_t>(d));
      }
      const int64_t dim = possible[random() % possible.size()];
      if (dim >= 0) tiles[p][dim] /= size;
      axis.cuts.push_back({static_cast<int32_t>(p), dim, static_cast<plan::CutRank>(random() % 3)});
    }
    axes.push_back(std::move(axis));
  }
  return axes;
}

class RandomLabelsTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomLabelsTest, ExecutableComputesTheResultsOfTheProgram) {
  std::mt19937 random(GetParam());
  StepOptions options{.masked = random() % 3 == 0, .noise = random() % 2 == 0, .time_major = random() % 3 == 0};
  if (random() % 4 == 0) options.dtype = DType::kBF16;
  planner::PlanOptions pinned;
  pinned.microbatches = 1 + random() % 4;
  if (pinned.microbatches == 1) options.batch_norm = random() % 3 == 0;
  const Step step = random() % 3 == 0 ? MakeDeepStep(3, random() % 2 == 0) : MakeStep(options);
  pinned.devices = 1;
  auto plan = PlanOf(step, 1, pinned);
  ASSERT_TRUE(plan.ok()) << plan.status();
  plan->meshes[0] = {{}, {}, testing::Devices(1)};  // the request has the axes of the stages
  plan->stages[0].data_axis = -1;
  const auto whole = planner::LowerInLoops(*plan, step.graph, step.roles);
  ASSERT_TRUE(whole.ok()) << whole.status();

  const int meshes = 1 + static_cast<int>(random() % 3), stages = meshes * (1 + static_cast<int>(random() % 2));
  planner::StageRequest request;
  request.schedule = static_cast<Schedule>(random() % 3);
  int next_device = 0;
  for (int m = 0; m < meshes; ++m) {
    cluster::Mesh mesh;
    request.axes.push_back(RandomAxes(random, step, mesh));
    int64_t size = 1;
    for (int64_t n : mesh.shape) size *= n;
    for (int64_t i = 0; i < size; ++i) mesh.devices.push_back(DeviceId(next_device++));
    request.meshes.push_back(mesh);
  }
  for (int s = 0; s < stages; ++s) {
    request.mesh_of_stage.push_back(s < meshes ? s : static_cast<int>(random() % meshes));
  }
  planner::LabelRequest labelled;
  labelled.shares.assign(stages, 1);
  labelled.cuts.resize(stages - 1);
  for (int s = 1; s < stages; ++s) labelled.cuts[s - 1] = s;
  auto labels = planner::LabelLoops(*whole, labelled);
  ASSERT_TRUE(labels.ok()) << labels.status();
  for (auto& program : labels->op_stage) {
    for (int& stage : program) {
      if (random() % 4 == 0) stage = static_cast<int>(random() % stages);
    }
  }
  for (auto& program : labels->backward) {
    for (size_t i = 0; i < program.size(); ++i) program[i] = random() % 8 == 0 ? !program[i] : program[i];
  }
  for (auto& program : labels->layer) {
    for (int& layer : program) layer = random() % 8 == 0 ? static_cast<int>(random() % 4) - 1 : layer;
  }
  if (random() % 2 == 0) request.remat = plan::Remat::kLayer;
  for (int& stage : labels->slot_stage) stage = static_cast<int>(random() % stages);
  const auto executable = planner::AssembleStages(*whole, *labels, request);
  // An axis may split a leaf that the axis does not name. This may make the leaf's tile too short for a cut along the
  // next axis. Such a request is refused.
  if (absl::StrContains(executable.status().message(), "does not divide")) GTEST_SKIP() << executable.status();
  ASSERT_TRUE(executable.ok()) << executable.status();
  const absl::Status status = Check(step, *executable, options.dtype == DType::kBF16 ? 3e-2 : 1e-5);
  EXPECT_TRUE(status.ok()) << status << "\n" << plan::Print(*executable);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomLabelsTest, ::testing::Range(0, 200));

// ---- Pinned plans ----

struct PinnedCase {
  std::string name;
  int meshes = 2, interleave = 1, data = 1, tensor = 1, zero = 0;
  std::vector<int> devices;
  std::string remat = "none";
};

class PinnedPipelinesTest : public ::testing::TestWithParam<std::tuple<PinnedCase, std::string, int>> {};

TEST_P(PinnedPipelinesTest, ExecutableComputesTheResultsOfTheProgram) {
  const auto& [pinned, schedule, k] = GetParam();
  for (bool tied : {false, true}) {
    const Step step = MakeDeepStep(6, tied);
    planner::PlanOptions options;
    options.pipeline = {pinned.meshes, pinned.interleave, schedule, pinned.devices};
    options.tensor_parallel = pinned.tensor;
    options.zero = pinned.zero;
    options.remat = pinned.remat;
    options.shard_from = 6;
    options.microbatches = k;
    int devices = 0;
    for (int n : pinned.devices) devices += n;
    if (devices == 0) {
      options.data_parallel = pinned.data;
      devices = pinned.data * pinned.tensor * pinned.meshes;
    }
    const auto plan = PlanOf(step, devices, options);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto executable = planner::Lower(*plan, step.graph, step.roles);
    ASSERT_TRUE(executable.ok()) << executable.status();
    const absl::Status status = Check(step, *executable);
    EXPECT_TRUE(status.ok()) << status << "\n"
                             << plan::Print(*plan, step.graph, step.roles) << plan::Print(*executable);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Plans, PinnedPipelinesTest,
    ::testing::Combine(
        ::testing::Values(PinnedCase{"stages2"}, PinnedCase{"stages4", 4}, PinnedCase{"interleaved", 2, 2},
                          PinnedCase{"data2", 2, 1, 2}, PinnedCase{"tensor2", 2, 1, 1, 2},
                          PinnedCase{"data2_tensor2", 2, 1, 2, 2}, PinnedCase{"zero1", 2, 1, 2, 1, 1},
                          PinnedCase{"zero3", 2, 1, 2, 1, 3}, PinnedCase{"unequal13", 2, 1, 1, 1, 0, {1, 3}},
                          PinnedCase{"unequal21_zero2", 2, 1, 1, 1, 2, {2, 1}},
                          PinnedCase{"remat", 2, 1, 1, 1, 0, {}, "layer"},
                          PinnedCase{"remat_one_stage", 1, 1, 2, 1, 1, {}, "layer"}),
        ::testing::Values("gpipe", "1f1b", "zero-bubble"), ::testing::Values(1, 4)),
    [](const auto& info) {
      std::string schedule = std::get<1>(info.param);
      std::erase(schedule, '-');
      return std::get<0>(info.param).name + "_" + schedule + "_k" + std::to_string(std::get<2>(info.param));
    });

// ---- Random plans ----

class RandomPlansTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomPlansTest, ExecutableComputesTheResultsOfTheProgram) {
  std::mt19937 random(GetParam());
  StepOptions options{.masked = random() % 3 == 0, .noise = random() % 2 == 0, .time_major = random() % 3 == 0};
  const Step step = random() % 3 != 0 ? MakeDeepStep(4, random() % 2 == 0) : MakeStep(options);
  absl::StatusOr<plan::Plan> plan = absl::UnknownError("no plan was drawn");
  for (int tries = 0; tries < 100 && !plan.ok(); ++tries) {
    plan = testing::RandomPlan(random, step.graph, step.roles, 8);
  }
  ASSERT_TRUE(plan.ok()) << plan.status();
  const absl::Status valid = plan::Verify(*plan, step.graph, step.roles, testing::ClusterOf(8));
  ASSERT_TRUE(valid.ok()) << valid << plan::Print(*plan, step.graph, step.roles);
  const auto executable = planner::Lower(*plan, step.graph, step.roles);
  ASSERT_TRUE(executable.ok()) << executable.status();
  const absl::Status status = Check(step, *executable);
  EXPECT_TRUE(status.ok()) << status << "\n" << plan::Print(*plan, step.graph, step.roles);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPlansTest, ::testing::Range(0, 300));

// ---- Quality of the chosen stage cuts ----

// Counts the arrays that the meshes send to each other. `each_microbatch` counts the arrays that are sent in each
// microbatch. `once` counts those that are sent once per step. A key holds the shape of the arrays and the two meshes.
struct Traffic {
  std::map<std::string, int> each_microbatch, once;
};

// Counts the SENDs of each edge. `list` has no loops.
void Count(const std::vector<plan::Instruction>& list, std::map<int, int>& sends) {
  for (const plan::Instruction& instruction : list) {
    if (const auto* send = std::get_if<plan::SendInstruction>(&instruction.action)) ++sends[send->edge];
  }
}

// Returns the traffic of the executable. Scalars do not count.
Traffic TrafficOf(const plan::Executable& executable, int64_t k) {
  Traffic traffic;
  std::map<int, int> sends;
  for (const plan::MeshProgram& list : executable.mesh_programs) Count(list.instructions, sends);
  for (const auto& [edge, count] : sends) {
    const plan::Edge& e = executable.edges[edge];
    if (e.shape.elements() == 1) continue;
    const std::string name = e.shape.ToString() + " " + std::to_string(e.from_mesh.value()) + ">" +
                             std::to_string(e.to_mesh.value());
    ++(count == k ? traffic.each_microbatch : traffic.once)[name];
  }
  return traffic;
}

// Lowers the step to a pipeline with one stage and one device per mesh.
plan::Executable Staged(const Step& step, int meshes, int64_t k, const std::string& schedule) {
  planner::PlanOptions options;
  options.pipeline = {meshes, 1, schedule, {}};
  options.microbatches = k;
  options.data_parallel = 1;
  const auto plan = PlanOf(step, meshes, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  auto executable = planner::Lower(*plan, step.graph, step.roles);
  EXPECT_TRUE(executable.ok()) << executable.status();
  return *std::move(executable);
}

TEST(StagesTest, EachMicrobatchSendsOneActivationForwardAndOneCotangentBack) {
  const Traffic traffic = TrafficOf(Staged(MakeDeepStep(6, false), 3, 4, "1f1b"), 4);
  EXPECT_EQ(traffic.each_microbatch,
            (std::map<std::string, int>{
                {"f32[12,8] 0>1", 1}, {"f32[12,8] 1>2", 1}, {"f32[12,8] 2>1", 1}, {"f32[12,8] 1>0", 1}}));
  // No mesh sends the targets: they are already on the mesh that reads them.
  EXPECT_EQ(traffic.once, (std::map<std::string, int>{}));
}

TEST(StagesTest, ATiedWeightAndItsGradientCrossOncePerStep) {
  const Traffic traffic = TrafficOf(Staged(MakeDeepStep(6, true), 2, 4, "1f1b"), 4);
  EXPECT_EQ(traffic.each_microbatch, (std::map<std::string, int>{{"f32[12,8] 0>1", 1}, {"f32[12,8] 1>0", 1}}));
  EXPECT_EQ(traffic.once, (std::map<std::string, int>{{"f32[8,8] 0>1", 1}, {"f32[8,8] 1>0", 1}}));
}

TEST(StagesTest, StateIsSpreadEvenly) {
  const plan::Executable executable = Staged(MakeDeepStep(6, false), 3, 2, "1f1b");
  for (const plan::MeshProgram& list : executable.mesh_programs) {
    const auto state = std::count_if(list.slots.begin(), list.slots.end(),
                                     [](const plan::Slot& slot) { return slot.kind == plan::Slot::Kind::kState; });
    EXPECT_EQ(state, 4);  // the weights and momenta of two layers
  }
}

// Returns the number of slots that the mesh has for activations.
int64_t ActivationSlots(const plan::MeshProgram& list) {
  return std::count_if(list.slots.begin(), list.slots.end(), [](const plan::Slot& slot) {
    return slot.kind == plan::Slot::Kind::kTemporary &&
           slot.shape.dims == std::vector<int64_t>{testing::kBatch / 8, testing::kWidth};
  });
}

TEST(StagesTest, OneForwardOneBackwardHoldsFewerMicrobatchesThanGPipe) {
  const Step step = MakeDeepStep(6, false);
  const plan::Executable one = Staged(step, 3, 8, "1f1b"), all = Staged(step, 3, 8, "gpipe");
  // GPipe holds 8 microbatches on each mesh. 1F1B holds 3 on mesh 0 and 2 on mesh 1.
  EXPECT_GE(ActivationSlots(all.mesh_programs[0]), 2 * ActivationSlots(one.mesh_programs[0]));
  EXPECT_GE(ActivationSlots(all.mesh_programs[1]), 3 * ActivationSlots(one.mesh_programs[1]));
}

TEST(ChooseStageCutsTest, CutsWhereFewBytesAreLiveAndTheWorkIsBalanced) {
  // The ops form four layers of equal work. More bytes are live inside a layer than at its start.
  std::vector<planner::ForwardOp> ops;
  for (int layer = 0; layer < 4; ++layer) {
    for (int i = 0; i < 3; ++i) ops.push_back({layer * 3 + i, 10, i == 0 ? 100.0 : 400.0});
  }
  EXPECT_EQ(planner::ChooseStageCuts(ops, {1, 1}), (std::vector<int64_t>{6}));
  EXPECT_EQ(planner::ChooseStageCuts(ops, {1, 1, 1, 1}), (std::vector<int64_t>{3, 6, 9}));
  EXPECT_EQ(planner::ChooseStageCuts(ops, {1, 3}), (std::vector<int64_t>{3}));
}

}  // namespace
}  // namespace alpa
