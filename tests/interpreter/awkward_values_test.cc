// Tests that every rule of the planner holds for every value. Random short programs compute with reductions of the
// batch. Their inputs and constants include infinities, NaN, signed zeros, subnormals, the largest numbers and integers
// that wrap. For any number of devices and microbatches, the lowered program must give the same results as the whole
// program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/evaluator.h"
#include "graph/print.h"
#include "tests/interpreter/interpreter.h"
#include "tests/interpreter/steps.h"

namespace alpa {
namespace {

using graph::DType;
using graph::GraphBuilder;
using graph::Literal;
using graph::Opcode;
using graph::ReduceKind;
using graph::Shape;
using graph::ValueId;
using testing::Step;

constexpr int64_t kRows = 4, kColumns = 3;
constexpr DType kFloats[] = {DType::kF32, DType::kF64, DType::kBF16, DType::kF16};
constexpr DType kAll[] = {DType::kF32, DType::kF64, DType::kBF16, DType::kF16, DType::kS8, DType::kU8,
                          DType::kS32, DType::kU32, DType::kS64};

Literal LiteralOf(DType dtype, const std::vector<int64_t>& dims, const std::vector<double>& values) {
  std::vector<std::byte> bytes;
  for (double value : values) {
    const Literal scalar = graph::ScalarOf(dtype, value);
    bytes.insert(bytes.end(), scalar.bytes().begin(), scalar.bytes().end());
  }
  return Literal({dtype, dims}, std::move(bytes));
}

double Largest(DType dtype) {
  switch (dtype) {
    case DType::kF32: return std::numeric_limits<float>::max();
    case DType::kF64: return std::numeric_limits<double>::max();
    case DType::kBF16: return graph::Bf16ToFloat(0x7f7f);
    case DType::kF16: return 65504;
    case DType::kS8: return 127;
    case DType::kU8: return 255;
    case DType::kS32: return 2147483647.0;
    case DType::kU32: return 4294967295.0;
    default: return 9007199254740992.0;  // 2^53: ValueAt returns a double, which holds every integer up to 2^53
  }
}

class Drawing {
 public:
  explicit Drawing(int seed) : random_(seed) {}

  // The evaluator adds the products of a dot in f64, which has room for sums that overflow f32. Programs with dots
  // therefore do not use the largest numbers. f16 is an exception, because its products fit into f32.
  bool LeavesOutLargest(DType dtype) const { return has_dot_ && dtype != DType::kF16; }

  double AwkwardValue(DType dtype) {
    if (!graph::IsFloat(dtype)) {
      const bool is_signed = graph::IsSigned(dtype);
      const double largest = Largest(dtype);  // of an unsigned type: the number to which -1 wraps
      const double values[] = {0, 1, 2, 3, 50, 100, is_signed ? -1 : largest, is_signed ? -50 : largest - 49, largest,
                               is_signed ? -127.0 : 200.0};
      return values[Below(std::size(values))];
    }
    constexpr double kInf = std::numeric_limits<double>::infinity();
    const double values[] = {0, -0.0, 1, -1, 0.5, 2, -3, 5, 40, 300, kInf, -kInf, std::nan(""), Smallest(dtype),
                             Largest(dtype), -Largest(dtype)};
    // Half of the values are ordinary, so that most results are numbers.
    return values[Below(Below(2) == 0 ? 10 : std::size(values) - (LeavesOutLargest(dtype) ? 2 : 0))];
  }

  Literal AwkwardLiteral(DType dtype, const std::vector<int64_t>& dims) {
    std::vector<double> values(Shape{dtype, dims}.elements());
    for (double& value : values) value = AwkwardValue(dtype);
    return LiteralOf(dtype, dims, values);
  }

  Step DrawStep() {
    dtype_ = kAll[Below(std::size(kAll))];
    Step step;
    x_ = b_.Parameter({dtype_, {kRows, kColumns}});
    y_ = b_.Parameter({dtype_, {kRows, kColumns}});
    state_ = b_.Parameter({dtype_, {kColumns}});
    step.roles.inputs = {{plan::InputRole::Kind::kBatch, "x"},
                         {plan::InputRole::Kind::kBatch, "y"},
                         {plan::InputRole::Kind::kState, "s"}};
    pool_ = {Statistic(), Statistic(), state_};
    const int ops = 1 + Below(4);
    for (int i = 0; i < ops; ++i) pool_.push_back(RandomOp());
    b_.SetResults({b_.Unary(Opcode::kNegate, state_), pool_.back(), pool_[pool_.size() - 2]});
    step.roles.outputs = {{plan::OutputRole::Kind::kState, "s", 2},
                          {plan::OutputRole::Kind::kAux, "last", -1},
                          {plan::OutputRole::Kind::kAux, "before", -1}};
    step.graph = b_.Build();
    return step;
  }

