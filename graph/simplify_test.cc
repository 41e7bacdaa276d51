#include "graph/simplify.h"

#include <chrono>
#include <cmath>
#include <string>

#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/import.h"
#include "graph/print.h"
#include "graph/testing.h"
#include "graph/verify.h"
#include "gtest/gtest.h"

namespace alpa::graph {
namespace {

using testing::Count;
using testing::ReadTestdata;
using testing::Unpack;

Shape F32(std::vector<int64_t> dims) { return {DType::kF32, std::move(dims)}; }

std::string Simplified(GraphBuilder& builder, std::vector<ValueId> results) {
  builder.SetResults(std::move(results));
  const Graph graph = builder.Build();
  EXPECT_TRUE(Verify(graph).ok()) << Verify(graph);
  const Graph simple = Simplify(graph);
  EXPECT_TRUE(Verify(simple).ok()) << Verify(simple);
  return Print(simple);
}

TEST(SimplifyTest, DropsDeadOpsAndKeepsUnusedParameters) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({2}));
  b.Parameter(F32({3}));
  b.Unary(Opcode::kTanh, x);
  EXPECT_EQ(Simplified(b, {x, x}), "%0 = f32[2] parameter(0)\n%1 = f32[3] parameter(1)\nreturn %0, %0\n");
}

TEST(SimplifyTest, MergesEqualOps) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({2}));
  const ValueId a = b.Reduce(b.Unary(Opcode::kTanh, x), ReduceKind::kSum, {0});
  const ValueId c = b.Reduce(b.Unary(Opcode::kTanh, x), ReduceKind::kSum, {0});  // has a separate but equal region
  const ValueId m = b.Reduce(b.Unary(Opcode::kTanh, x), ReduceKind::kMax, {0});
  EXPECT_EQ(Simplified(b, {a, c, m}),
            "%0 = f32[2] parameter(0)\n"
            "%1 = f32[2] tanh(%0)\n"
            "%2 = f32[] constant(0)\n"
            "%3 = f32[] reduce(%1, %2) dims={0} kind=sum\n"
            "%4 = f32[] constant(-inf)\n"
            "%5 = f32[] reduce(%1, %4) dims={0} kind=max\n"
            "return %3, %3, %5\n");
}

TEST(SimplifyTest, NeverMergesAcrossABarrier) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({2}));
  const ValueId before = b.Unary(Opcode::kTanh, x);
  const ValueId again = b.AddOp(Opcode::kOptimizationBarrier, {x, before}, {F32({2}), F32({2})})[0];
  const ValueId third = b.AddOp(Opcode::kOptimizationBarrier, {x}, {F32({2})})[0];
  const ValueId after = b.Unary(Opcode::kTanh, again);
  const ValueId last = b.Unary(Opcode::kTanh, third);
  EXPECT_EQ(Simplified(b, {before, after, last, b.Unary(Opcode::kTanh, again)}),
            "%0 = f32[2] parameter(0)\n"
            "%1 = f32[2] tanh(%0)\n"
            "%2 = f32[2] opt-barrier(%0)\n"  // the barrier loses the operand whose result no op reads
            "%3 = f32[2] opt-barrier(%0)\n"
            "%4 = f32[2] tanh(%2)\n"
            "%5 = f32[2] tanh(%3)\n"
            "return %1, %4, %5, %4\n");
}

TEST(SimplifyTest, BarriersOfConstantsStay) {
  GraphBuilder b;
  const ValueId held = b.AddOp(Opcode::kOptimizationBarrier, {b.Scalar(DType::kF32, 1)}, {F32({})})[0];
  EXPECT_EQ(Simplified(b, {b.Binary(Opcode::kAdd, held, held)}),
            "%0 = f32[] constant(1)\n%1 = f32[] opt-barrier(%0)\n%2 = f32[] add(%1, %1)\nreturn %2\n");
}

// A test case. `make` builds a value from the f32[2,3] parameter x.
struct Identity {
  const char* name;
  ValueId (*make)(GraphBuilder&, ValueId);
};

