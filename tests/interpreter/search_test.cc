// Tests program costs, the simulation and the search. The search's plan must not have a longer predicted step time than
// any pinned plan.

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "planner/cost/program_cost.h"
#include "planner/lower/lower.h"
#include "planner/search/search.h"
#include "planner/simulate/simulate.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using cluster::Cluster;
using cluster::Curve;
using testing::kRate;
using testing::MeasuredCluster;
using testing::Step;

// Plans and lowers the step on all devices of the cluster, and simulates the executable.
planner::Simulation SimulationOf(const Step& step, const planner::PlanOptions& options, const Cluster& cluster) {
  std::vector<DeviceId> devices;
  for (const cluster::Device& device : cluster.devices) devices.push_back(device.id);
  const auto plan = planner::MakePlan(step.graph, step.roles, devices, options);
  if (!plan.ok()) ADD_FAILURE() << plan.status();
  const auto executable = planner::Lower(*plan, step.graph, step.roles);
  if (!executable.ok()) ADD_FAILURE() << executable.status();
  const auto simulation = planner::Simulate(*executable, cluster);
  if (!simulation.ok()) ADD_FAILURE() << simulation.status();
  return *simulation;
}

TEST(ProgramCost, AProductTakesTheTimeOfAMeasuredProductOfTheSameShape) {
  const std::vector<cluster::ProductPoint> measured = {{64, 64, 64, 1e-3}, {1024, 1024, 1024, 1}};
  EXPECT_NEAR(planner::ProductSeconds(measured, 64, 64, 64), 1e-3, 1e-5);
  EXPECT_NEAR(planner::ProductSeconds(measured, 1024, 1024, 1024), 1, 1e-2);
  EXPECT_EQ(planner::ProductSeconds(measured, 0, 64, 64), 0);
}

TEST(ProgramCost, AFusedGroupReadsAndWritesMemoryOnce) {
  // One kernel does both additions. It reads three arrays and writes one.
  graph::GraphBuilder b;
  const graph::Shape shape{graph::DType::kF32, {1 << 20}};
  const graph::ValueId x = b.Parameter(shape), y = b.Parameter(shape), z = b.Parameter(shape);
  b.SetResults({b.Binary(graph::Opcode::kAdd, b.Binary(graph::Opcode::kAdd, x, y), z)});
  Cluster cluster = MeasuredCluster(1, 0);
  const planner::ProgramCost cost = planner::EstimateProgramCost(b.Build(), {}, cluster.profiles[0], nullptr);
  const double expected = (4.0 * 4 + 2) * (1 << 20) / kRate;
  EXPECT_NEAR(cost.compute_seconds, expected, 0.01 * expected);
  EXPECT_NEAR(cost.memory_seconds, 4.0 * (4 << 20) / kRate, 0.01 * expected);
  EXPECT_EQ(cost.temporary_bytes, 0);
}

// Returns a program that adds two arrays of each size. All arrays are distinct.
graph::Graph Sums(const std::vector<int64_t>& sizes) {
  graph::GraphBuilder b;
  std::vector<graph::ValueId> sums;
  for (int64_t size : sizes) {
    const graph::Shape shape{graph::DType::kF32, {size}};
    const graph::ValueId x = b.Parameter(shape);
    sums.push_back(b.Binary(graph::Opcode::kAdd, x, b.Parameter(shape)));
  }
  b.SetResults(sums);
  return b.Build();
}

TEST(ProgramCost, BytesThatWereTouchedLongAgoAreSlower) {
  cluster::DeviceProfile profile = MeasuredCluster(1, 0).profiles[0];
  profile.element_seconds = 0;
  // Memory is a thousand times slower outside the caches.
  profile.memory = {{{1 << 10, 1e-9}, {1 << 20, 1e-6}, {1 << 30, 1}}};
  const auto cost = [&](const std::vector<int64_t>& sizes) {
    return planner::EstimateProgramCost(Sums(sizes), {}, profile, nullptr);
  };
  const planner::ProgramCost small = cost({1 << 10}), large = cost({1 << 26}), both = cost({1 << 10, 1 << 26});
  EXPECT_LT(small.compute_seconds, 1e-7);
  EXPECT_EQ(small.memory_seconds, 0);  // the small arrays stay in a cache
  // The large arrays evict the small ones.
  EXPECT_GT(both.compute_seconds - large.compute_seconds, 10 * small.compute_seconds);
}