  std::vector<Literal> DrawInputs(const Step& step) {
    std::vector<Literal> inputs;
    for (ValueId parameter : step.graph.parameters()) {
      const Shape& shape = step.graph.shape(parameter);
      inputs.push_back(AwkwardLiteral(shape.dtype, shape.dims));
    }
    return inputs;
  }

  int Below(size_t n) { return static_cast<int>(random_() % n); }

 private:
  static double Smallest(DType dtype) {
    switch (dtype) {
      case DType::kF64: return std::numeric_limits<double>::denorm_min();
      case DType::kF16: return 6e-8;
      default: return 9.2e-41;  // subnormal in f32 and bf16
    }
  }

  // Adds a value of shape [columns] that is a reduction over the rows.
  ValueId Statistic() {
    if (Below(3) == 0) {
      graph::DotAttrs attrs;
      has_dot_ = true;
      attrs.lhs_contracting = attrs.rhs_contracting = {0};
      const ValueId product = b_.Dot(x_, y_, attrs, dtype_);
      return b_.Reshape(b_.Slice(product, {0, 0}, {1, kColumns}), {kColumns});
    }
    const ReduceKind kinds[] = {ReduceKind::kSum, ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin};
    return b_.Reduce(Below(2) == 0 ? x_ : y_, kinds[Below(std::size(kinds))], {0});
  }

  ValueId Other(DType dtype) {
    std::vector<ValueId> like;
    for (ValueId v : pool_) {
      if (b_.shape(v).dtype == dtype) like.push_back(v);
    }
    if (!like.empty() && Below(2) == 0) return like[Below(like.size())];
    if (Below(2) == 0) return b_.Constant(AwkwardLiteral(dtype, {kColumns}));
    return b_.Full({dtype, {kColumns}}, AwkwardValue(dtype));
  }

  ValueId RandomOp() {
    const ValueId v = pool_[std::max(Below(pool_.size()), Below(pool_.size()))];
    const DType dtype = b_.shape(v).dtype;
    const bool is_float = graph::IsFloat(dtype);
    switch (Below(16)) {
      case 0: return b_.Unary(Opcode::kNegate, v);
      case 1: return b_.Unary(Opcode::kAbs, v);
      case 2: return is_float ? b_.Unary(Opcode::kSqrt, v) : v;
      case 3: return is_float ? b_.Unary(Opcode::kLog, v) : v;
      case 4: return b_.Binary(Opcode::kAdd, v, Other(dtype));
      case 5: return b_.Binary(Opcode::kSubtract, Other(dtype), v);
      case 6: case 7: return b_.Binary(Opcode::kMultiply, v, Other(dtype));
      case 8: return b_.Binary(Opcode::kDivide, v, Other(dtype));
      case 9: return b_.Binary(Opcode::kDivide, Other(dtype), v);
      case 10: return b_.Binary(Below(2) == 0 ? Opcode::kMaximum : Opcode::kMinimum, v, Other(dtype));
      case 11: {
        const ValueId half = b_.Slice(v, {1}, {kColumns}), rest = b_.Slice(v, {0}, {1});
        return b_.Concatenate({half, rest}, 0);
      }
      case 12: return b_.Select(b_.Compare(graph::CompareDirection::kLt, v, Other(dtype)), v, Other(dtype));
      case 13: {
        const ValueId zero = b_.Full({dtype, {kColumns}}, 0);
        return b_.Select(b_.Compare(graph::CompareDirection::kGt, Other(dtype), zero), v, zero);
      }
      case 14: {
        const ReduceKind kinds[] = {ReduceKind::kSum, ReduceKind::kMax, ReduceKind::kMin};
        return b_.Broadcast(b_.Reduce(v, kinds[Below(3)], {0}), {kColumns}, {});
      }
      default: {
        // A conversion of infinity or NaN to an integer is unspecified.
        const DType to = is_float ? kFloats[Below(std::size(kFloats))] : kAll[Below(std::size(kAll))];
        return b_.Convert(v, to);
      }
    }
  }