TEST(SimplifyTest, OpsThatChangeNothingAreRemoved) {
  const Identity kIdentities[] = {
      {"copy", [](GraphBuilder& b, ValueId x) { return b.Unary(Opcode::kCopy, x); }},
      {"convert", [](GraphBuilder& b, ValueId x) { return b.Convert(x, DType::kF32); }},
      {"convert to a wider type and back",
       [](GraphBuilder& b, ValueId x) { return b.Convert(b.Convert(x, DType::kF64), DType::kF32); }},
      {"reshape",
       [](GraphBuilder& b, ValueId x) {
         return b.Reshape(b.Reshape(x, {6}), {2, 3});
       }},
      {"transpose",
       [](GraphBuilder& b, ValueId x) {
         return b.Transpose(b.Transpose(x, {1, 0}), {1, 0});
       }},
      {"broadcast",
       [](GraphBuilder& b, ValueId x) {
         return b.Broadcast(x, {2, 3}, {0, 1});
       }},
      {"slice of all elements",
       [](GraphBuilder& b, ValueId x) {
         return b.Slice(x, {0, 0}, {2, 3});
       }},
      {"dynamic slice of all elements",
       [](GraphBuilder& b, ValueId x) {
         const ValueId i = b.Parameter({DType::kS32, {}});
         return b.DynamicSlice(x, {i, i}, {2, 3});
       }},
      {"concatenate of one array", [](GraphBuilder& b, ValueId x) { return b.Concatenate({x}, 1); }},
      {"concatenate with an empty array",
       [](GraphBuilder& b, ValueId x) {
         return b.Concatenate({x, b.Full({DType::kF32, {0, 3}}, 1)}, 0);
       }},
      {"slice of a concatenation",
       [](GraphBuilder& b, ValueId x) {
         return b.Slice(b.Concatenate({b.Unary(Opcode::kTanh, x), x}, 0), {2, 0}, {4, 3});
       }},
      {"select with a true predicate",
       [](GraphBuilder& b, ValueId x) {
         return b.Select(b.Full({DType::kPred, {2, 3}}, 1), x, b.Unary(Opcode::kTanh, x));
       }},
      {"select between equal values",
       [](GraphBuilder& b, ValueId x) {
         return b.Select(b.Parameter({DType::kPred, {2, 3}}), x, x);
       }},
      {"one times x",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kMultiply, b.Full({DType::kF32, {2, 3}}, 1), x);
       }},
      {"divided by one",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kDivide, x, b.Full({DType::kF32, {2, 3}}, 1));
       }},
      {"x - 0",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kSubtract, x, b.Full({DType::kF32, {2, 3}}, 0));
       }},
      {"x + -0.0",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kAdd, x, b.Full({DType::kF32, {2, 3}}, -0.0));
       }},
      {"negated twice",
       [](GraphBuilder& b, ValueId x) { return b.Unary(Opcode::kNegate, b.Unary(Opcode::kNegate, x)); }},
      {"slice of a region that one of two updates wrote",
       [](GraphBuilder& b, ValueId x) {
         const ValueId one = b.Scalar(DType::kS32, 1), zero = b.Scalar(DType::kS32, 0);
         ValueId stack = b.Full({DType::kF32, {8, 3}}, 0);
         stack = b.DynamicUpdateSlice(stack, x, {one, zero});
         stack = b.DynamicUpdateSlice(stack, b.Unary(Opcode::kTanh, x), {b.Scalar(DType::kS32, 5), zero});
         return b.DynamicSlice(stack, {one, zero}, {2, 3});
       }},
  };
  for (const Identity& identity : kIdentities) {
    GraphBuilder b;
    const ValueId x = b.Parameter(F32({2, 3}));
    const ValueId y = identity.make(b, x);
    b.SetResults({y});
    const Graph simple = Simplify(b.Build());
    EXPECT_EQ(simple.results()[0], simple.parameters()[0]) << identity.name << "\n" << Print(simple);
  }
}