TEST(ProgramCost, DivisionsReductionsAndRunsHaveTheirMeasuredCosts) {
  cluster::DeviceProfile profile = MeasuredCluster(1, 0).profiles[0];
  profile.memory.points.clear();
  profile.element_seconds = 1e-9;
  profile.division_seconds = 1e-7;
  profile.reduced_seconds = 1e-5;
  profile.run_seconds = 1e-3;
  const auto cost = [&](const auto& make) {
    graph::GraphBuilder b;
    const graph::ValueId x = b.Parameter({graph::DType::kF32, {8, 4}});
    b.SetResults({make(b, x)});
    return planner::EstimateProgramCost(b.Build(), {}, profile, nullptr).compute_seconds;
  };
  using graph::Opcode;
  EXPECT_NEAR(cost([](auto& b, auto x) { return b.Binary(Opcode::kAdd, x, x); }), 32e-9, 1e-12);
  EXPECT_NEAR(cost([](auto& b, auto x) { return b.Binary(Opcode::kDivide, x, x); }), 32e-7, 1e-12);
  // The reduction adds 32 numbers in eight rows. Each row costs as much as one contiguous run of elements.
  EXPECT_NEAR(cost([](auto& b, auto x) { return b.Reduce(x, graph::ReduceKind::kSum, {1}); }), 32e-5 + 8e-3, 1e-9);
  EXPECT_NEAR(cost([](auto& b, auto x) { return b.Reduce(x, graph::ReduceKind::kSum, {0}); }), 32e-5, 1e-9);
  // The broadcast writes eight runs of four equal numbers.
  EXPECT_NEAR(cost([](auto& b, auto x) {
                const auto y = b.Parameter({graph::DType::kF32, {8}});
                return b.Binary(Opcode::kAdd, x, b.Broadcast(y, {8, 4}, {0}));
              }),
              2 * 32e-9 + 8e-3, 1e-9);
}

TEST(Simulate, FourDevicesThatShareACoreTakeFourTimesAsLong) {
  const Step step = testing::MakeDeepStep(4, false);
  const double one = SimulationOf(step, {.devices = 1}, MeasuredCluster(1, 1)).step_seconds;
  const double apart = SimulationOf(step, {.devices = 4}, MeasuredCluster(4, 4)).step_seconds;
  const planner::Simulation shared = SimulationOf(step, {.devices = 4}, MeasuredCluster(4, 1));
  EXPECT_LT(apart, one);
  const double delays = static_cast<double>(shared.collectives) * planner::kSchedulingDelay * 3 / 4;
  EXPECT_GT(delays, 0);
  EXPECT_LE(shared.step_seconds - delays, 4 * apart);
  EXPECT_NEAR(shared.step_seconds - delays, 4 * apart, 0.02 * shared.step_seconds)
      << "the rest must only be time in which devices wait for each other";
}

TEST(Simulate, DevicesThatShareMemoryBandwidthSlowDown) {
  const Step step = testing::MakeDeepStep(4, false);
  const auto with = [&](double streams) {
    Cluster cluster = MeasuredCluster(4, 4);
    cluster.hosts[0].memory_streams = streams;
    return SimulationOf(step, {.devices = 4}, cluster).step_seconds;
  };
  EXPECT_NEAR(with(4), with(0), 1e-3 * with(0)) << "with as many streams as devices, only the cache is shared";
  EXPECT_GT(with(2), 1.01 * with(4));
  EXPECT_GT(with(1), 1.01 * with(2));
  EXPECT_LT(with(1), 4 * with(4));
}

TEST(Simulate, MoreMicrobatchesKeepAPipelineBusier) {
  const Step step = testing::MakeDeepStep(8, false);
  planner::PlanOptions options;
  options.pipeline.meshes = 2;
  options.data_parallel = 1;
  double last = 0;
  for (int64_t k : {1, 4}) {
    options.microbatches = k;
    const planner::Simulation simulation = SimulationOf(step, options, MeasuredCluster(2, 2));
    const double busy = (simulation.busy_seconds[0] + simulation.busy_seconds[1]) / (2 * simulation.step_seconds);
    EXPECT_LE(busy, 1 + 1e-9);
    EXPECT_GT(busy, last);
    last = busy;
  }
  EXPECT_GT(last, 0.55);
}

