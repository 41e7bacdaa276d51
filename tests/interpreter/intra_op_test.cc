// Tests the exact choice of rules along one mesh axis. The cost of the choice equals the optimum that a brute-force
// search finds. The executable that is lowered from the choice sends as many bytes as predicted. With any choices and
// any pins, the executable computes the results of the program.

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "graph/evaluator.h"
#include "planner/intra_op/choose_axis.h"
#include "planner/intra_op/linear.h"
#include "planner/intra_op/solve.h"
#include "planner/intra_op/space.h"
#include "planner/partition/choose_cuts.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/random_program.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using planner::AxisRequest;
using planner::Termination;
using planner::intra_op::Evaluation;
using planner::intra_op::kForbidden;
using planner::intra_op::Problem;
using planner::intra_op::Site;
using planner::intra_op::Space;
using testing::Step;

// Returns a request without cuts for an axis of size n.
AxisRequest Axis(const plan::Executable& executable, int64_t n) {
  AxisRequest request;
  request.mesh = MeshId(0);
  request.name = "tensor";
  request.size = n;
  request.devices = testing::Devices(static_cast<int>(executable.meshes[0].size() * n));
  return request;
}

// Returns a cost model with random weights. Over many draws, each kind of choice is the best choice for some weights.
planner::intra_op::CostModel RandomCostModel(std::mt19937& random, const plan::Executable& executable, int64_t n) {
  planner::intra_op::CostModel model = planner::intra_op::FixedCostModel(executable.meshes[0], n);
  const double work = std::ldexp(1.0, -3 - static_cast<int>(random() % 12)),
               start = static_cast<double>(random() % 3) * 64;
  model.op = [fixed = model.op, work](const graph::Graph& graph, const graph::Op& op, int part,
                                      const planner::OpRule& rule) { return work * fixed(graph, op, part, rule); };
  model.move = [n, start](double bytes, double partial) {
    planner::intra_op::MoveCosts move = planner::intra_op::SentBytes(bytes, partial, n);
    for (double* cost : {&move.gather, &move.reduce, &move.scatter, &move.exchange}) *cost += start;
    return move;
  };
  return model;
}

// Finds the cost of the cheapest choices that fit into memory, by depth-first search. Costs only grow along a branch,
// so the search leaves a branch that is not cheaper than the best choices so far. If no choices fit, the cost is
// infinite.
class BruteForce {
 public:
  explicit BruteForce(const Problem& problem)
      : problem_(problem), chosen_(problem.nodes.size(), 0), due_(problem.nodes.size()) {
    for (const Site& site : problem.sites) {
      int last = site.node;
      for (const auto& reader : site.readers) last = std::max(last, reader.node);
      due_[last].push_back(&site);
    }
  }
  double Run() {
    Go(0, 0, std::vector<double>(problem_.memory_rows, 0));
    return best_;
  }
  int64_t visited() const { return visited_; }

 private:
  void Go(size_t node, double cost, const std::vector<double>& memory) {
    ++visited_;
    if (cost >= best_) return;
    for (double bytes : memory) {
      if (bytes > problem_.memory_limit * (1 + 1e-9)) return;
    }
    if (node == problem_.nodes.size()) {
      best_ = cost;
      return;
    }
    for (size_t c = 0; c < problem_.nodes[node].choices.size(); ++c) {
      chosen_[node] = static_cast<int>(c);
      double more = problem_.nodes[node].choices[c].cost;
      for (const Site* site : due_[node]) more += CostAt(*site);
      std::vector<double> used = memory;
      for (size_t r = 0; r < used.size(); ++r) used[r] += problem_.nodes[node].choices[c].memory[r];
      Go(node + 1, cost + more, used);
    }
  }