  std::mt19937 random_;
  GraphBuilder b_;
  DType dtype_ = DType::kF32;
  bool has_dot_ = false;
  ValueId x_, y_, state_;
  std::vector<ValueId> pool_;
};

// Returns the inputs with the rows of the batch in another order.
std::vector<Literal> Permuted(const std::vector<Literal>& inputs, std::vector<int> rows) {
  std::vector<Literal> out = inputs;
  for (int leaf : {0, 1}) {
    const Shape& shape = inputs[leaf].shape();
    std::vector<std::byte> bytes(shape.bytes());
    const size_t row = bytes.size() / kRows;
    for (int64_t r = 0; r < kRows; ++r) std::memcpy(&bytes[r * row], &inputs[leaf].bytes()[rows[r] * row], row);
    out[leaf] = Literal(shape, std::move(bytes));
  }
  return out;
}

std::string Text(const std::vector<Literal>& literals) {
  std::string text;
  for (const Literal& literal : literals) {
    absl::StrAppend(&text, literal.shape().ToString(), ":");
    for (int64_t i = 0; i < literal.shape().elements(); ++i) absl::StrAppend(&text, " ", literal.ValueAt(i));
    absl::StrAppend(&text, "\n");
  }
  return text;
}

// Returns the least precise float type among the program's values. Rounding to this type may affect all results.
DType Coarsest(const graph::Graph& program) {
  DType coarsest = DType::kF32;
  for (const graph::Value& value : program.values()) {
    if (value.shape.dtype == DType::kBF16) return DType::kBF16;
    if (value.shape.dtype == DType::kF16) coarsest = DType::kF16;
  }
  return coarsest;
}

bool Same(double a, double b, DType dtype) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  const double tolerance = dtype == DType::kBF16 ? 2e-2 : dtype == DType::kF16 ? 4e-3 : 1e-5;
  const double smallest_normal = dtype == DType::kF16 ? 6.2e-5 : 1.2e-38;
  return std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b)) + smallest_normal;
}

class AwkwardValuesTest : public ::testing::TestWithParam<int> {};

TEST_P(AwkwardValuesTest, TheLoweredProgramComputesTheSameAsTheWholeProgram) {
  constexpr int kPrograms = 100;
  int compared = 0;
  for (int i = 0; i < kPrograms; ++i) {
    const int seed = GetParam() * kPrograms + i;
    Drawing drawing(seed);
    const Step step = drawing.DrawStep();
    const std::vector<Literal> inputs = drawing.DrawInputs(step);
    const DType coarsest = Coarsest(step.graph);
    const auto expected = graph::Evaluate(step.graph, inputs);
    ASSERT_TRUE(expected.ok()) << expected.status() << "\n" << graph::Print(step.graph);
    // XLA may add the rows in any order, so an element that depends on this order is unspecified. Such elements are not
    // compared.
    std::vector<std::vector<Literal>> reordered;
    std::vector<int> rows = {0, 1, 2, 3};
    while (std::next_permutation(rows.begin(), rows.end())) {
      reordered.push_back(*graph::Evaluate(step.graph, Permuted(inputs, rows)));
    }
    for (const auto& [devices, k] : {std::pair{2, 1}, {1, 2}, {2, 2}, {4, 1}, {1, 4}}) {
      const auto executable = testing::PlanAndLower(step, devices, k, plan::Statistics::kExact);
      if (absl::IsFailedPrecondition(executable.status())) continue;  // coupled
      ASSERT_TRUE(executable.ok()) << executable.status() << "\n" << graph::Print(step.graph);
      const auto actual = testing::Interpret(*executable, inputs, testing::StateInputs(step));
      ASSERT_TRUE(actual.ok()) << actual.status();
      for (size_t r = 0; r < expected->size(); ++r) {
        const Literal& whole = (*expected)[r];
        for (int64_t e = 0; e < whole.shape().elements(); ++e) {
          const bool ordered = std::all_of(reordered.begin(), reordered.end(), [&](const std::vector<Literal>& other) {
            return Same(other[r].ValueAt(e), whole.ValueAt(e), coarsest);
          });
          if (!ordered) continue;
          ++compared;
          ASSERT_TRUE(Same((*actual)[r].ValueAt(e), whole.ValueAt(e), coarsest))
              << "seed " << seed << ", " << devices << " devices, k = " << k << ", result " << r << ", element " << e
              << ": " << (*actual)[r].ValueAt(e) << " instead of " << whole.ValueAt(e) << "\n"
              << Text(inputs) << graph::Print(step.graph) << "\n" << plan::Print(*executable);
        }
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AwkwardValuesTest, ::testing::Range(0, 30));

}  // namespace
}  // namespace alpa