// Each message keeps its sender and its receiver busy for twice the time of an empty message.
TEST(Simulate, MessagesKeepBothEndsBusy) {
  const Step step = testing::MakeDeepStep(8, false);
  planner::PlanOptions options;
  options.pipeline.meshes = 2;
  options.data_parallel = 1;
  options.microbatches = 4;
  const auto with = [&](double latency) {
    Cluster cluster = MeasuredCluster(2, 2);
    cluster.hosts[0].inside.message = Curve::Line(latency, 10 * kRate);
    return SimulationOf(step, options, cluster);
  };
  const planner::Simulation fast = with(1e-9), slow = with(1e-5);
  ASSERT_GT(fast.messages, 8);
  EXPECT_EQ(slow.messages, fast.messages);
  const double more = slow.busy_seconds[0] + slow.busy_seconds[1] - fast.busy_seconds[0] - fast.busy_seconds[1];
  const double all = 2e-5 * 2 * static_cast<double>(fast.messages);
  EXPECT_LE(more, all);
  EXPECT_GT(more, 0.5 * all) << "messages after the last program do not count";
}

// If the four devices of a mesh share two cores, computing takes twice as long. Waiting in collectives takes no longer.
TEST(Simulate, WaitingInACollectiveNeedsNoCore) {
  const Step step = testing::MakeDeepStep(4, false);
  const auto with = [&](double cores, double latency) {
    Cluster cluster = MeasuredCluster(4, cores);
    cluster.hosts[0].inside.message = Curve::Line(latency, 10 * kRate);
    return SimulationOf(step, {.devices = 4}, cluster);
  };
  const planner::Simulation apart = with(4, 1e-3), shared = with(2, 1e-3);
  const double waiting = apart.collective_seconds[0];
  ASSERT_GT(waiting, 0.1 * apart.step_seconds);
  const double delays = static_cast<double>(shared.collectives) * planner::kSchedulingDelay / 2;
  EXPECT_NEAR(shared.step_seconds - delays, 2 * (apart.step_seconds - waiting) + waiting, 0.01 * shared.step_seconds);
}

TEST(Simulate, MemoryCountsTheTilesOfState) {
  const Step step = testing::MakeDeepStep(4, false);
  Bytes full = 0;
  for (size_t p = 0; p < step.roles.inputs.size(); ++p) {
    if (step.roles.inputs[p].kind == plan::InputRole::Kind::kState) {
      full += step.graph.shape(step.graph.parameters()[p]).bytes();
    }
  }
  EXPECT_EQ(SimulationOf(step, {.devices = 1}, MeasuredCluster(1, 0)).memory[0].state, full);
  planner::PlanOptions zero{.devices = 2, .zero = 3};
  zero.shard_from = 1;
  EXPECT_EQ(SimulationOf(step, zero, MeasuredCluster(2, 0)).memory[0].state, full / 2);
}

TEST(Simulate, RefusesAClusterThatIsNotMeasuredOrLacksADevice) {
  const Step step = testing::MakeDeepStep(2, false);
  const auto executable = testing::PlanAndLower(step, 2, 1, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok());
  EXPECT_FALSE(planner::Simulate(*executable, testing::ClusterOf(2)).ok());
  EXPECT_FALSE(planner::Simulate(*executable, MeasuredCluster(1, 0)).ok());
}

// The grid contains the plans whose degrees are powers of two. None of them may have a lower predicted step time than
// the search's plan. The search's plan must also compute the results of the program.
TEST(Search, FindsAPlanAtLeastAsGoodAsTheGridOfDegrees) {
  const Step step = testing::MakeDeepStep(8, true);
  for (int n : {1, 2, 4}) {
    const Cluster cluster = MeasuredCluster(n, n);
    const auto searched = planner::Search(step.graph, step.roles, cluster, {}, {});
    ASSERT_TRUE(searched.ok()) << searched.status();
    EXPECT_TRUE(searched->complete);
    ASSERT_TRUE(plan::Verify(searched->plan, step.graph, step.roles, cluster).ok());
    for (int meshes = 1; meshes <= n; meshes *= 2) {
      for (int tensor = 1; tensor * meshes <= n; tensor *= 2) {
        planner::PlanOptions options;
        options.pipeline.meshes = meshes;
        options.tensor_parallel = tensor;
        options.data_parallel = n / (meshes * tensor);
        options.microbatches = meshes > 1 ? 4 : 1;
        const double seconds = SimulationOf(step, options, cluster).step_seconds;
        EXPECT_LE(searched->plan.predicted.step_seconds, seconds * (1 + 1e-9))
            << n << " devices, tensor " << tensor << ", pipeline " << meshes;
        EXPECT_GE(seconds, searched->roofline_seconds * (1 - 1e-9));
      }
    }
    const auto executable = planner::Lower(searched->plan, step.graph, step.roles);
    ASSERT_TRUE(executable.ok());
    const std::vector<graph::Literal> inputs = testing::RandomInputs(step, 5);
    const auto expected = graph::Evaluate(step.graph, inputs);
    const auto actual = testing::Interpret(*executable, inputs, testing::StateInputs(step));
    ASSERT_TRUE(expected.ok() && actual.ok());
    EXPECT_TRUE(testing::CheckClose(*actual, *expected, 1e-5).ok());
  }
}