  double CostAt(const Site& site) const {
    std::vector<int> wanted;
    for (const auto& reader : site.readers) {
      const int want = problem_.nodes[reader.node].choices[chosen_[reader.node]].wants[reader.operand];
      if (std::find(wanted.begin(), wanted.end(), want) == wanted.end()) wanted.push_back(want);
    }
    const int made = problem_.nodes[site.node].choices[chosen_[site.node]].makes[site.result];
    return site.times * planner::intra_op::ConversionCost(problem_, site, made, wanted, site.costs);
  }

  const Problem& problem_;
  std::vector<int> chosen_;
  std::vector<std::vector<const Site*>> due_;  // one entry per node: the sites that no later node produces or reads
  double best_ = kForbidden;
  int64_t visited_ = 0;
};

// Verifies and interprets the executable, and compares its results with those of the step.
absl::Status ComputesTheSame(const Step& step, const plan::Executable& executable) {
  if (absl::Status status = plan::Verify(executable); !status.ok()) return status;
  const std::vector<graph::Literal> inputs = testing::RandomInputs(step, 3);
  const auto expected = graph::Evaluate(step.graph, inputs);
  if (!expected.ok()) return expected.status();
  const auto actual = testing::Interpret(executable, inputs, testing::StateInputs(step));
  if (!actual.ok()) return actual.status();
  return testing::CheckClose(*actual, *expected, 1e-4);
}

constexpr int kPrograms = 200;  // number of random programs; one test per program and property

class RandomProgramsTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    random_.seed(GetParam());
    n_ = random_() % 4 == 0 ? 3 : 2;
    step_ = testing::RandomProgram(random_, 6 + static_cast<int>(random_() % 9));
    auto executable = testing::PlanAndLower(step_, 1, 1, plan::Statistics::kExact);
    ASSERT_TRUE(executable.ok()) << executable.status();
    executable_ = *std::move(executable);
    options_.rigid_weights = random_() % 4 == 0;
    model_ = RandomCostModel(random_, executable_, n_);
  }
  Space MakeSpace(double limit) {
    options_.memory_limit = limit;
    auto space = planner::intra_op::MakeSpace(executable_, Axis(executable_, n_), model_, options_);
    if (!space.ok()) ADD_FAILURE() << space.status();
    return *std::move(space);
  }

  std::mt19937 random_;
  int64_t n_ = 2;
  Step step_;
  plan::Executable executable_;
  planner::intra_op::SpaceOptions options_;
  planner::intra_op::CostModel model_;
};

TEST_P(RandomProgramsTest, TheSolverFindsTheOptimumOfBruteForce) {
  double limit = kForbidden, last = 0;
  // The first iteration has no memory limit. Each later iteration lowers the limit, and the test ends if no choices
  // fit.
  for (int tightness = 0; tightness < 4; ++tightness) {
    const Space space = MakeSpace(limit);
    BruteForce brute(space.problem);
    const double best = brute.Run();
    const auto solved = planner::intra_op::SolveProblem(space.problem, {});
    ASSERT_TRUE(solved.ok()) << solved.status();
    if (std::isinf(best)) {
      EXPECT_EQ(solved->termination, Termination::kInfeasible) << "limit " << limit;
      return;
    }
    ASSERT_EQ(solved->termination, Termination::kOptimal) << "limit " << limit;
    EXPECT_NEAR(solved->evaluation.cost(), best, 1e-5 * best + 1e-6) << "limit " << limit;
    // Without presolve, the integer program has the same optimum. The solver's choices are a solution of this program,
    // with the same cost.
    const planner::intra_op::LinearForm linear(space.problem);
    const auto plain = planner::Solve(linear.program(), {});
    ASSERT_TRUE(plain.ok()) << plain.status();
    ASSERT_TRUE(plain->has_solution());
    EXPECT_NEAR(linear.CostOf(plain->objective), best, 1e-5 * best + 1e-6) << "limit " << limit;
    const std::vector<double> values = linear.ValuesOf(solved->chosen);
    EXPECT_TRUE(planner::CheckSolution(linear.program(), values).ok())
        << planner::CheckSolution(linear.program(), values);
    EXPECT_NEAR(linear.CostOf(planner::ObjectiveOf(linear.program(), values)), solved->evaluation.cost(),
                1e-6 * best + 1e-9);
    EXPECT_EQ(linear.ChosenBy(values), solved->chosen);
    EXPECT_NEAR(solved->bound, best, 1e-5 * best + 1e-6);
    EXPECT_TRUE(solved->evaluation.fits);
    EXPECT_GE(best, last * (1 - 1e-9));
    last = best;
    // The next limit is slightly below the memory of these choices. A problem without a limit does not count memory, so
    // the first iteration evaluates the choices with a limit that is far too high to matter.
    limit = std::isinf(limit) ? planner::intra_op::Evaluate(MakeSpace(1e15).problem, solved->chosen).memory * 0.95
                              : solved->evaluation.memory * 0.9;
  }
}

