#include "graph/verify.h"

#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "gtest/gtest.h"

namespace alpa::graph {
namespace {

using ::testing::HasSubstr;

Shape F32(std::vector<int64_t> dims) { return {DType::kF32, std::move(dims)}; }
Shape S32(std::vector<int64_t> dims) { return {DType::kS32, std::move(dims)}; }
Shape Pred(std::vector<int64_t> dims) { return {DType::kPred, std::move(dims)}; }
using Regions = std::vector<std::shared_ptr<const Graph>>;

std::shared_ptr<const Graph> Region(
    std::vector<Shape> parameters,
    std::function<std::vector<ValueId>(GraphBuilder&, std::vector<ValueId>)> body) {
  GraphBuilder b;
  std::vector<ValueId> arguments;
  for (const Shape& shape : parameters) arguments.push_back(b.Parameter(shape));
  b.SetResults(body(b, arguments));
  return std::make_shared<const Graph>(b.Build());
}
std::shared_ptr<const Graph> Sum() { return ReduceRegion(ReduceKind::kSum, DType::kF32); }
std::shared_ptr<const Graph> LessThan() {
  return Region({F32({}), F32({})}, [](GraphBuilder& b, std::vector<ValueId> a) {
    return std::vector<ValueId>{b.Compare(CompareDirection::kLt, a[0], a[1])};
  });
}
std::shared_ptr<const Graph> Unary(Opcode opcode) {
  return Region({F32({})}, [opcode](GraphBuilder& b, std::vector<ValueId> a) {
    return std::vector<ValueId>{b.Unary(opcode, a[0])};
  });
}
std::shared_ptr<const Graph> Positive() {
  return Region({F32({})}, [](GraphBuilder& b, std::vector<ValueId> a) {
    return std::vector<ValueId>{b.Compare(CompareDirection::kGt, a[0], b.Scalar(DType::kF32, 0))};
  });
}

ConvolutionAttrs Conv() {  // 3x3, in layouts NHWC and HWIO, with padding that keeps the size
  ConvolutionAttrs attrs;
  attrs.window.assign(2, {3, 1, 1, 1, 1, 1, false});
  attrs.input_batch = attrs.output_batch = 0;
  attrs.input_feature = attrs.output_feature = 3;
  attrs.kernel_input_feature = 2;
  attrs.kernel_output_feature = 3;
  attrs.input_spatial = attrs.output_spatial = {1, 2};
  attrs.kernel_spatial = {0, 1};
  return attrs;
}
ConvolutionAttrs Conv(std::function<void(ConvolutionAttrs&)> change) {
  ConvolutionAttrs attrs = Conv();
  change(attrs);
  return attrs;
}

// A test case: an op on parameters of these shapes, with declared results. If `refusal` is empty, Verify must accept
// the op. Otherwise the error must contain `refusal`.
struct Row {
  Opcode opcode;
  std::vector<Shape> operands;
  Attributes attrs;
  std::vector<Shape> declared;
  const char* refusal;
  Regions regions = {};
};

std::vector<Row> Rows() {
  const GatherAttrs rows{{1}, {0}, {0}, {}, {}, {1, 3}, 1, false};
  const ScatterAttrs add{{1}, {0}, {0}, {}, {}, 1, false, false};
  return {
      {Opcode::kTanh, {F32({2})}, {}, {F32({2})}, ""},
      {Opcode::kTanh, {S32({2})}, {}, {S32({2})}, "takes floats"},
      {Opcode::kTanh, {F32({2}), F32({2})}, {}, {F32({2})}, "has 2 operands, but needs 1"},
      {Opcode::kTanh, {F32({2})}, {}, {F32({3})}, "declared f32[3]"},
      {Opcode::kTanh, {F32({2})}, {}, {F32({2}), F32({2})}, "has 2 results"},
      {Opcode::kTanh, {F32({2})}, {}, {F32({2})}, "regions", {Sum()}},
      {Opcode::kNot, {F32({2})}, {}, {F32({2})}, "takes integers or pred"},
      {Opcode::kPopulationCount, {Pred({2})}, {}, {Pred({2})}, "takes integers"},
      {Opcode::kIsFinite, {F32({2})}, {}, {Pred({2})}, ""},
      {Opcode::kIsFinite, {F32({2})}, {}, {F32({2})}, "pred[2]"},
      {Opcode::kAdd, {F32({2}), F32({2})}, {}, {F32({2})}, ""},
      {Opcode::kAdd, {F32({2}), F32({})}, {}, {F32({2})}, "differ"},
      {Opcode::kAdd, {F32({2}), S32({2})}, {}, {F32({2})}, "differ"},
      {Opcode::kAdd, {Pred({2}), Pred({2})}, {}, {Pred({2})}, "takes numbers"},
      {Opcode::kShiftLeft, {F32({}), F32({})}, {}, {F32({})}, "takes integers"},
      {Opcode::kCompare, {F32({2}), F32({2})}, CompareAttrs{}, {Pred({2})}, ""},
      {Opcode::kCompare, {F32({2}), F32({2})}, {}, {Pred({2})}, "attributes of another op"},
      {Opcode::kClamp, {F32({}), F32({2}), F32({2})}, {}, {F32({2})}, ""},
      {Opcode::kClamp, {F32({3}), F32({2}), F32({2})}, {}, {F32({2})}, "bound f32[3]"},
      {Opcode::kSelect, {Pred({}), F32({2}), F32({2})}, {}, {F32({2})}, ""},
      {Opcode::kSelect, {Pred({3}), F32({2}), F32({2})}, {}, {F32({2})}, "predicate"},
      {Opcode::kSelect, {F32({2}), F32({2}), F32({2})}, {}, {F32({2})}, "predicate"},
      {Opcode::kSelect, {Pred({2}), F32({2}), S32({2})}, {}, {F32({2})}, "choices"},
      {Opcode::kConvert, {F32({2})}, {}, {S32({2})}, ""},
      {Opcode::kConvert, {F32({2})}, {}, {S32({3})}, "declared s32[3]"},
      {Opcode::kBitcastConvert, {F32({2})}, {}, {{DType::kU8, {2, 4}}}, ""},
      {Opcode::kBitcastConvert, {{DType::kU8, {2, 4}}}, {}, {F32({2})}, ""},
      {Opcode::kBitcastConvert, {{DType::kU8, {2, 3}}}, {}, {F32({2})}, "last dimension of 4"},
      {Opcode::kReducePrecision, {F32({2})}, ReducePrecisionAttrs{5, 10}, {F32({2})}, ""},
      {Opcode::kReducePrecision, {F32({2})}, ReducePrecisionAttrs{0, 10}, {F32({2})}, "exponent"},
      {Opcode::kIota, {}, DimsAttrs{{1}}, {S32({2, 3})}, ""},
      {Opcode::kIota, {}, DimsAttrs{{2}}, {S32({2, 3})}, "outside rank"},
      {Opcode::kBroadcast, {F32({3})}, DimsAttrs{{1}}, {F32({2, 3})}, ""},
      {Opcode::kBroadcast, {F32({3})}, DimsAttrs{{0}}, {F32({2, 3})}, "sizes differ"},
      {Opcode::kBroadcast, {F32({3})}, DimsAttrs{{2}}, {F32({2, 3})}, "outside rank"},
      {Opcode::kBroadcast, {F32({3, 3})}, DimsAttrs{{0, 0}}, {F32({3, 3})}, "twice"},
      {Opcode::kConcatenate, {F32({2, 3}), F32({2, 4})}, DimsAttrs{{1}}, {F32({2, 7})}, ""},
      {Opcode::kConcatenate, {F32({2, 3}), F32({3, 4})}, DimsAttrs{{1}}, {F32({2, 7})}, "do not fit"},
      {Opcode::kConcatenate, {}, DimsAttrs{{0}}, {F32({2})}, "no operands"},
      {Opcode::kReshape, {F32({2, 3})}, {}, {F32({6})}, ""},
      {Opcode::kReshape, {F32({2, 3})}, {}, {F32({5})}, "6 elements"},
      {Opcode::kTranspose, {F32({2, 3})}, DimsAttrs{{1, 0}}, {F32({3, 2})}, ""},
      {Opcode::kTranspose, {F32({2, 3})}, DimsAttrs{{1}}, {F32({3})}, "permutation"},
      {Opcode::kTranspose, {F32({2, 3})}, DimsAttrs{{1, 1}}, {F32({3, 3})}, "twice"},
      {Opcode::kReverse, {F32({2, 3})}, DimsAttrs{{3}}, {F32({2, 3})}, "outside rank"},
      {Opcode::kSlice, {F32({5})}, SliceAttrs{{1}, {5}, {3}}, {F32({2})}, ""},
      {Opcode::kSlice, {F32({5})}, SliceAttrs{{1}, {6}, {1}}, {F32({5})}, "not a valid range"},
      {Opcode::kSlice, {F32({5})}, SliceAttrs{{-1}, {5}, {1}}, {F32({6})}, "not a valid range"},
      {Opcode::kSlice, {F32({5})}, SliceAttrs{{0}, {5}, {0}}, {F32({5})}, "not a valid range"},
      {Opcode::kSlice, {F32({5})}, SliceAttrs{{}, {}, {}}, {F32({5})}, "bounds"},
      {Opcode::kDynamicSlice, {F32({5, 2}), S32({}), S32({})}, DynamicSliceAttrs{{2, 2}}, {F32({2, 2})}, ""},
      {Opcode::kDynamicSlice,
       {F32({5, 2}), S32({})},
       DynamicSliceAttrs{{2, 2}},
       {F32({2, 2})},
       "1 start indices"},
      {Opcode::kDynamicSlice, {F32({5}), F32({})}, DynamicSliceAttrs{{2}}, {F32({2})}, "integer scalar"},
      {Opcode::kDynamicSlice, {F32({5}), S32({})}, DynamicSliceAttrs{{6}}, {F32({6})}, "outside [0, 5]"},
      {Opcode::kDynamicUpdateSlice, {F32({5}), F32({2}), S32({})}, {}, {F32({5})}, ""},
      {Opcode::kDynamicUpdateSlice, {F32({5}), F32({6}), S32({})}, {}, {F32({5})}, "does not fit"},
      {Opcode::kPad, {F32({3}), F32({})}, PadAttrs{{1}, {-1}, {2}}, {F32({7})}, ""},
      {Opcode::kPad, {F32({3}), F32({})}, PadAttrs{{-4}, {0}, {0}}, {F32({0})}, "out of range"},
      {Opcode::kPad, {F32({3}), F32({})}, PadAttrs{{0}, {0}, {-1}}, {F32({1})}, "negative"},
      {Opcode::kPad, {F32({3}), S32({})}, PadAttrs{{0}, {0}, {0}}, {F32({3})}, "padding value"},
      {Opcode::kGather, {F32({5, 3}), S32({4, 1})}, rows, {F32({4, 3})}, ""},
      {Opcode::kGather, {F32({5, 3}), F32({4, 1})}, rows, {F32({4, 3})}, "not integers"},
      {Opcode::kGather, {F32({5, 3}), S32({4, 2})}, rows, {F32({4, 3})}, "index map"},
      {Opcode::kGather,
       {F32({5, 3}), S32({4, 1})},
       GatherAttrs{{1}, {0}, {0}, {}, {}, {1, 4}, 1},
       {F32({4, 4})},
       "slice size 4"},
      {Opcode::kGather,
       {F32({5, 3}), S32({4, 1})},
       GatherAttrs{{1}, {0}, {0}, {}, {}, {2, 3}, 1},
       {F32({4, 3})},
       "not 1"},
      {Opcode::kGather,
       {F32({5, 3}), S32({4, 1})},
       GatherAttrs{{2}, {0}, {0}, {}, {}, {1, 3}, 1},
       {F32({4, 3})},
       "outside rank"},
      {Opcode::kScatter, {F32({5, 3}), S32({4, 1}), F32({4, 3})}, add, {F32({5, 3})}, "", {Sum()}},
      {Opcode::kScatter, {F32({5, 3}), S32({4, 1}), F32({4, 4})}, add, {F32({5, 3})}, "exceeds", {Sum()}},
      {Opcode::kScatter,
       {F32({5, 3}), S32({4, 1}), F32({3, 3})},
       add,
       {F32({5, 3})},
       "does not match",
       {Sum()}},
      {Opcode::kScatter,
       {F32({5, 3}), S32({4, 1}), F32({4, 3})},
       add,
       {F32({5, 3})},
       "combiner",
       {LessThan()}},
      {Opcode::kScatter, {F32({5, 3}), S32({4, 1})}, add, {F32({5, 3})}, "n updates", {Sum()}},
      {Opcode::kDot, {F32({2, 3}), F32({3, 4})}, DotAttrs{{}, {}, {1}, {0}}, {F32({2, 4})}, ""},
      {Opcode::kDot, {F32({7, 2, 3}), F32({7, 3, 4})}, DotAttrs{{0}, {0}, {2}, {1}}, {F32({7, 2, 4})}, ""},
      {Opcode::kDot, {F32({2, 3}), F32({4, 4})}, DotAttrs{{}, {}, {1}, {0}}, {F32({2, 4})}, "does not match"},
      {Opcode::kDot,
       {F32({2, 3}), F32({3, 4})},
       DotAttrs{{}, {}, {1}, {}},
       {F32({2, 4})},
       "differ in the number"},
      {Opcode::kDot, {F32({2, 3}), F32({3, 4})}, DotAttrs{{1}, {0}, {1}, {0}}, {F32({2, 4})}, "twice"},
      {Opcode::kDot, {F32({2, 3}), F32({3, 4})}, DotAttrs{{}, {}, {1}, {0}}, {S32({2, 4})}, "cannot give"},
      {Opcode::kConvolution, {F32({2, 5, 5, 4}), F32({3, 3, 4, 6})}, Conv(), {F32({2, 5, 5, 6})}, ""},
      {Opcode::kConvolution, {F32({2, 5, 5, 4}), F32({3, 3, 5, 6})}, Conv(), {F32({2, 5, 5, 6})}, "features"},
      {Opcode::kConvolution,
       {F32({2, 5, 5, 4}), F32({2, 3, 4, 6})},
       Conv(),
       {F32({2, 5, 5, 6})},
       "window size"},
      {Opcode::kConvolution,
       {F32({2, 5, 5, 4}), F32({3, 3, 4, 6})},
       Conv([](ConvolutionAttrs& a) { a.feature_group_count = 0; }),
       {F32({2, 5, 5, 6})},
       "groups"},
      {Opcode::kConvolution,
       {F32({2, 5, 5, 4}), F32({3, 3, 4, 6})},
       Conv([](ConvolutionAttrs& a) { a.window[0].stride = 0; }),
       {F32({2, 5, 5, 6})},
       "positive"},
      {Opcode::kConvolution,
       {F32({2, 5, 5, 4}), F32({3, 3, 4, 6})},
       Conv([](ConvolutionAttrs& a) { a.input_spatial = {1}; }),
       {F32({2, 5, 5, 6})},
       "as many spatial dimensions"},
      {Opcode::kReduce, {F32({2, 3}), F32({})}, DimsAttrs{{0}}, {F32({3})}, "", {Sum()}},
      {Opcode::kReduce, {F32({2, 3}), F32({})}, DimsAttrs{{2}}, {F32({3})}, "outside rank", {Sum()}},
      {Opcode::kReduce, {F32({2, 3}), F32({1})}, DimsAttrs{{0}}, {F32({3})}, "initial value", {Sum()}},
      {Opcode::kReduce, {F32({2, 3}), F32({})}, DimsAttrs{{0}}, {F32({3})}, "0 regions"},
      {Opcode::kReduce, {F32({2, 3}), F32({})}, DimsAttrs{{0}}, {F32({3})}, "combiner", {LessThan()}},
      {Opcode::kReduceWindow, {F32({5}), F32({})}, WindowAttrs{{{2, 2}}}, {F32({2})}, "", {Sum()}},
      {Opcode::kReduceWindow, {F32({5}), F32({})}, WindowAttrs{}, {F32({2})}, "window has 0", {Sum()}},
      {Opcode::kReduceWindow, {F32({5}), F32({})}, WindowAttrs{{{0, 2}}}, {F32({2})}, "positive", {Sum()}},
      {Opcode::kSelectAndScatter,
       {F32({4}), F32({2}), F32({})},
       WindowAttrs{{{2, 2}}},
       {F32({4})},
       "",
       {LessThan(), Sum()}},
      {Opcode::kSelectAndScatter,
       {F32({4}), F32({3}), F32({})},
       WindowAttrs{{{2, 2}}},
       {F32({4})},
       "source",
       {LessThan(), Sum()}},
      {Opcode::kSort, {F32({4})}, SortAttrs{0, true}, {F32({4})}, "", {LessThan()}},
      {Opcode::kSort, {F32({4})}, SortAttrs{1, true}, {F32({4})}, "outside rank", {LessThan()}},
      {Opcode::kSort, {F32({4})}, SortAttrs{0, true}, {F32({4})}, "comparator", {Sum()}},
      {Opcode::kSort,
       {F32({4}), F32({5})},
       SortAttrs{0, true},
       {F32({4}), F32({5})},
       "differ in size",
       {LessThan()}},
      {Opcode::kConditional,
       {Pred({}), F32({})},
       {},
       {F32({})},
       "",
       {Unary(Opcode::kSine), Unary(Opcode::kCosine)}},
      {Opcode::kConditional, {Pred({}), F32({})}, {}, {F32({})}, "choice", {Unary(Opcode::kSine)}},
      {Opcode::kConditional,
       {F32({}), F32({})},
       {},
       {F32({})},
       "choice",
       {Unary(Opcode::kSine), Unary(Opcode::kCosine)}},
      {Opcode::kConditional, {S32({}), F32({2})}, {}, {F32({})}, "branch", {Unary(Opcode::kSine)}},
      {Opcode::kConditional, {S32({})}, {}, {}, "no branches"},
      {Opcode::kWhile, {F32({})}, {}, {F32({})}, "", {Positive(), Unary(Opcode::kSine)}},
      {Opcode::kWhile, {F32({})}, {}, {F32({})}, "condition", {Unary(Opcode::kSine), Unary(Opcode::kSine)}},
      {Opcode::kWhile, {F32({})}, {}, {F32({})}, "body", {Positive(), Positive()}},
      {Opcode::kOptimizationBarrier, {F32({}), S32({2})}, {}, {F32({}), S32({2})}, ""},
      {Opcode::kAllReduce, {F32({})}, CollectiveAttrs{{0}}, {F32({})}, "outside a stage program"},
      {Opcode::kAxisIndex, {}, CollectiveAttrs{{0}}, {S32({})}, "outside a stage program"},
  };
}

TEST(VerifyTest, EachOpAcceptsValidShapesAndRefusesOthers) {
  int number = 0;
  for (const Row& row : Rows()) {
    GraphBuilder b;
    std::vector<ValueId> operands;
    for (const Shape& shape : row.operands) operands.push_back(b.Parameter(shape));
    b.SetResults(b.AddOp(row.opcode, operands, row.declared, row.attrs, row.regions, "model.py:7"));
    const absl::Status status = Verify(b.Build());
    const std::string name = absl::StrCat("row ", number++, " (", NameOf(row.opcode), ", ", row.refusal, ")");
    if (*row.refusal == '\0') {
      EXPECT_TRUE(status.ok()) << name << ": " << status;
      continue;
    }
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(row.refusal)) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr("model.py:7")) << name;
  }
}

