// Tests of shapes, literals, the builder, the printer, cost counts and scalar folding.
#include "graph/graph.h"

#include <bit>
#include <cmath>
#include <limits>

#include "graph/builder.h"
#include "graph/cost.h"
#include "graph/print.h"
#include "graph/scalar_fold.h"
#include "graph/verify.h"
#include "gtest/gtest.h"

namespace alpa::graph {
namespace {

Shape F32(std::vector<int64_t> dims) { return {DType::kF32, std::move(dims)}; }

TEST(ShapeTest, HasANameASizeAndStrides) {
  EXPECT_EQ(F32({2, 3}).ToString(), "f32[2,3]");
  EXPECT_EQ((Shape{DType::kBF16, {}}).ToString(), "bf16[]");
  EXPECT_EQ(F32({2, 3}).bytes(), 24);
  EXPECT_EQ(F32({2, 0}).elements(), 0);
  EXPECT_EQ(Strides({2, 3, 4}), (std::vector<int64_t>{12, 4, 1}));
  for (const char* name : {"pred", "s8", "s64", "u16", "f16", "bf16", "f64"}) {
    const absl::StatusOr<DType> dtype = ParseDType(name);
    ASSERT_TRUE(dtype.ok());
    EXPECT_EQ(NameOf(*dtype), name);
  }
  EXPECT_FALSE(ParseDType("c64").ok());
}

TEST(LiteralTest, SixteenBitFloatsRoundToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float half = F16ToFloat(static_cast<uint16_t>(bits)),
                brain = Bf16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(half)) {
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(half))));
    } else {
      ASSERT_EQ(FloatToF16(half), bits);
    }
    if (std::isnan(brain)) {
      EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(brain))));
    } else {
      ASSERT_EQ(FloatToBf16(brain), bits);
    }
  }
  EXPECT_EQ(F16ToFloat(FloatToF16(2049.0f)), 2048.0f);  // a tie rounds to even
  EXPECT_EQ(F16ToFloat(FloatToF16(2051.0f)), 2052.0f);
  EXPECT_EQ(F16ToFloat(FloatToF16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(F16ToFloat(FloatToF16(65520.0f))));
  EXPECT_EQ(F16ToFloat(FloatToF16(0x1p-25f)), 0.0f);
  EXPECT_EQ(F16ToFloat(FloatToF16(0x1.8p-25f)), 0x1p-24f);
  EXPECT_EQ(Bf16ToFloat(FloatToBf16(std::bit_cast<float>(0x3f808000u))), 1.0f);
  EXPECT_EQ(Bf16ToFloat(FloatToBf16(std::bit_cast<float>(0x3f818000u))), std::bit_cast<float>(0x3f820000u));
  EXPECT_TRUE(std::isinf(Bf16ToFloat(FloatToBf16(std::numeric_limits<float>::max()))));
}

TEST(BuilderTest, EachReductionHasItsIdentityAndRegion) {
  EXPECT_EQ(ReduceIdentity(ReduceKind::kMax, DType::kF32).ValueAt(0),
            -std::numeric_limits<double>::infinity());
  EXPECT_EQ(ReduceIdentity(ReduceKind::kMax, DType::kS8).ValueAt(0), -128);
  EXPECT_EQ(ReduceIdentity(ReduceKind::kMin, DType::kU8).ValueAt(0), 255);
  EXPECT_EQ(ReduceIdentity(ReduceKind::kAnd, DType::kPred).ValueAt(0), 1);
  EXPECT_EQ(ReduceIdentity(ReduceKind::kProduct, DType::kBF16).ValueAt(0), 1);
  for (const ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin, ReduceKind::kProduct}) {
    const ReduceKind* found = AsReduceKind(*ReduceRegion(kind, DType::kF32));
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(*found, kind);
  }
}

TEST(BuilderTest, NotEveryRegionIsAReduction) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({}));
  b.Parameter(F32({}));
  b.SetResults({b.Binary(Opcode::kAdd, x, x)});
  EXPECT_EQ(AsReduceKind(b.Build()), nullptr);
}

TEST(BuilderTest, InlineBindsParameters) {
  GraphBuilder inner;
  const ValueId p = inner.Parameter(F32({2}));
  const ValueId q = inner.Parameter(F32({2}));
  inner.SetResults({inner.Binary(Opcode::kSubtract, q, p), q});
  const Graph body = inner.Build();
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({2}));
  const ValueId y = b.Parameter(F32({2}));
  b.SetResults(b.Inline(body, {y, x}));
  const Graph graph = b.Build();
  EXPECT_TRUE(Verify(graph).ok());
  EXPECT_EQ(
      Print(graph),
      "%0 = f32[2] parameter(0)\n%1 = f32[2] parameter(1)\n%2 = f32[2] subtract(%0, %1)\nreturn %2, %0\n");
}