// Each case builds a value that differs from x for some inputs.
TEST(SimplifyTest, OpsThatChangeBitsStay) {
  const Identity kTraps[] = {
      {"x + 0.0, which turns -0.0 into 0.0",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kAdd, x, b.Full({DType::kF32, {2, 3}}, 0));
       }},
      {"0 - x",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kSubtract, b.Full({DType::kF32, {2, 3}}, 0), x);
       }},
      {"x * 0, which keeps NaN",
       [](GraphBuilder& b, ValueId x) {
         return b.Binary(Opcode::kMultiply, x, b.Full({DType::kF32, {2, 3}}, 0));
       }},
      {"convert to a narrower type and back",
       [](GraphBuilder& b, ValueId x) { return b.Convert(b.Convert(x, DType::kBF16), DType::kF32); }},
      {"convert to an integer type and back",
       [](GraphBuilder& b, ValueId x) { return b.Convert(b.Convert(x, DType::kS64), DType::kF32); }},
      {"reverse", [](GraphBuilder& b,
                     ValueId x) { return b.AddOp(Opcode::kReverse, {x}, {b.shape(x)}, DimsAttrs{{1}})[0]; }},
      {"transpose and reshape",
       [](GraphBuilder& b, ValueId x) {
         return b.Reshape(b.Transpose(x, {1, 0}), {2, 3});
       }},
      {"slice of a region that a later update partly overwrites",
       [](GraphBuilder& b, ValueId x) {
         const ValueId zero = b.Scalar(DType::kS32, 0);
         ValueId stack = b.DynamicUpdateSlice(b.Full({DType::kF32, {8, 3}}, 0), x, {zero, zero});
         stack = b.DynamicUpdateSlice(stack, b.Full({DType::kF32, {1, 3}}, 2), {zero, zero});
         return b.DynamicSlice(stack, {zero, zero}, {2, 3});
       }},
  };
  for (const Identity& trap : kTraps) {
    GraphBuilder b;
    const ValueId x = b.Parameter(F32({2, 3}));
    const ValueId y = trap.make(b, x);
    b.SetResults({y});
    const Graph graph = b.Build();
    const Graph simple = Simplify(graph);
    EXPECT_NE(simple.results()[0], simple.parameters()[0]) << trap.name << "\n" << Print(simple);
    const float values[] = {-0.0f, 1.7f, std::nanf(""), 3e-5f, -2.5f, 1e30f};
    std::vector<std::byte> bytes(sizeof(values));
    std::memcpy(bytes.data(), values, sizeof(values));
    const Literal argument(F32({2, 3}), bytes);
    const auto want = Evaluate(graph, {&argument, 1});
    const auto got = Evaluate(simple, {&argument, 1});
    ASSERT_TRUE(want.ok() && got.ok());
    EXPECT_TRUE((*want)[0] == (*got)[0]) << trap.name;
  }
}

TEST(SimplifyTest, UpdatesThatWriteTheWholeArrayBecomeAConcatenation) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({1, 2}));
  const ValueId zero = b.Scalar(DType::kS32, 0);
  ValueId stack = b.Full(F32({3, 2}), 0);
  for (const double row : {2, 0, 1}) {
    const ValueId piece = b.Binary(Opcode::kMultiply, x, b.Full(F32({1, 2}), row + 2));
    stack = b.DynamicUpdateSlice(stack, piece, {b.Scalar(DType::kS32, row), zero});
  }
  const std::string text = Simplified(b, {stack});
  EXPECT_NE(text.find("concatenate(%6, %9, %3) dims={0}"), std::string::npos) << text;
  EXPECT_EQ(text.find("dynamic-update-slice"), std::string::npos) << text;
}

TEST(SimplifyTest, UpdatesThatOverlapStay) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({1, 2}));
  const ValueId zero = b.Scalar(DType::kS32, 0);
  ValueId stack = b.Full(F32({3, 2}), 0);
  for (const double row : {0, 1, 1, 2}) {
    const ValueId piece = b.Binary(Opcode::kMultiply, x, b.Full(F32({1, 2}), row + 2));
    stack = b.DynamicUpdateSlice(stack, piece, {b.Scalar(DType::kS32, row), zero});
  }
  b.SetResults({stack});
  const Graph graph = b.Build();
  const float values[] = {1, 10};
  std::vector<std::byte> bytes(sizeof(values));
  std::memcpy(bytes.data(), values, sizeof(values));
  const Literal argument(F32({1, 2}), bytes);
  const auto want = Evaluate(graph, {&argument, 1});
  const auto got = Evaluate(Simplify(graph), {&argument, 1});
  ASSERT_TRUE(want.ok() && got.ok());
  EXPECT_TRUE((*want)[0] == (*got)[0]);
}

TEST(SimplifyTest, WindowsLargerThanTheirResultsDoNotFold) {
  GraphBuilder b;
  const ValueId one = b.Constant(Literal::Zeros(F32({1})));
  const WindowAttrs window{{{int64_t{1} << 40, 1, int64_t{1} << 40, 0}}};
  b.SetResults(b.AddOp(Opcode::kReduceWindow, {one, b.Scalar(DType::kF32, 0)}, {F32({2})}, window,
                       {ReduceRegion(ReduceKind::kSum, DType::kF32)}));
  const Graph graph = b.Build();
  ASSERT_TRUE(Verify(graph).ok()) << Verify(graph);
  EXPECT_EQ(Count(Simplify(graph), Opcode::kReduceWindow), 1);
}

TEST(SimplifyTest, ConstantsFold) {
  GraphBuilder b;
  const ValueId two = b.Scalar(DType::kF32, 2);
  const ValueId four = b.Binary(Opcode::kMultiply, two, two);
  const ValueId many = b.Binary(Opcode::kAdd, b.Full(F32({100, 100}), 3), b.Full(F32({100, 100}), 4));
  EXPECT_EQ(Simplified(b, {four, many}),
            "%0 = f32[] constant(4)\n%1 = f32[] constant(7)\n%2 = f32[100,100] broadcast(%1) dims={}\nreturn "
            "%0, %2\n");
}