TEST_P(RandomProgramsTest, TheLoweredExecutableSendsThePredictedBytes) {
  const Space space = MakeSpace(kForbidden);
  const auto solved = planner::intra_op::SolveProblem(space.problem, {});
  ASSERT_TRUE(solved.ok()) << solved.status();
  if (solved->termination != Termination::kOptimal) return;
  const auto request = planner::intra_op::RequestOf(space, solved->chosen);
  ASSERT_TRUE(request.ok()) << request.status();
  const auto cut = planner::CutAlongAxis(space.executable, *request);
  ASSERT_TRUE(cut.ok()) << cut.status();
  const double sent = planner::StepCostOf(*cut, MeshId(0)).sent_bytes;
  EXPECT_LE(sent, solved->evaluation.sent_bytes * (1 + 1e-9));
  EXPECT_GE(sent, solved->evaluation.sent_bytes * (1 - 1e-9));
  EXPECT_TRUE(ComputesTheSame(step_, *cut).ok()) << ComputesTheSame(step_, *cut);
}

TEST_P(RandomProgramsTest, RandomChoicesComputeTheResultsOfTheProgram) {
  options_.rigid_weights = false;
  const Space space = MakeSpace(kForbidden);
  for (int draw = 0; draw < 3; ++draw) {
    std::vector<int> chosen;
    for (const auto& node : space.problem.nodes) chosen.push_back(static_cast<int>(random_() % node.choices.size()));
    const auto request = planner::intra_op::RequestOf(space, chosen);
    ASSERT_TRUE(request.ok()) << request.status();
    const auto back = planner::intra_op::ChoicesOf(space, *request);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, chosen);
    const auto cut = planner::CutAlongAxis(space.executable, *request);
    ASSERT_TRUE(cut.ok()) << cut.status();
    EXPECT_TRUE(ComputesTheSame(step_, *cut).ok()) << ComputesTheSame(step_, *cut) << "\n" << plan::Print(*cut);
    // The executable may send less than predicted, because it can compute slices of a value from slices of the
    // operands.
    EXPECT_LE(planner::StepCostOf(*cut, MeshId(0)).sent_bytes,
              planner::intra_op::Evaluate(space.problem, chosen).sent_bytes * (1 + 1e-9));
  }
}

// Ties restrict the choices, so the tied optimum costs at least as much as the free one.
TEST_P(RandomProgramsTest, TiesNeverLowerTheOptimum) {
  const Space space = MakeSpace(kForbidden);
  const auto free = planner::intra_op::SolveProblem(space.problem, {});
  const auto tied = planner::intra_op::SolveProblem(space.problem, {.tie_from = 0, .tie_radius = 1});
  ASSERT_TRUE(free.ok() && tied.ok());
  if (tied->termination != Termination::kOptimal) return;
  ASSERT_EQ(free->termination, Termination::kOptimal);
  EXPECT_LE(free->evaluation.cost(), tied->evaluation.cost() * (1 + 1e-5));
}

