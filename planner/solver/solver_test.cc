// Tests Solve (integer_program.h). The tests do not depend on the solver behind it.

#include "planner/solver/integer_program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace alpa::planner {
namespace {

using Program = IntegerProgram;

Program Knapsack(const std::vector<double>& worth, const std::vector<double>& weight, double limit) {
  Program program;
  Program::Row row;
  row.upper = limit;
  for (size_t i = 0; i < worth.size(); ++i) {
    program.variables.push_back({-worth[i]});
    row.terms.push_back({static_cast<int>(i), weight[i]});
  }
  program.rows = {row};
  return program;
}

TEST(SolverTest, FindsTheBestOfASmallKnapsack) {
  // The first two items are worth 5 + 4 = 9 and weigh 3 + 2 = 5. The third alone is worth 6 and weighs 4.
  const auto outcome = Solve(Knapsack({5, 4, 6}, {3, 2, 4}, 5), {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->termination, Termination::kOptimal);
  EXPECT_EQ(outcome->values, (std::vector<double>{1, 1, 0}));
  EXPECT_DOUBLE_EQ(outcome->objective, -9);
  EXPECT_NEAR(outcome->bound, -9, 1e-5);
}

TEST(SolverTest, ReportsAnInfeasibleProgramAsAnOutcome) {
  Program program = Knapsack({1, 1}, {1, 1}, 2);
  program.rows[0].lower = 1.2;
  program.rows.push_back({{{0, 1}, {1, 1}}, 0, 1});
  program.rows.push_back({{{0, 1}, {1, -1}}, 0, 0});
  const auto outcome = Solve(program, {});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->termination, Termination::kInfeasible);
  EXPECT_TRUE(outcome->values.empty());
}

TEST(SolverTest, FindsTheSameOptimumAsEnumerationOnRandomPrograms) {
  for (int seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> number(-5, 5);
    Program program;
    const int n = 2 + static_cast<int>(random() % 8);
    for (int v = 0; v < n; ++v) program.variables.push_back({number(random)});
    for (int r = 0; r < 3; ++r) {
      Program::Row row;
      for (int v = 0; v < n; ++v) row.terms.push_back({v, number(random)});
      row.upper = number(random);
      program.rows.push_back(row);
    }
    double best = Program::kInfinity;
    for (int bits = 0; bits < 1 << n; ++bits) {
      std::vector<double> values;
      for (int v = 0; v < n; ++v) values.push_back(bits >> v & 1);
      if (CheckSolution(program, values).ok()) best = std::min(best, ObjectiveOf(program, values));
    }
    const auto outcome = Solve(program, {});
    ASSERT_TRUE(outcome.ok()) << seed << ": " << outcome.status();
    if (std::isinf(best)) {
      EXPECT_EQ(outcome->termination, Termination::kInfeasible) << seed;
    } else {
      EXPECT_EQ(outcome->termination, Termination::kOptimal) << seed;
      EXPECT_NEAR(outcome->objective, best, 1e-5) << seed;
    }
  }
}

TEST(SolverTest, SolvesProgramsWithoutIntegersOrVariables) {
  const auto empty = Solve(Program{}, {});
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->termination, Termination::kOptimal);
  for (bool rows : {false, true}) {
    Program program;
    program.variables = {{2, 0, 1, false}, {-1, 0, 3, false}};
    if (rows) program.rows = {{{{0, -1}, {1, 1}}, -Program::kInfinity, 0.5}};
    const auto outcome = Solve(program, {});
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->termination, Termination::kOptimal);
    EXPECT_NEAR(outcome->objective, rows ? -0.5 : -3, 1e-6);
    program.rows = {{{{0, 1}, {1, 1}}, 5, 6}};
    EXPECT_EQ(Solve(program, {})->termination, Termination::kInfeasible);
  }
}