TEST(SimplifyTest, LargeResultsDoNotFold) {
  GraphBuilder b;
  const ValueId i = b.Iota({DType::kS32, {5000}}, 0);
  const Graph graph = [&] {
    b.SetResults({b.Binary(Opcode::kAdd, i, i)});
    return b.Build();
  }();
  EXPECT_EQ(Count(Simplify(graph), Opcode::kAdd), 1);
}

TEST(SimplifyTest, ConditionalsWithAConstantChoiceAreInlined) {
  const auto branch = [](Opcode opcode) {
    GraphBuilder r;
    const ValueId x = r.Parameter(F32({}));
    r.SetResults({r.Unary(opcode, x)});
    return std::make_shared<const Graph>(r.Build());
  };
  for (const bool taken : {true, false}) {
    GraphBuilder b;
    const ValueId x = b.Parameter(F32({}));
    const ValueId y = b.AddOp(Opcode::kConditional, {b.Scalar(DType::kPred, taken), x}, {F32({})}, {},
                              {branch(Opcode::kSine), branch(Opcode::kCosine)})[0];
    const std::string text = Simplified(b, {y});
    EXPECT_EQ(text, std::string("%0 = f32[] parameter(0)\n%1 = f32[] ") + (taken ? "sine" : "cosine") +
                        "(%0)\nreturn %1\n");
  }
}

// Returns the largest difference between elements of `a` and `b`, relative to the largest absolute value in `b` (at
// least 1e-3).
double Difference(const Literal& a, const Literal& b) {
  double largest = 1e-3, difference = 0;
  for (int64_t i = 0; i < a.shape().elements(); ++i) {
    largest = std::max(largest, std::abs(b.ValueAt(i)));
    const double d = std::abs(a.ValueAt(i) - b.ValueAt(i));
    if (!(d <= difference)) difference = d;
  }
  return std::isnan(difference) ? INFINITY : difference / largest;
}

TEST(SimplifyTest, KeepsTheResultsOfPrograms) {
  for (const std::string name : {"gpt_step", "scan_grad", "nested_loops", "while_unknown", "conditional",
                                 "sort_argmax", "gather_scatter", "conv_grad"}) {
    for (const int64_t unroll : {0, 200'000}) {
      ImportLimits limits;
      limits.max_unrolled_ops = unroll;
      const absl::StatusOr<Graph> graph = ImportHlo(ReadTestdata(name + ".pb"), limits);
      ASSERT_TRUE(graph.ok()) << graph.status();
      const Graph simple = Simplify(*graph);
      ASSERT_TRUE(Verify(simple).ok()) << name << ": " << Verify(simple);
      EXPECT_LE(simple.size(), graph->size());
      EXPECT_EQ(Print(Simplify(simple)), Print(simple)) << name << ": Simplify changes a simplified graph";
      const std::vector<Literal> arguments = Unpack(*graph, graph->parameters(), ReadTestdata(name + ".in"));
      const std::vector<Literal> expected = Unpack(*graph, graph->results(), ReadTestdata(name + ".out"));
      const auto plain = Evaluate(*graph, arguments);
      const auto simplified = Evaluate(simple, arguments);
      ASSERT_TRUE(plain.ok() && simplified.ok()) << name << plain.status() << simplified.status();
      ASSERT_EQ(plain->size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_TRUE((*plain)[i] == (*simplified)[i]) << name << " result " << i;
        EXPECT_LE(Difference((*plain)[i], expected[i]), 2e-5)
            << name << " result " << i << " differs from the result of JAX";
      }
    }
  }
}

TEST(SimplifyTest, SimplifiesLargeGraphsInSeconds) {
  GraphBuilder b;
  ValueId x = b.Parameter(F32({16}));
  ValueId stack = b.Full(F32({10'000, 16}), 0);
  for (int i = 0; i < 10'000; ++i) {
    for (int j = 0; j < 9; ++j) x = b.Binary(Opcode::kMultiply, x, b.Unary(Opcode::kTanh, x));
    const ValueId zero = b.Scalar(DType::kS32, 0);
    stack = b.DynamicUpdateSlice(stack, b.Reshape(x, {1, 16}), {b.Scalar(DType::kS32, i), zero});
  }
  b.SetResults({stack});
  const Graph graph = b.Build();
  ASSERT_GT(graph.size(), 190'000);  // the graph contains a chain of 10 000 updates
  const auto start = std::chrono::steady_clock::now();
  const Graph simple = Simplify(graph);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 30);
  EXPECT_EQ(Count(simple, Opcode::kConcatenate), 1);
}

}  // namespace
}  // namespace alpa::graph