TEST(VerifyTest, ValuesMustBeDefinedBeforeTheirUse) {
  GraphBuilder b;
  b.SetResults(b.AddOp(Opcode::kTanh, {ValueId(0)}, {F32({2})}));  // the op reads its own result
  EXPECT_THAT(std::string(Verify(b.Build()).message()), HasSubstr("before it is defined"));
}

TEST(VerifyTest, ResultsMustBeDefined) {
  GraphBuilder b;
  b.Parameter(F32({}));
  b.SetResults({ValueId(3)});
  EXPECT_THAT(std::string(Verify(b.Build()).message()), HasSubstr("no op defines"));
}

TEST(VerifyTest, ParametersMustBeInOrder) {
  GraphBuilder b;
  b.AddOp(Opcode::kParameter, {}, {F32({})}, ParameterAttrs{1});
  EXPECT_THAT(std::string(Verify(b.Build()).message()), HasSubstr("must be parameter 0"));
}

TEST(VerifyTest, RegionsAreVerified) {
  const auto broken = Region({F32({}), F32({})}, [](GraphBuilder& b, std::vector<ValueId> a) {
    return b.AddOp(Opcode::kAdd, {a[0]}, {F32({})});
  });
  GraphBuilder b;
  const ValueId x = b.Parameter(F32({2}));
  b.SetResults(b.AddOp(Opcode::kReduce, {x, b.Scalar(DType::kF32, 0)}, {F32({})}, DimsAttrs{{0}}, {broken}));
  EXPECT_THAT(std::string(Verify(b.Build()).message()), HasSubstr("op 2 (add)"));
}