TEST(SolverTest, ReturnsNoWorseSolutionThanTheStart) {
  const Program program = Knapsack({5, 4, 6}, {3, 2, 4}, 5);
  for (const std::vector<double>& start : {std::vector<double>{0, 0, 0}, {0, 0, 1}, {1, 1, 0}}) {
    const auto outcome = Solve(program, {.start = start});
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(outcome->termination, Termination::kOptimal);
    EXPECT_DOUBLE_EQ(outcome->objective, -9);
  }
  EXPECT_FALSE(Solve(program, {.start = {1, 1, 1}}).ok());
  EXPECT_FALSE(Solve(program, {.start = {1, 1}}).ok());
}

// A market split problem. At this size, branch and bound takes far longer than the time limit.
TEST(SolverTest, ReturnsIncumbentAndGapWhenTimeRunsOut) {
  std::mt19937 random(1);
  Program program;
  const int n = 60, rows = 6;
  for (int v = 0; v < n; ++v) program.variables.push_back({0});
  for (int r = 0; r < rows; ++r) {
    Program::Row row;
    double sum = 0;
    for (int v = 0; v < n; ++v) {
      const double a = static_cast<double>(random() % 100);
      sum += a;
      row.terms.push_back({v, a});
    }
    for (double sign : {1.0, -1.0}) {
      program.variables.push_back({1, 0, 1e4, false});
      row.terms.push_back({static_cast<int>(program.variables.size()) - 1, sign});
    }
    row.lower = row.upper = std::floor(sum / 2);
    program.rows.push_back(row);
  }
  const auto outcome = Solve(program, {.seconds = 0.5});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_LT(outcome->seconds, 10);
  ASSERT_EQ(outcome->termination, Termination::kFeasible);
  EXPECT_TRUE(CheckSolution(program, outcome->values).ok());
  EXPECT_LE(outcome->bound, outcome->objective);
  EXPECT_GT(outcome->gap(), 0);
}

TEST(SolverTest, RefusesInvalidProgramsAndLimits) {
  const double nan = std::nan(""), inf = Program::kInfinity;
  const auto refused = [](auto&& change) {
    Program program = Knapsack({5, 4, 6}, {3, 2, 4}, 5);
    change(program);
    return absl::IsInvalidArgument(Solve(program, {}).status());
  };
  EXPECT_TRUE(refused([&](Program& p) { p.variables[0].cost = nan; }));
  EXPECT_TRUE(refused([&](Program& p) { p.variables[0].cost = 1e300; }));
  EXPECT_TRUE(refused([&](Program& p) { p.variables[1].upper = inf; }));
  EXPECT_TRUE(refused([&](Program& p) { p.variables[1].lower = 2; }));
  EXPECT_TRUE(refused([&](Program& p) { p.rows[0].upper = nan; }));
  EXPECT_TRUE(refused([&](Program& p) { p.rows[0].lower = 6; }));
  EXPECT_TRUE(refused([&](Program& p) { p.rows[0].terms[0].variable = 3; }));
  EXPECT_TRUE(refused([&](Program& p) { p.rows[0].terms[0].variable = 1; }));
  EXPECT_TRUE(refused([&](Program& p) { p.rows[0].terms[0].coefficient = -inf; }));
  EXPECT_FALSE(Solve(Knapsack({1}, {1}, 1), {.seconds = 0}).ok());
  EXPECT_FALSE(Solve(Knapsack({1}, {1}, 1), {.seconds = nan}).ok());
}

// Costs have many orders of magnitude: they may be seconds or bytes.
TEST(SolverTest, SolvesProgramsWithCostsOfAnyMagnitude) {
  for (double unit : {1e-9, 1.0, 1e12}) {
    Program program = Knapsack({5 * unit, 4 * unit, 6 * unit}, {3, 2, 4}, 5);
    const auto outcome = Solve(program, {});
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_NEAR(outcome->objective / unit, -9, 1e-9);
  }
}

}  // namespace
}  // namespace alpa::planner