// The steps have loops and accumulators. Some steps are already cut along a data axis. Pins must never change the
// results of a step.
class PinnedStepsTest : public ::testing::TestWithParam<int> {};

TEST_P(PinnedStepsTest, PinnedExecutablesComputeTheResultsOfTheProgram) {
  std::mt19937 random(GetParam());
  const Step step = random() % 2 == 0
                        ? testing::MakeStep({.masked = random() % 3 == 0,
                                             .noise = random() % 2 == 0,
                                             .time_major = random() % 3 == 0})
                        : testing::MakeDeepStep(2, random() % 2 == 0);
  const auto executable =
      testing::PlanAndLower(step, random() % 2 == 0 ? 1 : 2, random() % 2 == 0 ? 1 : 4, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok()) << executable.status();
  const int64_t n = random() % 3 == 0 ? 3 : 2;
  const auto model = planner::intra_op::FixedCostModel(executable->meshes[0], n);
  const auto space = planner::intra_op::MakeSpace(*executable, Axis(*executable, n), model, {.rigid_weights = false});
  ASSERT_TRUE(space.ok()) << space.status();
  std::vector<int> chosen;
  for (const auto& node : space->problem.nodes) chosen.push_back(static_cast<int>(random() % node.choices.size()));
  const auto request = planner::intra_op::RequestOf(*space, chosen);
  ASSERT_TRUE(request.ok()) << request.status();
  const auto cut = planner::CutAlongAxis(space->executable, *request);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(ComputesTheSame(step, *cut).ok()) << ComputesTheSame(step, *cut) << "\n" << plan::Print(*cut);
  // This request has only a few pins, and none of them gives the states of operands. Propagation determines all other
  // states.
  AxisRequest few = Axis(*executable, n);
  for (const plan::ValuePin& pin : request->pins) {
    if (random() % 8 == 0) few.pins.push_back({pin.program, pin.value, pin.state, {}});
  }
  const auto sparse = planner::CutAlongAxis(*executable, few);
  ASSERT_TRUE(sparse.ok()) << sparse.status();
  EXPECT_TRUE(ComputesTheSame(step, *sparse).ok()) << ComputesTheSame(step, *sparse) << "\n" << plan::Print(*sparse);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PinnedStepsTest, ::testing::Range(0, 150));

// With fixed costs, the columns of the first weight and the rows of the second weight are split, as in Megatron.
TEST(ChooseAxisTest, APairOfProductsIsCutByColumnsThenRows) {
  const Step step = testing::MakeStep({});
  const auto executable = testing::PlanAndLower(step, 1, 2, plan::Statistics::kExact);
  ASSERT_TRUE(executable.ok());
  cluster::Mesh mesh = executable->meshes[0];
  mesh.shape.push_back(2);
  mesh.axis_names.push_back("tensor");
  mesh.devices = testing::Devices(2);
  const auto chosen = planner::ChooseAxis(*executable, Axis(*executable, 2), mesh, {});
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  EXPECT_EQ(chosen->outcome.termination, Termination::kOptimal);
  EXPECT_TRUE(chosen->rigid);
  EXPECT_LE(chosen->cost, chosen->greedy_cost);
  std::map<int32_t, int64_t> dims;
  for (const plan::Cut& cut : chosen->request.cuts) dims[cut.leaf] = cut.dim;
  EXPECT_EQ(dims.at(0), 1);
  EXPECT_EQ(dims.at(1), 0);
  // The result keeps the user's cut, and lists it first.
  AxisRequest given = Axis(*executable, 2);
  given.cuts = {{0, -1, plan::CutRank::kPinned}};
  const auto kept = planner::ChooseAxis(*executable, given, mesh, {});
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->request.cuts.front(), given.cuts.front());
  const auto cut = planner::CutAlongAxis(*executable, kept->request);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_TRUE(ComputesTheSame(step, *cut).ok());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomProgramsTest, ::testing::Range(0, kPrograms));

}  // namespace
}  // namespace alpa