TEST(PrintTest, ShowsAttributesRegionsAndLocations) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({4, 8}), "model.py:3");
  const ValueId w = b.Parameter(F32({8, 2}));
  const ValueId y = b.Dot(x, w, {{}, {}, {1}, {0}}, DType::kF32);
  const ValueId r = b.Reduce(y, ReduceKind::kMax, {0});
  GraphBuilder region;
  const ValueId a = region.Parameter(F32({}));
  const ValueId c = region.Parameter(F32({}));
  region.SetResults({region.Compare(CompareDirection::kGt, a, c)});
  const ValueId s = b.AddOp(Opcode::kSort, {r}, {F32({2})}, SortAttrs{0, true},
                            {std::make_shared<const Graph>(region.Build())}, "model.py:42 (sort)")[0];
  const ValueId z = b.Slice(b.Constant(Literal::Zeros({DType::kS32, {9}})), {1}, {9}, {2});
  b.SetResults({s, z});
  EXPECT_EQ(Print(b.Build(), {.locations = true}),
            "%0 = f32[4,8] parameter(0)  # model.py:3\n"
            "%1 = f32[8,2] parameter(1)\n"
            "%2 = f32[4,2] dot(%0, %1) lhs_contracting={1} rhs_contracting={0}\n"
            "%3 = f32[] constant(-inf)\n"
            "%4 = f32[2] reduce(%2, %3) dims={0} kind=max\n"
            "%5 = f32[2] sort(%4) dimension=0 stable  # model.py:42 (sort) {\n"
            "  %0 = f32[] parameter(0)\n"
            "  %1 = f32[] parameter(1)\n"
            "  %2 = pred[] compare(%0, %1) direction=GT\n"
            "  return %2\n"
            "}\n"
            "%6 = s32[9] constant({0, 0, 0, 0, 0, 0, 0, 0, ... 1 more})\n"
            "%7 = s32[4] slice(%6) [1:9:2]\n"
            "return %5, %7\n");
}

TEST(CostTest, CountsFlopsAndBytes) {
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({4, 8}));
  const ValueId w = b.Parameter(F32({8, 2}));
  const ValueId y = b.Dot(x, w, {{}, {}, {1}, {0}}, DType::kF32);
  const ValueId t = b.Unary(Opcode::kTanh, y);
  const ValueId r = b.Reduce(t, ReduceKind::kSum, {0});
  const ValueId s = b.Slice(x, {0, 0}, {1, 8});
  b.SetResults({r, s});
  const Graph graph = b.Build();
  const auto cost = [&](ValueId value) { return CostOf(graph, graph.def(value)); };
  EXPECT_EQ(cost(y).flops, 2 * 4 * 8 * 2);
  EXPECT_EQ(cost(y).bytes_read, 4 * (32 + 16));
  EXPECT_EQ(cost(y).bytes_written, 4 * 8);
  EXPECT_EQ(cost(t).flops, 8);
  EXPECT_EQ(cost(r).flops, 6);  // 6 additions reduce 8 numbers to 2
  EXPECT_EQ(cost(s).bytes_read, 32);
  EXPECT_EQ(cost(x).bytes_read + cost(x).bytes_written, 0);
  EXPECT_EQ(CostOf(graph).flops, 128 + 8 + 6);
}

TEST(CostTest, HugeCostsSaturate) {
  GraphBuilder b;
  const ValueId x = b.Full(F32({int64_t{1} << 30, int64_t{1} << 28}), 1);
  b.SetResults({b.Dot(x, x, {{}, {}, {0}, {0}}, DType::kF32)});
  EXPECT_EQ(CostOf(b.Build()).flops, std::numeric_limits<int64_t>::max());
}

TEST(ScalarFoldTest, WrapsAndRefusesUndefinedResults) {
  const Literal big = Literal::Scalar<int32_t>(DType::kS32, std::numeric_limits<int32_t>::max());
  const Literal one = Literal::Scalar<int32_t>(DType::kS32, 1),
                zero = Literal::Scalar<int32_t>(DType::kS32, 0);
  const Shape s32{DType::kS32, {}}, pred{DType::kPred, {}};
  const auto fold = [&](Opcode opcode, const Literal& a, const Literal& b, const Shape& result,
                        Attributes attrs = {}) {
    const Literal* operands[] = {&a, &b};
    return FoldScalar(opcode, attrs, operands, result);
  };
  EXPECT_EQ(fold(Opcode::kAdd, big, one, s32)->ValueAt(0), std::numeric_limits<int32_t>::min());
  EXPECT_FALSE(fold(Opcode::kDivide, one, zero, s32));
  EXPECT_EQ(fold(Opcode::kCompare, zero, one, pred, CompareAttrs{CompareDirection::kLt})->ValueAt(0), 1);
  const Literal unsigned_top = Literal::Scalar<uint64_t>(DType::kU64, ~uint64_t{0});
  const Literal unsigned_one = Literal::Scalar<uint64_t>(DType::kU64, 1);
  EXPECT_EQ(fold(Opcode::kCompare, unsigned_top, unsigned_one, pred, CompareAttrs{CompareDirection::kGt})
                ->ValueAt(0),
            1);
  EXPECT_FALSE(
      fold(Opcode::kAdd, Literal::Scalar(DType::kF32, 1.0f), Literal::Scalar(DType::kF32, 1.0f), F32({})));
}

}  // namespace
}  // namespace alpa::graph
