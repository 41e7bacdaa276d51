#include "graph/fusion/fusion.h"

#include "graph/builder.h"
#include "graph/fusion/exchange_dots.h"
#include "gtest/gtest.h"

namespace alpa::fusion {
namespace {

using graph::DType;
using graph::Graph;
using graph::GraphBuilder;
using graph::Opcode;
using graph::ReduceKind;
using graph::ValueId;

int CountOf(const Graph& graph, Opcode opcode) {
  int count = 0;
  for (const graph::Op& op : graph.ops()) count += op.opcode == opcode;
  return count;
}

TEST(FusionTest, ElementwiseOpsAndTheReductionOfTheirResultFormOneUnit) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {64, 32}}), bias = b.Parameter({DType::kF32, {32}});
  const ValueId y = b.Unary(Opcode::kExp, b.Binary(Opcode::kAdd, x, b.Broadcast(bias, {64, 32}, {1})));
  b.SetResults({b.Reduce(y, ReduceKind::kSum, {1})});
  const FusionPlan plan = PlanFusion(b.Build());
  ASSERT_EQ(plan.units.size(), 1u);
  EXPECT_TRUE(plan.units[0].fused);
  EXPECT_EQ(plan.units[0].n, 64 * 32);
  EXPECT_FALSE(plan.needed[y.value()]);
}

TEST(FusionTest, AReductionEndsItsUnitBeforeOpsThatReadItsResult) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {64, 32}});
  const ValueId y = b.Unary(Opcode::kTanh, x), largest = b.Reduce(y, ReduceKind::kMax, {1});
  const ValueId z = b.Binary(Opcode::kSubtract, y, b.Broadcast(largest, {64, 32}, {0}));
  b.SetResults({z});
  const FusionPlan plan = PlanFusion(b.Build());
  ASSERT_EQ(plan.units.size(), 2u);
  EXPECT_TRUE(plan.needed[y.value()]);
  EXPECT_TRUE(plan.needed[largest.value()]);
}

// The plan of a graph in which one op before a dot and other ops after the dot read x and f(x). The dot keeps these
// readers in separate units.
struct TwoReaders {
  FusionPlan plan;
  ValueId value;
};
TwoReaders ReadTwice(Opcode f) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {64, 64}});
  const ValueId value = f == Opcode::kMultiply ? b.Binary(f, x, x) : b.Unary(f, x);
  const ValueId first = b.Binary(Opcode::kAdd, value, x);
  const ValueId product = b.Dot(first, first, {{}, {}, {1}, {0}}, DType::kF32);
  b.SetResults({b.Binary(Opcode::kAdd, b.Binary(Opcode::kMultiply, product, value), x)});
  return {PlanFusion(b.Build()), value};
}

TEST(FusionTest, CheapValuesAreRecomputedInsteadOfStored) {
  const TwoReaders cheap = ReadTwice(Opcode::kMultiply);
  EXPECT_TRUE(cheap.plan.recomputed[cheap.value.value()]);
  EXPECT_FALSE(cheap.plan.needed[cheap.value.value()]);
  const TwoReaders expensive = ReadTwice(Opcode::kTanh);
  EXPECT_FALSE(expensive.plan.recomputed[expensive.value.value()]);
  EXPECT_TRUE(expensive.plan.needed[expensive.value.value()]);
}

TEST(FusionTest, AReductionOverSeparateDimensionsReadsItsOperandReordered) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {3, 8, 4, 16, 32}});
  const ValueId y = b.Reduce(x, ReduceKind::kSum, {1, 3});
  b.SetResults({y});
  const Graph graph = b.Build();
  const std::optional<ReduceLayout> layout = LayoutOf(graph, graph.def(y));
  ASSERT_TRUE(layout.has_value());
  EXPECT_EQ(layout->outer, 12);
  EXPECT_EQ(layout->reduced, 128);
  EXPECT_EQ(layout->inner, 32);
  ASSERT_TRUE(layout->order.has_value());
  EXPECT_EQ(layout->order->strides.back(), 1);
}

TEST(ExchangeDotsTest, ATransposeOfADotIsRemoved) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {5, 7}}), y = b.Parameter({DType::kF32, {7, 3}});
  b.SetResults({b.Transpose(b.Dot(x, y, {{}, {}, {1}, {0}}, DType::kF32), {1, 0})});
  const auto graph = ExchangeDots(std::make_shared<const Graph>(b.Build()));
  EXPECT_EQ(CountOf(*graph, Opcode::kTranspose), 0);
  EXPECT_EQ(graph->shape(graph->results()[0]).dims, (std::vector<int64_t>{3, 5}));
}

TEST(ExchangeDotsTest, ADotWithAnotherReaderStays) {
  GraphBuilder b;
  const ValueId x = b.Parameter({DType::kF32, {5, 7}}), y = b.Parameter({DType::kF32, {7, 3}});
  const ValueId product = b.Dot(x, y, {{}, {}, {1}, {0}}, DType::kF32);
  b.SetResults({b.Transpose(product, {1, 0}), product});
  const auto before = std::make_shared<const Graph>(b.Build());
  EXPECT_EQ(ExchangeDots(before), before);
}

}  // namespace
}  // namespace alpa::fusion