TEST(Search, UsesFewerDevicesIfTheyShareACore) {
  const Step step = testing::MakeDeepStep(8, false);
  Cluster cluster = MeasuredCluster(4, 1);
  cluster.hosts[0].inside.message = Curve::Line(1e-3, kRate);  // messages are slow, which also favours fewer devices
  const auto open = planner::Search(step.graph, step.roles, cluster, {}, {});
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_EQ(open->plan.meshes[0].size(), 1);
  const auto four = planner::Search(step.graph, step.roles, cluster, {.devices = 4}, {});
  ASSERT_TRUE(four.ok()) << four.status();
  int64_t devices = 0;
  for (const cluster::Mesh& mesh : four->plan.meshes) devices += mesh.size();
  EXPECT_EQ(devices, 4) << "the plan uses the pinned number of devices";
  EXPECT_GT(four->plan.predicted.step_seconds, open->plan.predicted.step_seconds);
}

TEST(Search, EndsWhenProgressReturnsFalse) {
  const Step step = testing::MakeDeepStep(8, false);
  planner::SearchLimits limits;
  limits.progress = [](const planner::SearchProgress& progress) { return progress.evaluated < 2; };
  EXPECT_TRUE(absl::IsCancelled(planner::Search(step.graph, step.roles, MeasuredCluster(4, 4), {}, limits).status()));
}

TEST(Search, FollowsPins) {
  const Step step = testing::MakeDeepStep(8, false);
  planner::PlanOptions options;
  options.pipeline.meshes = 2;
  options.microbatches = 4;
  const auto searched = planner::Search(step.graph, step.roles, MeasuredCluster(4, 4), options, {});
  ASSERT_TRUE(searched.ok()) << searched.status();
  EXPECT_EQ(searched->plan.meshes.size(), 2u);
  EXPECT_EQ(searched->plan.microbatches, 4);
}

TEST(Search, FollowsDefaultsThatTheUserNames) {
  const Step step = testing::MakeDeepStep(8, false);
  const auto all = [&](const planner::PlanOptions& options, auto&& holds) {
    const auto searched = planner::Search(step.graph, step.roles, MeasuredCluster(4, 4, 1 << 14), options, {});
    std::vector<planner::Candidate> candidates;
    if (searched.ok()) candidates = searched->candidates;
    EXPECT_TRUE(searched.ok()) << searched.status();
    EXPECT_FALSE(candidates.empty());
    for (const planner::Candidate& candidate : candidates) EXPECT_TRUE(holds(candidate.options)) << candidate.name;
  };
  planner::PlanOptions options;
  options.pipeline.meshes = 2;
  options.pipeline.schedule = "gpipe";
  all(options, [](const planner::PlanOptions& o) { return o.pipeline.schedule == "gpipe"; });
  options.pipeline.schedule = "1f1b";
  options.named.schedule = options.named.stages_per_mesh = options.named.remat = true;
  all(options, [](const planner::PlanOptions& o) {
    return o.pipeline.schedule == "1f1b" && o.pipeline.stages_per_mesh == 1 && o.remat == "none";
  });
  options = {};
  options.named.meshes = true;
  all(options, [](const planner::PlanOptions& o) { return o.pipeline.meshes == 1; });
}

// With less and less memory, the plans become slower. In the end no plan fits, and the error reports this.
TEST(Search, PlansGetSlowerWithLessMemoryUntilNoneFits) {
  const Step step = testing::MakeDeepStep(8, false);
  const auto free = planner::Search(step.graph, step.roles, MeasuredCluster(4, 4), {}, {});
  ASSERT_TRUE(free.ok());
  Bytes memory = free->plan.predicted.peak_device_memory;
  double seconds = free->plan.predicted.step_seconds;
  int plans = 0;
  while (true) {
    memory = memory * 3 / 4;
    const auto tight = planner::Search(step.graph, step.roles, MeasuredCluster(4, 4, memory), {}, {});
    if (!tight.ok()) {
      EXPECT_TRUE(absl::StrContains(tight.status().message(), "no plan fits")) << tight.status();
      break;
    }
    ++plans;
    ASSERT_LT(plans, 100);
    EXPECT_LE(tight->plan.predicted.peak_device_memory, memory);
    EXPECT_GE(tight->plan.predicted.step_seconds, seconds * (1 - 1e-9));
    seconds = tight->plan.predicted.step_seconds;
  }
  EXPECT_GT(plans, 0);
}

}  // namespace
}  // namespace alpa