TEST(VerifyTest, CollectivesMustMatchTheMesh) {
  struct Case {
    Opcode opcode;
    CollectiveAttrs attrs;
    Shape result;
    const char* refusal;
  };
  const auto with = [](std::vector<int64_t> axes, int64_t dim, int64_t concat = 0,
                       std::vector<int64_t> p = {}) {
    return CollectiveAttrs{std::move(axes), ReduceKind::kSum, dim, concat, std::move(p)};
  };
  const Case kCases[] = {
      // The operand is f32[6,4], and the mesh is {2,3}.
      {Opcode::kAllReduce, with({0, 1}, 0), F32({6, 4}), ""},
      {Opcode::kAllReduce, with({2}, 0), F32({6, 4}), "mesh axis 2"},
      {Opcode::kAllReduce, with({0, 0}, 0), F32({6, 4}), "named twice"},
      {Opcode::kAllGather, with({1}, 0), F32({18, 4}), ""},
      {Opcode::kAllGather, with({1}, 0), F32({12, 4}), "group of 3"},
      {Opcode::kAllGather, with({1}, 2), F32({6, 4}), "outside rank"},
      {Opcode::kReduceScatter, with({0}, 1), F32({6, 2}), ""},
      {Opcode::kReduceScatter, with({1}, 1), F32({6, 2}), "group of 3"},
      {Opcode::kAllToAll, with({0}, 0, 1), F32({3, 8}), ""},
      {Opcode::kAllToAll, with({0}, 0, 1), F32({2, 12}), "group of 2"},
      {Opcode::kCollectivePermute, with({0}, 0, 0, {1, 0}), F32({6, 4}), ""},
      {Opcode::kCollectivePermute, with({0}, 0, 0, {1, 1}), F32({6, 4}), "receives twice"},
      {Opcode::kCollectivePermute, with({0}, 0, 0, {1}), F32({6, 4}), "1 entries"},
  };
  for (const Case& c : kCases) {
    GraphBuilder b;
    const ValueId x = b.Parameter(F32({6, 4}));
    b.SetResults(b.AddOp(c.opcode, {x}, {c.result}, c.attrs));
    const absl::Status status = Verify(b.Build(), {.allow_collectives = true, .mesh_shape = {2, 3}});
    if (*c.refusal == '\0') {
      EXPECT_TRUE(status.ok()) << status;
    } else {
      EXPECT_THAT(std::string(status.message()), HasSubstr(c.refusal)) << NameOf(c.opcode);
    }
  }
}

}  // namespace
}  // namespace alpa::graph
